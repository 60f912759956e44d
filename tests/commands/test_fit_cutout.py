"""`rim-lensing fit` of raw cutouts: which images are some, and what is wrong with the options."""

import json
from argparse import Namespace

import numpy as np
import pytest
from astropy.io import fits

from rim_lensing.cli import main
from rim_lensing.commands.fit import _is_raw, _is_without_light
from rim_lensing.demo import RAW_DEMO_LENS, read_demo_lens
from rim_lensing.observation.observation import Observation

SILENT = {
    "lens_light": None,
    "model": "rim_euclid64",
    "crop_centre": None,
    "own_pixels": False,
    "lens_model": None,
    "allow_lens_light": False,
}


def galaxy(side: int, scale: float, peak: float) -> np.ndarray:
    axis = (np.arange(side) - (side - 1) / 2) * scale
    return peak / (1 + (np.hypot(*np.meshgrid(axis, axis)) / 0.3) ** 2)


def observed(light: float = 0.0, noise=None, **changes) -> Observation:
    mock = read_demo_lens()
    image = mock.image + galaxy(len(mock.image), mock.image_pixel_scale, light)
    noise = mock.noise if noise is None else noise
    return Observation(image, noise=noise, psf=0.07, pixel_scale=0.1, **changes)


def test_arcs_on_a_models_grid_are_no_raw_cutout():
    assert not _is_raw(Namespace(**SILENT), observed())


def test_with_the_galaxys_light_they_are():
    assert _is_raw(Namespace(**SILENT), observed(light=5 * np.nanmax(read_demo_lens().image)))


def test_other_sizes_and_images_without_noise_are():
    assert _is_raw(Namespace(**SILENT), observed().crop(50))
    assert _is_raw(Namespace(**SILENT), observed(noise=np.nan))


@pytest.mark.parametrize(
    ("said", "without_light"),
    [
        ({}, False),
        ({"lens_light": "none"}, True),
        ({"lens_light": "sersic"}, False),
        ({"lens_light": "sersic", "crop_centre": "5,5"}, False),
        ({"crop_centre": "5,5"}, True),
        ({"own_pixels": True}, True),
        ({"allow_lens_light": True}, True),
    ],
)
def test_options_say_whether_there_is_light(said, without_light):
    assert _is_without_light(Namespace(**SILENT | said)) is without_light


@pytest.fixture
def cutout(tmp_path):
    image = galaxy(81, 0.05, 5.0) + 0.01 * np.random.default_rng(0).standard_normal((81, 81))
    fits.writeto(tmp_path / "image.fits", image)
    return tmp_path / "image.fits"


def test_all_that_is_wrong_is_said_at_once(cutout, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.png").touch()
    arguments = ["fit", str(cutout), "--psf", "0.05", "--pixel-scale", "0.05"]
    arguments += ["--output", str(tmp_path / "out"), "--prior", "lens.q=0.5,1"]
    arguments += ["--exposure", "-5", "--model", "rim_of_no_one"]
    assert main([*arguments, "--lens-light", "sersic"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    for words in ("lens.q", "--overwrite", "`exposure`", "rim_of_no_one"):
        assert sum(words in line for line in said) == 1, words


def test_the_noise_is_needed_where_the_light_is_subtracted(cutout, tmp_path, capsys):
    arguments = ["fit", str(cutout), "--psf", "0.05", "--pixel-scale", "0.05", "--own-pixels"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    assert "--noise must be given" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_finds_the_lens_of_a_raw_cutout(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["verdict"] == "converged"
    lens = found["lens"]
    assert lens["theta_E"] == pytest.approx(RAW_DEMO_LENS["theta_E"], abs=0.01)
    for name in ("e1", "e2", "x", "y", "gamma1", "gamma2"):
        assert lens[name] == pytest.approx(RAW_DEMO_LENS[name], abs=0.03)
    assert found["noise_factor"] == pytest.approx(0.65, abs=0.02)
    planes = fits.open(tmp_path / "out" / "result.fits")
    assert {"CUTOUT", "LENS_LIGHT"} <= {unit.name for unit in planes}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"summary.png", "cutout.png", "lens_light.png", "lens.json"} <= names
    assert "truth: theta_E = 1.156" in capsys.readouterr().out
