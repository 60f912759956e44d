"""--prior, --hold, --link and --priors: what they take, and what a fit makes of it."""

import argparse

import numpy as np
import pytest

from rim_lensing.commands.lens_input import read_lens
from rim_lensing.commands.prior_options import Normal, add_prior_options, in_field, read_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lensing.coolest_files import write_coolest
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_components import SIE, SIS, Shear
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel
from rim_lensing.simulation.priors import Priors

SCENE = MassModel(lens=SIE(1.2, 0.1), shear=Shear(0.03), sub=SIS(0.05, 0.9, -0.4))


def options(*arguments):
    parser = argparse.ArgumentParser()
    add_prior_options(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("written", ["0.01±0.02", "0.01+-0.02", "1e-2 ± 2e-2"])
def test_a_gaussian_moves_with_the_crop_centre(written):
    named = read_priors(options("--prior", f"lens.x={written}", "--hold", "lens.y=0.01"))
    assert named == {"lens.x": Normal(0.01, 0.02), "lens.y": 0.01}
    moved = in_field(named, SHORT_FORMS[7], (0.03, -0.04))
    assert moved["lens.x"].mean() == pytest.approx(0.04) and moved["lens.x"].std() == 0.02
    assert moved["lens.y"] == pytest.approx(-0.03)


def test_a_file_says_the_same(tmp_path):
    path = tmp_path / "priors.yaml"
    path.write_text(
        "lens.x: 0±0.02\nlens.theta_E: [0.5, 2]\nshear.gamma1: 0.03\nsub.x: lens.x\n"
        "lens.y: 0 +- 0.01\n",
        encoding="utf-8",
    )
    named = read_priors(options("--priors", str(path), "--link", "sub.y=lens.y"))
    assert named == {
        "lens.x": Normal(0.0, 0.02),
        "lens.theta_E": (0.5, 2.0),
        "shear.gamma1": 0.03,
        "sub.x": "lens.x",
        "lens.y": Normal(0.0, 0.01),
        "sub.y": "lens.y",
    }
    found = LensSupport.from_priors(Priors(), SCENE.form, in_field(named, SCENE.form, (0.1, 0.2)))
    assert found.names == (
        "lens.theta_E",
        *("lens.e1", "lens.e2", "lens.x", "lens.y"),
        "shear.gamma2",
        "sub.theta_E",
    )
    lens = dict(zip(SCENE.names, found.expand(found.select(SCENE.values[None]))[0], strict=True))
    assert lens["shear.gamma1"] == 0.03 and lens["sub.x"] == lens["lens.x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prior", "lens.x"], "--prior must be NAME=MEAN±STD"),
        (["--prior", "lens.x=0±0"], "--prior must be"),
        (["--prior", "lens.x=0±wide"], "--prior must be"),
        (["--prior", "lens.x=0.2,0.1"], "--prior must be"),
        (["--hold", "lens.x=lens.y"], "--hold must be NAME=NUMBER"),
        (["--link", "lens.x=0.1"], "--link must be NAME=OTHER"),
        (["--hold", "lens.x=0", "--prior", "lens.x=0,1"], "once. Received: lens.x twice"),
    ],
)
def test_options_that_say_nothing_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        read_priors(options(*arguments))


@pytest.mark.parametrize("text", ["- 1\n", "lens.x: [1, 2, 3]\n", "lens.x: true\n", "a: {b: 1}\n"])
def test_files_that_say_nothing_are_refused(text, tmp_path):
    path = tmp_path / "priors.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="--priors must"):
        read_priors(options("--priors", str(path)))
    with pytest.raises(FileNotFoundError, match="no file"):
        read_priors(options("--priors", str(tmp_path / "none.yaml")))


def test_a_lens_is_read_from_numbers_or_a_file(tmp_path):
    assert read_lens("theta_E=1.2,slope=1").form == SHORT_FORMS[8]
    path = tmp_path / "scene.yaml"
    path.write_text(
        "lens: {kind: SIE, theta_E: 1.2, e1: 0.1}\nshear: {kind: Shear, gamma1: 0.03}\n"
        "sub: {kind: SIS, theta_E: 0.05, x: 0.9, y: -0.4}\n"
    )
    assert read_lens(str(path)) == SCENE
    write_coolest(SCENE, tmp_path / "scene.json", PixelGrid(64, 0.1))
    found = read_lens(str(tmp_path / "scene.json"))
    np.testing.assert_allclose(found.values[:7], SCENE.values[:7], atol=1e-12)
    path.write_text("lens: {kind: SIX}")
    with pytest.raises(ValueError, match="must have a kind"):
        read_lens(str(path))
