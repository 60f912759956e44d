import json
import os
import runpy
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from rim_lensing import __version__, cli
from rim_lensing.commands import inputs
from rim_lensing.demo import DEMO_FILE, read_demo_lens
from rim_lensing.files.json_files import write_json
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES, LensParameters
from rim_lensing.networks.presets import get_preset
from rim_lensing.observation.observation import Observation
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.simulation.priors import Priors
from rim_lensing.zoo import zoo

COLLECT = """
import contextlib, io, json, sys
from rim_lensing.cli import main
answers = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as exit:
            code = exit.code
    loaded = [name for name in ("tensorflow", "keras", "jax") if name in sys.modules]
    answers.append([code, out.getvalue(), err.getvalue(), loaded])
print(json.dumps(answers))
"""
RESULTS = {"summary.png", "result.fits", "metrics.json"}


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_mocks):
    """A mock in the corner of a larger image, with a WCS, and files that are wrong."""
    folder = tmp_path_factory.mktemp("files")
    wide = fits.Header()
    wide["CTYPE1"], wide["CTYPE2"] = "RA---TAN", "DEC--TAN"
    wide["CRPIX1"], wide["CRPIX2"], wide["CRVAL1"], wide["CRVAL2"] = 20.0, 10.0, 150.0, 2.0
    wide["CDELT1"], wide["CDELT2"] = -0.3 / 3600, 0.3 / 3600
    image, noise = np.zeros((30, 40)), np.full((30, 40), 9.0)
    rows, columns = slice(4, 20), slice(20, 36)
    image[rows, columns], noise[rows, columns] = tiny_mocks.image[0], tiny_mocks.noise[0]
    units = [
        fits.PrimaryHDU(),
        fits.ImageHDU(image, wide, name="SCI"),
        fits.ImageHDU(noise, wide, name="ERR"),
        fits.ImageHDU(tiny_mocks.psf[0], name="PSF"),
    ]
    fits.HDUList(units).writeto(folder / "wide.fits")
    sharp = fits.Header({"PIXSCALE": 0.1})
    right = fits.Header({"PIXSCALE": 0.3})
    nan = np.where(np.eye(16) > 0, np.nan, tiny_mocks.image[0])
    for name, array, header in (
        ("image", tiny_mocks.image[0], right),
        ("noise", tiny_mocks.noise[0], None),
        ("psf", tiny_mocks.psf[0], None),
        ("no_scale", tiny_mocks.image[0], None),
        ("nan", nan, right),
        ("sharp", tiny_mocks.image[0], sharp),
        ("negative", -tiny_mocks.noise[0], None),
        ("even_psf", np.full((4, 4), 1 / 16), None),
        ("psf_sum", 2 * tiny_mocks.psf[0], None),
        ("psf_sharp", tiny_mocks.psf[0], sharp),
        ("psf_blunt", tiny_mocks.psf[0], fits.Header({"PIXSCALE": 0.6})),
        ("mask", np.zeros((16, 16)), None),
        ("small", np.ones((8, 8)), right),
    ):
        fits.PrimaryHDU(array, header).writeto(folder / f"{name}.fits")
    (folder / "text.fits").write_text("not FITS")
    (folder / "full").mkdir()
    (folder / "full" / "result.fits").touch()
    return folder


def lens_text(lens):
    return ",".join(f"{name}={value}" for name, value in zip(PARAMETER_NAMES, lens, strict=True))


UNREAD = ["--noise", "1", "--psf", "0", "--output", "no_such_directory"]
BAD = {
    "no command": ([], "COMMAND"),
    "unknown command": (["reconstrict"], "invalid choice"),
    "no arguments": (["reconstruct"], "required: IMAGE, --noise, --psf, --lens, --output (see "),
    "unknown option": (
        ["fit", "image.fits", *UNREAD, "--nois-map", "a"],
        "unrecognized arguments: --nois-map a (see rim-lensing fit --help)",
    ),
    "missing image": ({"image": "none.fits"}, "There is no file"),
    "not FITS": ({"image": "text.fits"}, "is not a FITS file"),
    "no such extension": ({"image": "wide.fits[DQ]"}, "has no extension 'DQ'"),
    "missing noise": ({"--noise": "none.fits"}, "`noise` must be a number or a FITS file"),
    "missing psf": ({"--psf": "none.fits"}, "`psf` must be a number or a FITS file"),
    "missing mask": ({"--mask": "none.fits"}, "There is no file"),
    "lens without equals": ({"--lens": "1.2"}, "--lens must be NAME=VALUE"),
    "unknown parameter": ({"--lens": "theta_E=1,q=0.7"}, "Received: 'q=0.7'"),
    "lenstronomy's parameter": ({"--lens": "theta_E=1,gamma=2"}, "gamma is slope + 1."),
    "lens twice": ({"--lens": "theta_E=1,theta_E=2"}, "at most once"),
    "lens not a number": ({"--lens": "theta_E=one"}, "--lens theta_E must be a number"),
    "no theta_E": ({"--lens": "e1=0.1"}, "must name theta_E"),
    "too elliptical": ({"--lens": "theta_E=1,e1=0.9"}, "ellipticity"),
    "centre off the image": (
        {"image": "wide.fits[SCI]", "--noise": "1", "--crop-centre": "500,5"},
        "--crop-centre must be X,Y within the image of 40 x 30 pixels",
    ),
    "a width is not oversampled": (
        {"--psf": "0.1", "--psf-oversampling": "2"},
        "`psf_oversampling` must be left out where `psf` is a width",
    ),
    "bad centre": ({"--crop-centre": "12"}, "--crop-centre must be X,Y"),
    "unknown model": ({"--model": "rim_euclid65"}, "There is no pretrained model"),
    "no pixel scale": ({"image": "no_scale.fits"}, "give --pixel-scale"),
    "other pixel scale": ({"image": "sharp.fits"}, "`pixel_scale` must be the model's"),
    "too large, and of another pixel scale": (
        {"image": "wide.fits[SCI]", "--noise": "0.1", "--pixel-scale": "0.15"},
        "`pixel_scale` must be the model's",
    ),
    "too large": ({"image": "wide.fits[SCI]", "--noise": "0.1"}, "--crop-centre X,Y"),
    "too small": ({"image": "small.fits", "--noise": "0.1"}, "on the command line --mask-missing"),
    "centre outside": (
        {"image": "wide.fits[SCI]", "--noise": "0.1", "--crop-centre": "2,2"},
        "around --crop-centre 2,2 must lie within the image of 40 x 30",
    ),
    "NaN": ({"image": "nan.fits"}, "16 NaN or infinite pixels"),
    "noise of other shape": (
        {"--noise": "small.fits"},
        "`noise` must be a number, one per system (1,), a map (16, 16)",
    ),
    "negative noise": ({"--noise": "negative.fits"}, "`noise` must be positive"),
    "zero noise": ({"--noise": "0"}, "`noise` must be positive"),
    "all masked": ({"--mask": "mask.fits"}, "All pixels are masked"),
    "even psf": ({"--psf": "even_psf.fits"}, "odd number of pixels"),
    "psf of larger pixels": (
        {"--psf": "psf_blunt.fits"},
        "`psf` must not have larger pixels than the image",
    ),
    "negative psf": ({"--psf=-0.1": None}, "`psf` must be a width"),
    "results exist": ({"--output": "full"}, "--overwrite"),
    "output is a file": ({"--output": "mask.fits"}, "is not a directory"),
    "refined and linear": ({"--refine": None, "--linear": None}, "--linear: not allowed with"),
    "negative seed": (["fit", "image.fits", "--seed", "-1"], "--seed: must be an integer from 0"),
    "large seed": (["fit", "image.fits", "--seed", "4294967296"], "from 0 to 4294967295"),
    "range without a width": (
        ["fit", "image.fits", *UNREAD, "--range", "theta_E=1,1"],
        "must be NAME=LOW,HIGH",
    ),
    "range twice": (
        ["fit", "image.fits", *UNREAD, "--range", "theta_E=1,2", "--range", "theta_E=2,3"],
        "--range must name each parameter once",
    ),
    "start that is no lens": (
        ["fit", "image.fits", *UNREAD, "--start", "theta_E=1,slope=9"],
        "`slope` (kappa ~ R^-slope) must lie between 0 and 2",
    ),
    "matrix-free evidence": (
        ["sample", "image.fits", *UNREAD, "--lens", "theta_E=1", "--linear", "--model", "paper"],
        "--linear must have a --model",
    ),
}
FILES = ("image", "--noise", "--psf", "--mask", "--output")


def command(files, model, output, changes=None):
    values = {
        "image": "image.fits",
        "--noise": "noise.fits",
        "--psf": "psf.fits",
        "--lens": "theta_E=1.2",
        "--model": str(model),
        "--output": str(output),
    } | (changes or {})
    for name in FILES:
        if values.get(name, "").endswith(("fits", "fits[SCI]", "]", "full")):
            values[name] = str(files / values[name])
    arguments = ["reconstruct", values.pop("image")]
    for name, value in values.items():
        arguments += [name] if value is None else [name, value]
    return arguments


@pytest.fixture(scope="module")
def answers(files, tiny_folder, tmp_path_factory):
    """What every bad command line gets, all in one process."""
    paper = tmp_path_factory.mktemp("zoo") / "paper"
    paper.mkdir()
    zoo.write_config(paper, zoo.ModelConfig("rim", get_preset("paper192"), Priors()))
    zoo.write_metadata(paper, {"description": "without weights", "parameters": 0})
    lines = [
        [str(paper) if word == "paper" else word for word in change]
        if isinstance(change, list)
        else command(files, tiny_folder, files / "new", change)
        for change, _ in BAD.values()
    ]
    lines += [["--help"], ["reconstruct", "--help"], ["models"]]
    done = subprocess.run(
        [sys.executable, "-c", COLLECT],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip([*BAD, "help", "command help", "models"], json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", BAD)
def test_every_error_is_a_line_before_tensorflow(case, answers, files):
    code, out, err, loaded = answers[case]
    assert code == 2
    lines = err.splitlines()
    # Some of these name no files that exist, either.
    assert 1 <= len(lines) <= 2 and all(line.startswith("error: ") for line in lines)
    assert BAD[case][1] in err
    assert out == ""
    assert loaded == []
    assert not (files / "new").exists()


def test_help_and_models_need_no_tensorflow(answers):
    for name in ("help", "command help", "models"):
        code, out, err, loaded = answers[name]
        assert (code, loaded, err) == (0, [], "")
        assert out


def test_help_takes_less_than_a_second():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rim_lensing", "--help"], check=True, stdout=-3)
        times.append(time.perf_counter() - start)
    assert min(times) < 1


def test_a_lens_cnn_does_not_reconstruct(files, tiny_cnn_folder, tmp_path, capsys):
    options = ["--noise", "0.1", "--psf", "0.1", "--lens", "theta_E=1", "--output", str(tmp_path)]
    for command in (["reconstruct", str(files / "image.fits"), *options], ["demo", *options[-2:]]):
        assert cli.main([*command, "--model", str(tiny_cnn_folder)]) == 2
        assert "cnn_untrained, a lens CNN, which predicts the lens" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_models_lists_the_zoo(capsys):
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    for model in zoo.list_pretrained():
        assert model.name in out and model.description in out


def test_reconstruct_is_what_the_package_gives(files, tiny_folder, tiny_mocks, tmp_path, capsys):
    wide, output = str(files / "wide.fits"), tmp_path / "new" / "results"
    lens = tiny_mocks.lens[0].astype("float64")
    arguments = [
        *("reconstruct", f"{wide}[SCI]", "--noise", f"{wide}[ERR]", "--psf", f"{wide}[PSF]"),
        *("--lens", lens_text(lens), "--crop-centre", "28.5,12.5"),
        *("--model", str(tiny_folder), "--output", str(output)),
    ]
    assert cli.main(arguments) == 0
    assert {path.name for path in output.iterdir()} == RESULTS
    expected = zoo.load_pretrained(tiny_folder).reconstruct(
        tiny_mocks.image[0],
        noise=tiny_mocks.noise[0],
        psf=tiny_mocks.psf[0],
        lens=LensParameters.from_array(lens),
    )
    with fits.open(output / "result.fits") as file:
        np.testing.assert_allclose(file[0].data, expected.source, rtol=1e-5)
        assert file["DATA"].header["CTYPE1"] == "RA---TAN"
        assert file["DATA"].header["CRPIX1"] == 0.0
    facts = json.loads((output / "metrics.json").read_text())
    assert facts["chi2_per_pixel"] == pytest.approx(expected.chi2, rel=1e-5)
    assert facts["seconds"] > 0
    weights = zoo.sha256(zoo.find_pretrained(tiny_folder).weights)
    assert (facts["rim_lensing_version"], facts["weights_sha256"]) == (__version__, weights)
    out = capsys.readouterr().out
    assert f"{expected.chi2:.3f}" in out and out.startswith("PSF: ")
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite"]) == 0


def test_tells_that_the_source_could_not_be_refined(
    files, tiny_folder, tmp_path, capsys, monkeypatch
):
    def fail(*arguments):
        raise RuntimeError("do not converge")

    monkeypatch.setattr("rim_lensing.reconstruction.refinement._best_strength", fail)
    assert cli.main([*command(files, tiny_folder, tmp_path / "out"), "--refine"]) == 0
    answer = capsys.readouterr()
    assert "the source could not be refined" in answer.out
    assert "found nothing to change" not in answer.out
    assert "stays the network's: do not converge" in answer.err


def test_refine_is_what_the_package_gives(files, tiny_folder, tmp_path):
    assert cli.main([*command(files, tiny_folder, tmp_path / "out"), "--refine"]) == 0
    assert cli.main(command(files, tiny_folder, tmp_path / "plain")) == 0
    facts, plain = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("out", "plain")
    )
    assert facts["model"] == f"{plain['model']}, refined"
    assert facts["chi2_per_pixel"] < plain["chi2_per_pixel"]
    with fits.open(tmp_path / "out" / "result.fits") as file:
        arguments = {name: file[name].data for name in ("DATA", "NOISE", "PSF")}
        source, steps = file[0].data, len(file["SOURCE_HISTORY"].data)
    expected = (
        zoo.load_pretrained(tiny_folder)
        .refined()
        .reconstruct(
            arguments["DATA"], noise=arguments["NOISE"], psf=arguments["PSF"], lens=facts["lens"]
        )
    )
    assert steps == len(expected.history)
    np.testing.assert_allclose(source, expected.source, rtol=1e-3, atol=1e-4 * source.max())


def test_linear_is_what_the_package_gives(files, tiny_folder, tmp_path, capsys):
    assert cli.main([*command(files, tiny_folder, tmp_path / "out"), "--linear"]) == 0
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    with fits.open(tmp_path / "out" / "result.fits") as file:
        image, noise, psf = (file[name].data for name in ("DATA", "NOISE", "PSF"))
        source, std = file[0].data, file["SOURCE_STD"].data
    linear = SemilinearInversion(geometry=get_preset("tiny16"))
    expected = linear.reconstruct(image, noise=noise, psf=psf, lens=facts["lens"])
    np.testing.assert_allclose(source, expected.source, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std, expected.source_std, rtol=1e-3)
    assert facts["strength"] == pytest.approx(expected.strength, rel=1e-3)
    assert facts["model"] == expected.model and "weights_sha256" not in facts
    assert f"log evidence: {facts['log_evidence']:.1f}" in capsys.readouterr().out
    assert (tmp_path / "out" / "summary.png").stat().st_size > 0


def test_numbers_for_noise_and_psf_and_a_warning(files, tiny_folder, tmp_path, capsys):
    changes = {"--noise": "0.01", "--psf": "0.6"}
    assert cli.main(command(files, tiny_folder, tmp_path / "out", changes)) == 0
    answer = capsys.readouterr()
    assert "PSF:" not in answer.out
    warnings = answer.err.splitlines()
    assert any(line.startswith("warning: The width sigma of the PSF") for line in warnings)
    assert all(line.startswith("warning: ") for line in warnings)


def test_the_width_of_a_psf_is_told(capsys):
    """0.08" on pixels of 0.02", given for an image of 0.05": two and a half times too wide."""
    grid = PixelGrid(64, 0.05)
    image = np.zeros((64, 64))
    image[30:34, 30:34] = 1
    kernel = gaussian_on_pixels(np.array([4.0]), 41)[0]
    mine = inputs.UserImage(Observation(image, 0.01, kernel, pixel_scale=0.05), grid, (0.0, 0.0))
    inputs.tell_psf(mine, mine.check())
    expected = 'PSF: 41 x 41 pixels of 0.05", as sharp as a Gaussian of sigma 0.2"\n'
    assert capsys.readouterr().out == expected


def test_lens_is_relative_to_the_crop_centre(files, tiny_folder, tmp_path):
    """The same pixels cut out around two centres: the lens stays on the sky where it was."""
    wide = str(files / "wide.fits")
    lenses = []
    for name, centre, lens in (
        ("middle", "28.5,12.5", "theta_E=1.2,x=0.15,y=0.15"),
        ("pixel", "29,13", "theta_E=1.2"),
    ):
        arguments = [
            *("reconstruct", f"{wide}[SCI]", "--noise", f"{wide}[ERR]", "--psf", f"{wide}[PSF]"),
            *("--lens", lens, "--crop-centre", centre),
            *("--model", str(tiny_folder), "--output", str(tmp_path / name)),
        ]
        assert cli.main(arguments) == 0
        lenses.append(json.loads((tmp_path / name / "metrics.json").read_text())["lens"])
    assert lenses[1] == pytest.approx(lenses[0], abs=1e-5)
    assert lenses[0]["x"] == pytest.approx(0.15)


def test_the_mask_is_cut_out_with_the_image(files, tiny_folder, tiny_mocks, tmp_path):
    wide, mask = str(files / "wide.fits"), np.ones((30, 40))
    mask[4:7] = 0  # the first three rows of the field
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    arguments = [
        *("reconstruct", f"{wide}[SCI]", "--noise", f"{wide}[ERR]", "--psf", f"{wide}[PSF]"),
        *("--lens", lens_text(tiny_mocks.lens[0]), "--crop-centre", "28.5,12.5"),
        *("--mask", str(tmp_path / "mask.fits")),
        *("--model", str(tiny_folder), "--output", str(tmp_path / "out")),
    ]
    assert cli.main(arguments) == 0
    masked = np.isinf(fits.getdata(tmp_path / "out" / "result.fits", "NOISE"))
    assert masked[:3].all() and not masked[3:].any()


def test_missing_pixels_are_masked_when_asked_to(tiny_folder, tiny_mocks, tmp_path):
    """NaN in the image or the noise map, and what of the field lies beyond a small image."""
    image, noise = tiny_mocks.image[0].copy(), tiny_mocks.noise[0].copy()
    image[0, 3], noise[5, 15] = np.nan, np.inf
    used = np.isfinite(image) & np.isfinite(noise)
    used[14:] = used[:, :1] = used[9, 9] = False
    given_mask = np.ones((16, 16))
    given_mask[9, 9] = 0
    maps = {"image": image, "noise": noise, "mask": given_mask}
    small = {name: array[:14, 1:] for name, array in maps.items()} | {"psf": tiny_mocks.psf[0]}
    for name, array in small.items():
        path = tmp_path / f"{name}.fits"
        fits.PrimaryHDU(array, fits.Header({"PIXSCALE": 0.3})).writeto(path)
    lens = tiny_mocks.lens[0]
    arguments = ["reconstruct", str(tmp_path / "image.fits"), "--lens", lens_text(lens)]
    for name in ("noise", "mask", "psf"):
        arguments += [f"--{name}", str(tmp_path / f"{name}.fits")]
    arguments += ["--crop-centre", "7.5,8.5", "--model", str(tiny_folder)]
    arguments += ["--output", str(tmp_path / "out")]
    assert cli.main(arguments) == 2
    assert cli.main([*arguments, "--mask-missing"]) == 0
    with fits.open(tmp_path / "out" / "result.fits") as written:
        np.testing.assert_array_equal(np.isfinite(written["NOISE"].data), used)
        source = written[0].data
    model = zoo.load_pretrained(tiny_folder)
    expected = model.reconstruct(
        np.nan_to_num(image), noise=tiny_mocks.noise[0], psf=tiny_mocks.psf[0], lens=lens, mask=used
    )
    np.testing.assert_allclose(source, expected.source, rtol=1e-4, atol=1e-6)


def test_a_small_image_is_put_in_the_middle_when_missing_pixels_are_masked(
    files, tiny_folder, tmp_path
):
    bright = np.zeros((8, 8))
    bright[2:6, 2:6] = 1
    fits.PrimaryHDU(bright, fits.Header({"PIXSCALE": 0.3})).writeto(tmp_path / "small.fits")
    changes = {"image": str(tmp_path / "small.fits"), "--noise": "0.05", "--mask-missing": None}
    assert cli.main(command(files, tiny_folder, tmp_path / "out", changes)) == 0
    data = fits.getdata(tmp_path / "out" / "result.fits", "DATA")
    np.testing.assert_allclose(data[4:12, 4:12], bright, atol=1e-6)
    assert np.isfinite(data).sum() == 64


def test_a_psf_is_brought_to_form_and_that_is_said(files, tiny_folder, tmp_path, capsys):
    for name, psf in (("a", "psf.fits"), ("b", "psf_sum.fits"), ("c", "psf_sharp.fits")):
        assert cli.main(command(files, tiny_folder, tmp_path / name, {"--psf": psf})) == 0
        said = capsys.readouterr()
        assert ("divided by its sum, 2" in said.err) == (name == "b")
        assert ("3 x 3 rays a pixel" in said.out) == (name == "c")
    averaged = {"--psf": "psf_sharp.fits", "--ray-oversampling": "1"}
    assert cli.main(command(files, tiny_folder, tmp_path / "e", averaged)) == 0
    assert "3 times as fine as the image's" in capsys.readouterr().err
    numbers = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab"]
    assert numbers[0]["chi2_per_pixel"] == pytest.approx(numbers[1]["chi2_per_pixel"], rel=1e-5)
    option = {"--psf-oversampling": "3"}
    assert cli.main(command(files, tiny_folder, tmp_path / "d", option)) == 0
    for extension, names in (("PSF", "cd"), ("PSF", "ce"), ("FINE_PSF", "cd")):
        kernels = [fits.getdata(tmp_path / name / "result.fits", extension) for name in names]
        np.testing.assert_allclose(*kernels, atol=1e-7)


def test_all_problems_are_said_at_once(files, tiny_folder, tmp_path, capsys):
    changes = {
        "image": "nan.fits",
        "--noise": "negative.fits",
        "--lens": "theta=1",
        "--psf": "-0.1",
        "--output": "full",
    }
    line = [
        f"--psf={w}" if w == "-0.1" else w for w in command(files, tiny_folder, tmp_path, changes)
    ]
    line.remove("--psf")
    assert cli.main(line) == 2
    said = capsys.readouterr().err.splitlines()
    assert all(each.startswith("error: ") for each in said)
    for what in (
        "NaN",
        "`noise` must be positive",
        "--lens must",
        "`psf` must be a wid",
        "--overwr",
    ):
        assert sum(what in each for each in said) == 1, what


def test_demo(model_folder, tmp_path, capsys):
    folder = model_folder("euclid64")
    arguments = ["demo", "--clean", "--model", str(folder), "--output", str(tmp_path / "demo")]
    assert cli.main(arguments) == 0
    assert {path.name for path in (tmp_path / "demo").iterdir()} == RESULTS
    facts = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    out = capsys.readouterr().out
    assert f"rms error over the true peak: {facts['rms_error']:.2%}" in out
    assert f"error of the flux: {facts['flux_error']:.2%}" in out
    assert "time:" in out
    assert cli.main(arguments) == 2


def test_demo_of_a_model_of_other_grids(tiny_folder, tmp_path, capsys):
    arguments = ["demo", "--clean", "--model", str(tiny_folder), "--output", str(tmp_path / "demo")]
    assert cli.main(arguments) == 0
    facts = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert "rms_error" not in facts
    assert fits.getdata(tmp_path / "demo" / "result.fits", "DATA").shape == (64, 64)


def test_demo_compares_sources_of_the_same_pixels_alone(model_folder, tmp_path, monkeypatch):
    other = replace(read_demo_lens(), source_pixel_scale=0.06)
    monkeypatch.setattr("rim_lensing.demo.read_demo_lens", lambda: other)
    arguments = [
        "demo",
        "--clean",
        "--model",
        str(model_folder("euclid64")),
        "--output",
        str(tmp_path / "a"),
    ]
    assert cli.main(arguments) == 0
    assert "rms_error" not in json.loads((tmp_path / "a" / "metrics.json").read_text())


def test_a_failing_picture_leaves_earlier_results_alone(files, tiny_folder, tmp_path, monkeypatch):
    for name in (*RESULTS, "rounds.png"):
        (tmp_path / name).write_text("before")

    def fail(self, **options):
        raise ValueError("no picture")

    monkeypatch.setattr("rim_lensing.results.result.Reconstruction.plot", fail)
    assert cli.main([*command(files, tiny_folder, tmp_path), "--overwrite"]) == 2
    assert {path.read_text() for path in tmp_path.iterdir()} == {"before"}


def test_the_picture_of_an_earlier_fit_goes(files, tiny_folder, tmp_path, capsys):
    (tmp_path / "rounds.png").touch()
    arguments = command(files, tiny_folder, tmp_path)
    assert cli.main(arguments) == 2
    assert "holds rounds.png: say --overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == RESULTS


def test_refuses_a_directory_that_is_closed(files, tiny_folder, tmp_path, monkeypatch, capsys):
    def never(*arguments):
        raise AssertionError("the work has begun")

    # Root may write anywhere.
    asked = []
    monkeypatch.setattr(os, "access", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr("rim_lensing.commands.reconstruct._run", never)
    assert cli.main(command(files, tiny_folder, tmp_path / "new" / "out")) == 2
    assert f"may write to. Received: {tmp_path}\n" in capsys.readouterr().err
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_numbers_are_json_also_where_they_are_not_finite(tmp_path):
    nan, inf = float("nan"), float("inf")
    write_json({"a": nan, "b": [1.5, (-inf, 2)], "c": {"d": np.float64(inf)}}, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == json.dumps(
        {"a": None, "b": [1.5, [None, 2]], "c": {"d": None}}, indent=2
    ) + "\n"


def test_warnings_are_shown_as_before_afterwards(capsys):
    before = warnings.showwarning
    assert cli.main(["models"]) == 0
    assert warnings.showwarning is before


def test_demo_lens_is_what_its_program_makes(tmp_path):
    program = runpy.run_path(str(Path(__file__).parents[2] / "train" / "make_demo_lens.py"))
    assert program["main"](["--output", str(tmp_path / "again.fits")]) == 0
    mock, again = read_demo_lens(), read_demo_lens(tmp_path / "again.fits")
    for name, array in asdict(mock).items():
        np.testing.assert_allclose(getattr(again, name), array, rtol=0, atol=1e-5, err_msg=name)
    assert mock.source.max() == 1
    assert DEMO_FILE.stat().st_size < 100_000
    LensParameters.from_array(mock.lens)


def test_what_does_not_converge_is_said_in_one_line(
    monkeypatch, tmp_path, tiny_folder, files, capsys
):
    def fail(*arguments):
        raise RuntimeError("does not\nconverge")

    class Crash(RuntimeError):
        """As JAX's own."""

    def crash(*arguments):
        raise Crash

    monkeypatch.setattr("rim_lensing.commands.reconstruct._run", fail)
    assert cli.main(command(files, tiny_folder, tmp_path / "out")) == 2
    assert capsys.readouterr().err == "error: does not converge\n"
    monkeypatch.setattr("rim_lensing.commands.reconstruct._run", crash)
    with pytest.raises(Crash):
        cli.main(command(files, tiny_folder, tmp_path / "out"))


def test_a_warning_is_shown_once(files, tiny_folder, tiny_mocks, tmp_path, capsys):
    """The image is checked before the model is loaded, and by the model."""
    image = tiny_mocks.image[0]
    # Much flux in few pixels.
    bright = np.sort(image[image > 0.1])[::-1]
    limit = bright[np.cumsum(bright) > 0.55 * bright.sum()][0]
    fits.PrimaryHDU((image < limit).astype(int)).writeto(tmp_path / "mask.fits")
    changes = {"--mask": str(tmp_path / "mask.fits"), "--noise": "0.02"}
    assert cli.main(command(files, tiny_folder, tmp_path / "out", changes)) == 0
    assert capsys.readouterr().err.count("Is it inverted?") == 1


def test_the_pixel_scale_serves_a_psf_whose_wcs_cannot_be_read(files, tiny_folder, tmp_path):
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "NONSENSE", "CDELT1": -0.3, "CDELT2": 0.3}
    )
    psf = fits.getdata(files / "psf.fits")
    fits.PrimaryHDU(psf, header).writeto(tmp_path / "psf.fits")
    arguments = command(files, tiny_folder, tmp_path / "out", {"--psf": str(tmp_path / "psf.fits")})
    assert cli.main(arguments) == 2
    assert cli.main([*arguments, "--pixel-scale", "0.3"]) == 0


def test_ctrl_c(monkeypatch, tmp_path, tiny_folder, files, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("rim_lensing.commands.reconstruct._run", interrupt)
    assert cli.main(command(files, tiny_folder, tmp_path / "out")) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not (tmp_path / "out").exists()
