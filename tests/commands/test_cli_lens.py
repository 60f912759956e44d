"""`rim-lensing fit` and `rim-lensing sample`, and images on pixels of their own."""

import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from matplotlib.figure import Figure

from rim_lensing import __version__, cli
from rim_lensing.commands import lens_input, sample
from rim_lensing.commands.fit import lens_model_for
from rim_lensing.commands.results import NOT_CONVERGED
from rim_lensing.lens_fit import automated_fit
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.lensing.mass_model import as_lens
from rim_lensing.reconstruction.semilinear_inversion import LARGEST_EXACT_SIDE
from rim_lensing.sampling import sample as sampling
from rim_lensing.sampling.lens_chain import LensChain
from rim_lensing.zoo import zoo


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_mocks):
    """A mock in a larger image, and the same sky on pixels half as large."""
    folder = tmp_path_factory.mktemp("files")
    image = np.zeros((24, 24))
    image[4:20, 4:20] = tiny_mocks.image[0]
    noise, psf = float(tiny_mocks.noise[0, 0, 0]), tiny_mocks.psf[0]
    fine = np.kron(image, np.ones((2, 2)))
    for name, array, scale in (("image", image, 0.3), ("fine", fine, 0.15), ("psf", psf, 0.3)):
        fits.PrimaryHDU(array, fits.Header({"PIXSCALE": scale})).writeto(folder / f"{name}.fits")
    correlation = np.array([[0.1, 0.3, 0.1], [0.3, 1, 0.3], [0.1, 0.3, 0.1]])
    fits.PrimaryHDU(correlation).writeto(folder / "correlation.fits")
    fits.PrimaryHDU(2 * correlation).writeto(folder / "covariance.fits")
    fits.PrimaryHDU(fine[:, :40], fits.Header({"PIXSCALE": 0.15})).writeto(folder / "oblong.fits")
    return folder, noise


def lens_text(lens):
    return ",".join(f"{name}={value}" for name, value in zip(PARAMETER_NAMES, lens, strict=True))


@pytest.fixture
def start(files, tiny_folder, tmp_path):
    """Return a function that calls a command on the mock."""
    folder, noise = files

    def call(command, *more, image="image", centre="12.5,12.5", psf="psf.fits", **options):
        changed = {"model": tiny_folder, "output": tmp_path / "out"} | options
        arguments = [command, str(folder / f"{image}.fits"), "--noise", str(noise)]
        arguments += ["--psf", str(folder / psf) if psf.endswith("fits") else psf]
        arguments += [] if centre is None else ["--crop-centre", centre]
        for name, value in changed.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return cli.main([*arguments, *more])

    return call


def centre_of(facts):
    return [facts["lens"]["x"], facts["lens"]["y"]]


def told(output) -> int:
    """What the files of a fit say that its exit status must be."""
    facts = json.loads((output / "metrics.json").read_text())
    return 0 if facts["converged"] else NOT_CONVERGED


def weights_hash(folder):
    return zoo.sha256(zoo.find_pretrained(folder).weights)


def test_fit_is_algorithm_1(start, files, tiny_folder, tiny_cnn_folder, tmp_path, capsys):
    code = start("fit", "--rounds", "0", lens_model=tiny_cnn_folder)
    assert code == told(tmp_path / "out"), capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"summary.png", "result.fits", "metrics.json", "rounds.png"}
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    out = capsys.readouterr().out
    assert out.startswith("PSF: ") and facts["verdict"] in out and len(facts["rounds"]) == 1
    assert facts["lens"] == pytest.approx(facts["rounds"][0]["lens"], abs=1e-6)
    assert facts["rim_lensing_version"] == __version__
    assert facts["weights_sha256"] == weights_hash(tiny_folder)
    assert facts["lens_model"] == {
        "name": "cnn_untrained",
        "weights_sha256": weights_hash(tiny_cnn_folder),
    }
    theta_E = facts["lens"]["theta_E"]
    assert facts["crop_centre_offset"] == [0, 0] and f"--lens theta_E={theta_E:.6g}" in out
    assert out.count("round 0, predicted lens: ") == 1
    # The prediction of an untrained network lies anywhere, the first round within the priors.
    predictor = zoo.load_pretrained(tiny_cnn_folder)
    image = fits.getdata(tmp_path / "out" / "result.fits", "DATA")
    folder, noise = files
    predicted = predictor.predict(image, noise, fits.getdata(folder / "psf.fits"))
    assert list(facts["prediction"]) == list(PARAMETER_NAMES)
    for i, numbers in enumerate(facts["prediction"].values()):
        assert numbers["mean"] == pytest.approx(predicted.lens[i], rel=1e-4, abs=1e-6)
        assert numbers["std"] == pytest.approx(predicted.std[i], rel=1e-4)
        for level in (0.68, 0.95):
            expected = predicted.interval(level)[:, i]
            assert numbers[f"interval_{level:.0%}"] == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("converged", [True, False])
@pytest.mark.parametrize("command", ["fit", "sample"])
def test_the_exit_status_says_whether_it_converged(
    start, tmp_path, monkeypatch, capsys, command, converged
):
    """3 if not, with all files; the verdict itself is tested elsewhere."""
    monkeypatch.setattr(LensChain, "converged", converged)
    real = automated_fit.automated_fit

    def fitted(*given, **more):
        return replace(real(*given, **more), converged=converged)

    monkeypatch.setattr(automated_fit, "automated_fit", fitted)
    arguments = {
        "fit": ["--start", "theta_E=1.2", "--rounds", "0"],
        "sample": ["--lens", "theta_E=1.2", "--walkers", "14", "--steps", "10"],
    }[command]
    assert start(command, *arguments) == (0 if converged else 3)
    files = {"fit": {"summary.png", "result.fits", "metrics.json", "rounds.png"}}
    files["sample"] = {"chain.h5", "corner.png", "posterior.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files[command]
    capsys.readouterr()
    for asked in (["--help"], [command, "--help"]):
        with pytest.raises(SystemExit):
            cli.main(asked)
        said = " ".join(capsys.readouterr().out.split())
        assert re.search(r"Exit status: 0.* 3 if .* not converged \(its files are written", said)


def test_a_fit_ends_with_a_refined_source(start, tiny_folder, tiny_cnn_folder, tmp_path, capsys):
    code = start("fit", "--rounds", "0", "--refine", lens_model=tiny_cnn_folder)
    assert code == told(tmp_path / "out"), capsys.readouterr().err
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["model"] == f"{zoo.find_pretrained(tiny_folder).name}, refined"
    with fits.open(tmp_path / "out" / "result.fits") as file:
        chi2 = file["CHI2_HISTORY"].data
    assert chi2[-1] < chi2[-2]
    assert "of the refined source, residuals" in facts["verdict"]


def test_a_fit_tells_of_a_round_when_it_is_done(start, tiny_cnn_folder, monkeypatch, capsys):
    real = automated_fit.automated_fit

    def interrupted(*arguments, **options):
        real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(automated_fit, "automated_fit", interrupted)
    assert start("fit", "--rounds", "0", lens_model=tiny_cnn_folder) == 130
    answer = capsys.readouterr()
    assert answer.out.count("round 0, ") == 1
    assert "round 0" not in answer.err
    logger = automated_fit._logger
    assert not logger.handlers and not logger.level


def test_fit_takes_seed_and_noise_correlation(start, files, tiny_cnn_folder, monkeypatch, capsys):
    given = {}

    def stopped(observation, **options):
        given.update(options, observation=observation)
        raise KeyboardInterrupt

    monkeypatch.setattr(automated_fit, "automated_fit", stopped)
    arguments = ["fit", "--own-pixels", "--seed", "3", "--noise-correlation"]
    options = {"image": "fine", "psf": "0.3", "centre": "24.5,24.5", "lens_model": tiny_cnn_folder}
    folder, _ = files
    assert start(*arguments, str(folder / "correlation.fits"), **options) == 130
    assert given["seed"] == 3
    for array in (given["noise_correlation"], given["lens_model"].noise_correlation):
        np.testing.assert_array_equal(array, fits.getdata(folder / "correlation.fits"))
    capsys.readouterr()
    assert start(*arguments, str(folder / "covariance.fits"), **options) == 2
    answer = capsys.readouterr()
    assert "must be 1 in the middle" in answer.err and "loading" not in answer.out


def test_fit_passes_on_rounds_and_mask(start, tmp_path, monkeypatch):
    given = {}

    def stopped(observation, **options):
        given.update(options, observation=observation)
        raise KeyboardInterrupt

    monkeypatch.setattr(automated_fit, "automated_fit", stopped)
    mask = np.ones((24, 24))
    mask[4:7, 9], mask[:4] = 0, 0
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    arguments = ["fit", "--rounds", "7", "--start", "theta_E=1.2"]
    assert start(*arguments, "--mask", str(tmp_path / "mask.fits")) == 130
    assert given["max_rounds"] == 7
    np.testing.assert_array_equal(given["observation"].mask, mask[4:20, 4:20])
    np.testing.assert_allclose(as_lens(given["start"])[0], [[1.2, 0, 0, 0, 0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("pixel_scale", "taken"), [("0.298", 0.298), ("0.303", 0.303), ("0.3001", 0.3)]
)
def test_pixels_that_are_nearly_the_models(start, tiny_cnn_folder, tmp_path, pixel_scale, taken):
    arguments = ("fit", "--rounds", "0", "--pixel-scale", pixel_scale)
    assert start(*arguments, lens_model=tiny_cnn_folder) == told(tmp_path / "out")
    with fits.open(tmp_path / "out" / "result.fits") as file:
        assert file["DATA"].data.shape == (16, 16)
        assert file[0].header["IMGSCALE"] == taken


def test_pixels_that_are_not_nearly_the_models(start, capsys):
    for pixel_scale in ("0.2965", "0.3035"):
        arguments = ("reconstruct", "--lens", "theta_E=1.2", "--pixel-scale", pixel_scale)
        assert start(*arguments, psf="0.3") == 2
        assert "--own-pixels" in capsys.readouterr().err


def test_the_smallest_magnification_is_the_users(start, tmp_path, capsys):
    lens = "theta_E=1.2,e1=0.1"
    assert start("fit", "--rounds", "0", start=lens, min_magnification=1000) == NOT_CONVERGED
    assert "the lens hardly magnifies" in capsys.readouterr().out
    arguments = {"start": lens, "min_magnification": 0.1, "output": tmp_path / "other"}
    assert start("fit", "--rounds", "0", **arguments) == told(tmp_path / "other")
    assert "the lens hardly magnifies" not in capsys.readouterr().out
    assert start("fit", "--rounds", "0", start=lens, min_magnification=-1) == 2
    assert "--min-magnification must be 0 or positive" in capsys.readouterr().err


def test_the_lens_is_looked_for_around_the_crop_centre(start, tiny_mocks, tmp_path, capsys):
    """Half a pixel off the middle, 0.15", is more than the priors' 0.05": the box goes with it."""
    lens = tiny_mocks.lens[0].astype("float64")
    lens[3:5] = 0.04
    found = start("fit", "--rounds", "0", "--start", lens_text(lens), centre="13,13")
    assert found == told(tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["crop_centre_offset"] == pytest.approx([0.15, 0.15])
    assert list(facts["lens"]) == list(PARAMETER_NAMES)
    assert centre_of(facts) == pytest.approx([0.19, 0.19], abs=1e-6)
    assert "edge" not in facts["verdict"]
    assert facts["prediction"] is None and facts["lens_model"] is None
    out = capsys.readouterr().out
    assert "x=0.04,y=0.04" in out and "round 0, given lens: " in out
    lens[3:5] = 0.3
    arguments = ("fit", "--rounds", "0", "--start", lens_text(lens), "--overwrite")
    assert start(*arguments) == told(tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert centre_of(facts) == pytest.approx([0.05, 0.05]) and "edge" in facts["verdict"]
    assert start(*arguments, "--centre-range", "0.4") == told(tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert centre_of(facts) == pytest.approx([0.3, 0.3])
    assert start(*arguments, "--centre-range", "-1") == 2
    assert "--centre-range must be positive" in capsys.readouterr().err


def test_own_pixels(start, tiny_folder, tiny_cnn_folder, tiny_mocks, tmp_path, capsys):
    lens = lens_text(tiny_mocks.lens[0].astype("float64"))
    fine = {"image": "fine", "psf": "0.3"}
    assert start("reconstruct", "--lens", lens, **fine) == 2
    assert "--own-pixels" in capsys.readouterr().err
    assert start("reconstruct", "--lens", lens, "--own-pixels", **fine, centre="24.5,24.5") == 0
    with fits.open(tmp_path / "out" / "result.fits") as file:
        assert file["DATA"].data.shape == (32, 32) and file[0].data.shape == (16, 16)
        assert file[0].header["IMGSCALE"] == 0.15
    whole = {"centre": None, "output": tmp_path / "whole"}
    assert start("reconstruct", "--lens", lens, "--own-pixels", **fine, **whole) == 0
    assert fits.getdata(tmp_path / "whole" / "result.fits", "DATA").shape == (48, 48)
    # A lens CNN sees the mean of four.
    fit = {"lens_model": tiny_cnn_folder, "output": tmp_path / "fit", "centre": "24.5,24.5"}
    assert start("fit", "--rounds", "0", "--own-pixels", **fine, **fit) == told(tmp_path / "fit")
    oblong = fine | {"image": "oblong", "centre": None, "output": tmp_path / "oblong"}
    assert start("reconstruct", "--lens", lens, "--own-pixels", **oblong) == 2
    assert "--own-pixels needs a square image" in capsys.readouterr().err


def test_a_lens_cnn_does_not_take_larger_pixels(start, tiny_cnn_folder, capsys):
    arguments = ("fit", "--own-pixels", "--pixel-scale", "0.6")
    assert start(*arguments, psf="0.3", centre="12,12", lens_model=tiny_cnn_folder) == 2
    assert 'cnn_untrained 0.3"' in capsys.readouterr().err
    for wrong in ("0", "nan"):
        assert start("fit", "--own-pixels", "--pixel-scale", wrong) == 2
        assert "--pixel-scale must be positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pixel_scale", "name"),
    [
        (0.1, "lens_cnn_euclid64"),
        (0.05, "lens_cnn_euclid64"),
        (0.0404, "lens_cnn_hst192"),
        (0.04, "lens_cnn_hst192"),
        (0.0396, "lens_cnn_hst192"),
    ],
)
def test_the_zoo_has_a_lens_cnn_for_these_pixels(pixel_scale, name):
    assert lens_model_for(PixelGrid(100, pixel_scale)).name == name


def test_the_zoo_has_no_lens_cnn_for_pixels_of_the_ground():
    with pytest.raises(ValueError, match=r'--start theta_E=.* pixels of 0.2"'):
        lens_model_for(PixelGrid(40, 0.2))


def test_a_slope_that_is_named_is_a_parameter(start, tiny_folder, tiny_mocks, tmp_path):
    assert len(lens_input.parse_lens("theta_E=1.2")) == 7
    lens = lens_text(tiny_mocks.lens[0]) + ",slope=1"
    arguments = ["sample", "--lens", lens, "--walkers", "16", "--steps", "10", "--seed", "4"]
    assert start(*arguments) == NOT_CONVERGED
    facts = json.loads((tmp_path / "out" / "posterior.json").read_text())
    assert list(facts["parameters"]) == [*PARAMETER_NAMES, "slope"]
    assert facts["rim_lensing_version"] == __version__
    assert facts["weights_sha256"] == weights_hash(tiny_folder)
    with h5py.File(tmp_path / "out" / "chain.h5") as file:
        assert json.loads(file.attrs["description"])["seed"] == 4


def test_what_sample_refuses_is_matrix_free():
    assert sample.LARGEST_LINEAR_SIDE == LARGEST_EXACT_SIDE


def test_sample_says_what_its_prior_is(capsys):
    with pytest.raises(SystemExit):
        cli.main(["sample", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "flat neither in the axis ratio nor in the modulus of the shear" in said
    assert "held 49% and 77% of mocks' truths with a RIM, 54% and 85% with --linear" in said


def test_sample_takes_a_temperature(start, tiny_mocks, tmp_path, capsys):
    arguments = ["sample", "--lens", lens_text(tiny_mocks.lens[0]), "--walkers", "14"]
    arguments += ["--steps", "10", "--temperature"]
    assert start(*arguments, "0.5") == 2
    assert "`temperature` must be" in capsys.readouterr().err
    assert start(*arguments, "2.5") == NOT_CONVERGED
    facts = json.loads((tmp_path / "out" / "posterior.json").read_text())
    assert facts["temperature"] == 2.5 and facts["note"] == ""
    out = capsys.readouterr().out
    assert "too narrow: at temperature 1" not in out and "relative to the crop centre" not in out


@pytest.mark.parametrize("likelihood", [[], ["--linear"], ["--refine"]])
def test_sample_keeps_a_chain_and_goes_on(start, tiny_mocks, tmp_path, capsys, likelihood):
    lens = tiny_mocks.lens[0].astype("float64")
    lens[3:5] = 0.02
    arguments = ["sample", "--lens", lens_text(lens), "--walkers", "14"]
    arguments += likelihood
    assert start(*arguments, "--steps", "12", centre="13,13") == NOT_CONVERGED
    answer = capsys.readouterr()
    assert "NOT converged" in answer.err and answer.out.startswith("PSF: ")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "chain.h5",
        "corner.png",
        "posterior.json",
    }
    facts = json.loads((tmp_path / "out" / "posterior.json").read_text())
    assert facts["crop_centre_offset"] == pytest.approx([0.15, 0.15])
    held = {"": "49% and 77%", "--linear": "54% and 85%"}.get("".join(likelihood))
    assert (facts["note"] in answer.out and held in facts["note"]) if held else not facts["note"]
    assert "x and y relative to the crop centre; in the files, to the middle" in answer.out
    # Printed as --lens takes it; in the file, off the middle of the field.
    x = facts["parameters"]["x"]["mean"]
    assert x == pytest.approx(0.17, abs=0.05)
    assert f"{x - 0.15:10.5f}" in answer.out
    # As another machine's optimiser would give it.
    arguments[2] = lens_text(lens * (1 + 1e-7))
    assert start(*arguments, "--steps", "20", centre="13,13") == NOT_CONVERGED
    chain = LensChain.from_hdf5(tmp_path / "out" / "chain.h5")
    assert len(chain.walkers) + chain.burn_in == 20
    with h5py.File(tmp_path / "out" / "chain.h5") as file:
        priors = json.loads(file.attrs["description"])["priors"]
    assert priors["centre"] == pytest.approx([-0.2, 0.2])
    assert start(*arguments, "--steps", "20", centre="12,13") == 2
    assert "holds a chain with other" in capsys.readouterr().err


def test_sample_passes_on_what_was_said(start, tiny_mocks, monkeypatch, capsys):
    given = {}

    def stopped(observation, **options):
        given.update(options, observation=observation)
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "sample_lens_posterior", stopped)
    arguments = ["sample", "--lens", lens_text(tiny_mocks.lens[0]), "--method", "nuts"]
    assert start(*arguments, "--walkers", "5", "--steps", "80") == 130
    assert (given["method"], given["walkers"], given["max_steps"]) == ("nuts", 5, 80)
    assert "chain.h5 keeps the chain: the same command goes on" in capsys.readouterr().err
    for option in ("--linear", "--refine"):
        assert start(*arguments, option) == 2
        assert f"leave {option} out" in capsys.readouterr().err


def test_compare_draws_the_chain_that_is_there(start, tiny_mocks, tmp_path, monkeypatch, capsys):
    drawn = []

    def corner(chain, truth=None, other=None):
        drawn.append(other)
        return Figure(figsize=(1, 1))

    monkeypatch.setattr(LensChain, "corner", corner)
    lens, first = lens_text(tiny_mocks.lens[0]), tmp_path / "first"
    arguments = ["--walkers", "16", "--steps", "10"]
    assert start("sample", "--lens", lens, *arguments, output=first) == NOT_CONVERGED
    expected = LensChain.from_hdf5(first / "chain.h5")
    fresh = replace(expected, walkers=expected.walkers + 0.01)
    monkeypatch.setattr(sampling, "sample_lens_posterior", lambda *_, **__: fresh)
    arguments += ["--compare", str(first)]
    assert start("sample", "--lens", lens, *arguments) == NOT_CONVERGED
    alone, other = drawn
    assert alone is None
    np.testing.assert_array_equal(other.walkers, expected.walkers)
    capsys.readouterr()
    assert start("sample", "--lens", f"{lens},slope=1", *arguments) == 2
    assert "--compare must have the parameters of --lens, theta_E" in capsys.readouterr().err
