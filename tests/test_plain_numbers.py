"""NumPy's numbers, wherever a number may be given: as good as Python's, in files too."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rim_lensing.files.json_files import write_json
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lens_fit.lens_predictor import LensPredictor
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.lens_cnn_losses import GaussianNegativeLogLikelihood
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.networks.losses import UnrolledRMSError
from rim_lensing.networks.presets import RIMConfig, get_preset
from rim_lensing.plain_numbers import plain
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.sampling.sample import sample_lens_posterior
from rim_lensing.simulation.priors import Priors
from rim_lensing.training.training_run import Recipe, _claim
from rim_lensing.zoo import zoo
from rim_lensing.zoo.zoo import load_pretrained

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
TINY = get_preset("tiny16")


def as_numpy(value, shape: str):
    """Return a value with NumPy's numbers: scalars, or arrays without a dimension."""
    if isinstance(value, tuple):
        return tuple(as_numpy(part, shape) for part in value)
    kinds = {bool: np.bool_, int: np.int64, float: np.float32}
    if type(value) not in kinds:
        return value
    number = kinds[type(value)](value)
    return number if shape == "scalar" else np.array(number)


def fields_of(instance, shape: str) -> dict:
    return {
        field.name: as_numpy(getattr(instance, field.name), shape)
        for field in dataclasses.fields(instance)
    }


SHAPES = pytest.mark.parametrize("shape", ["scalar", "0-d array"])
SETTINGS = [
    Priors(theta_E=(0.5, 2.25), noise_per_batch=True, psf_sigma=(0.0, 0.5)),
    TINY,
    get_lens_cnn_preset("tiny16"),
    Geometry(supersampling=2),
    Recipe(),
    PixelGrid(16, 0.3),
]


@SHAPES
@pytest.mark.parametrize("given", SETTINGS, ids=lambda one: type(one).__name__)
def test_settings_keep_plain_numbers(given, shape):
    made = type(given)(**fields_of(given, shape))
    again = json.loads(json.dumps(dataclasses.asdict(made)))
    expected = json.loads(json.dumps(dataclasses.asdict(given)))
    assert again.keys() == expected.keys()
    for name, value in expected.items():
        numbers = not isinstance(value, str)
        assert again[name] == (pytest.approx(value, rel=1e-6) if numbers else value), name
    types = [[type(v) for v in dataclasses.astuple(one)] for one in (made, given)]
    assert types[0] == types[1]


def test_arrays_are_ranges_and_channels():
    assert Priors(theta_E=np.array([0.5, 2.25])).theta_E == (0.5, 2.25)
    config = dataclasses.replace(TINY, channels=np.array(TINY.channels))
    assert config == TINY and hash(config) == hash(TINY)
    assert RIMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == TINY


def test_what_has_a_unit_keeps_it():
    from astropy.units import Quantity

    assert plain(Quantity(1.0, "deg")) == Quantity(1.0, "deg")
    assert plain(Path("a")) == Path("a") and plain(None) is None


@SHAPES
def test_a_models_files_are_written(tmp_path, shape):
    config = get_lens_cnn_preset("tiny16")
    factors = as_numpy((0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0), shape)
    said = zoo.ModelConfig("lens_cnn", config, Priors(), factors, (factors, factors))
    zoo.write_config(tmp_path, said)
    assert zoo.read_config(tmp_path).std_factors == plain(factors)
    zoo.write_metadata(tmp_path, {"description": "", "parameters": as_numpy(7, shape)})
    assert zoo.read_metadata(tmp_path)["parameters"] == 7
    write_json({"a": [as_numpy(0.5, shape), np.float32("nan")]}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [0.5, None]}


@SHAPES
def test_a_training_run_is_described(tmp_path, shape):
    recipe = Recipe(**fields_of(Recipe(), shape))
    described = {"training_galaxies": as_numpy(40, shape), "beta": as_numpy(0.5, shape)}
    for _ in range(2):  # to begin, and to go on
        _claim(tmp_path / "rim.weights.h5", TINY, recipe, described)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["training_galaxies"] == 40 and run["beta"] == 0.5


@SHAPES
def test_losses_keep_plain_numbers(shape):
    losses = (
        GaussianNegativeLogLikelihood(as_numpy(0.5, shape), as_numpy((1.0,) * 7, shape)),
        UnrolledRMSError(flux_weight=as_numpy(0.25, shape)),
    )
    for loss in losses:
        assert type(loss).from_config(json.loads(json.dumps(loss.get_config())))


@SHAPES
def test_reconstructions_are_the_same(linear_model, mock, shape):
    given = mock(LENS) | {"noise": 0.02, "psf": 0.25, "pixel_scale": 0.3}
    linear = SemilinearInversion(strength=2.0, geometry=linear_model.geometry)
    expected = linear.reconstruct(**given, lens=dict(theta_E=1.0, e1=0.125))
    given |= {name: as_numpy(given[name], shape) for name in ("noise", "psf", "pixel_scale")}
    linear = SemilinearInversion(strength=as_numpy(2.0, shape), geometry=linear_model.geometry)
    assert type(linear.strength) is float
    lens = {"theta_E": as_numpy(1.0, shape), "e1": as_numpy(0.125, shape)}
    found = linear.reconstruct(**given, lens=lens, uncertainties=as_numpy(True, shape))
    np.testing.assert_allclose(found.source, expected.source, rtol=1e-4, atol=1e-4)
    assert json.loads(json.dumps(found.metrics())) == pytest.approx(expected.metrics(), rel=1e-4)


@SHAPES
def test_networks_take_options_of_numpys(tiny_folder, tiny_cnn_folder, mock, shape):
    rim, given = load_pretrained(tiny_folder), mock(LENS)
    rim = rim.with_image_grid(as_numpy(16, shape), as_numpy(0.3, shape))
    json.dumps(rim.network.config.to_dict())
    found = rim.reconstruct(**given, lens=LENS, batch_size=as_numpy(4, shape))
    json.dumps(found.metrics())
    cnn = load_pretrained(tiny_cnn_folder)
    factors = as_numpy(cnn.std_factors, shape)
    other = LensPredictor(cnn.network, "other", cnn.priors, factors, cnn.interval_factors)
    prediction = other.predict(**given, passes=as_numpy(4, shape))
    expected = cnn.predict(**given, passes=4)
    np.testing.assert_allclose(prediction.std, expected.std, rtol=1e-5)
    level = as_numpy(0.68, shape)
    np.testing.assert_array_equal(prediction.interval(level), prediction.interval(0.68))
    json.dumps(prediction.summary())


@SHAPES
@pytest.mark.filterwarnings("ignore:NOT converged")
def test_a_chain_is_sampled_and_goes_on(linear_model, mock, tmp_path, shape):
    """Of the evidence: the issue's "not JSON serializable", after the work."""
    priors = Priors(theta_E=(0.25, 2.25), psf_sigma=(0.0, 0.5), shear=(0.0, 0.125))
    plain_options = {"temperature": 1.5, "walkers": 14, "max_steps": 10, "seed": 3}
    chains = []
    for options, ranges in (
        ({name: as_numpy(value, shape) for name, value in plain_options.items()}, shape),
        (plain_options, None),
    ):
        used = priors if ranges is None else Priors(**fields_of(priors, shape))
        chain = sample_lens_posterior(
            **mock(LENS),
            source_model=SemilinearInversion(
                strength=4.0 if ranges is None else as_numpy(4.0, shape),
                geometry=linear_model.geometry,
            ),
            start=LENS,
            priors=dataclasses.replace(used, axis_ratio=(0.3, 1.0), centre=(-0.05, 0.05)),
            path=tmp_path / f"{ranges is None}.h5",
            **options,
        )
        json.dumps(chain.summary())
        chains.append(chain)
    np.testing.assert_allclose(chains[0].walkers, chains[1].walkers, rtol=1e-6)
