"""The RIM's public face, on untrained networks: units, batches, masks, warnings."""

import warnings

import keras
import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lens_fit.automated_fit import automated_fit
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.networks.flux_scale import estimate_flux_scale
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.source_coverage import flux_outside
from rim_lensing.simulation.priors import Priors

CONFIG = get_preset("tiny16")
PRIORS = Priors(psf_sigma=(0.0, 0.5))
RMS = 0.02


def network(**changes) -> RIM:
    keras.utils.set_random_seed(1)
    made = RIM(CONFIG.from_dict(CONFIG.to_dict() | changes))
    made.build()
    return made


@pytest.fixture(scope="module")
def reconstructor() -> RIMReconstructor:
    return RIMReconstructor(network(), "rim_tiny", PRIORS)


@pytest.fixture(scope="module", params=["image", "unit"])
def either(request, reconstructor) -> RIMReconstructor:
    """A reconstructor of either kind of network."""
    if request.param == "image":
        return reconstructor
    return RIMReconstructor(network(flux_scale="unit"), "rim", PRIORS)


def truth(batch: int) -> np.ndarray:
    """Gaussian galaxies of peak 1, (batch, n, n)."""
    x, y = CONFIG.source_grid.coordinates()
    shifts = np.linspace(-0.2, 0.2, batch)[:, None, None]
    return np.exp(-0.5 * ((x - shifts) ** 2 + (y - 0.1) ** 2) / 0.25**2).astype("float32")


def systems(batch: int) -> dict[str, np.ndarray]:
    lens = np.tile(np.float32([1.0, 0.1, 0.05, 0, 0, 0.02, 0.03]), (batch, 1))
    lens[:, 0] += np.linspace(-0.1, 0.1, batch)
    psf = np.asarray(gaussian_kernel(np.full(batch, 0.3), 5, CONFIG.image_pixel_scale))
    model = ForwardModel(lens, psf, CONFIG.image_grid, CONFIG.source_grid, CONFIG.supersampling)
    image = keras.ops.convert_to_numpy(model.predict(truth(batch))).astype("float64")
    image = image + RMS * np.random.default_rng(3).standard_normal(image.shape)
    return {"image": image, "noise": np.full(image.shape, RMS), "psf": psf, "lens": lens}


def one(index: int = 0, batch: int = 3) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in systems(batch).items()}


def test_has_the_grids_of_its_network(reconstructor):
    assert reconstructor.image_grid == CONFIG.image_grid
    assert reconstructor.source_grid == CONFIG.source_grid


def test_gives_what_the_network_gives(reconstructor):
    data = systems(3)
    history = reconstructor.network({name: array.astype("float32") for name, array in data.items()})
    result = reconstructor.reconstruct(**data)
    np.testing.assert_allclose(result.history, history, atol=1e-5)
    np.testing.assert_array_equal(result.source, result.history[:, -1])
    assert result.model == "rim_tiny"


def test_one_image_gives_one_source(reconstructor):
    single, batch = reconstructor.reconstruct(**one(1)), reconstructor.reconstruct(**systems(3))
    assert single.source.shape == (16, 16) and single.history.shape == (CONFIG.steps, 16, 16)
    assert isinstance(single.chi2, float) and batch.chi2.shape == (3,)
    for name in ("source", "history", "model_image", "chi2", "chi2_history", "image", "noise"):
        np.testing.assert_allclose(getattr(single, name), getattr(batch, name)[1], rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-20, 1e-40, 1e6])
def test_the_unit_does_not_matter(either, unit):
    data = one()
    plain = either.reconstruct(**data)
    scaled = either.reconstruct(
        **data | {"image": data["image"] * unit, "noise": data["noise"] * unit}
    )
    for name in ("source", "model_image", "residuals"):
        reference = getattr(plain, name)
        np.testing.assert_allclose(
            getattr(scaled, name) / unit, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max()
        )
    assert scaled.chi2 == pytest.approx(plain.chi2, rel=1e-5)


def test_masked_pixels_do_not_matter(reconstructor):
    data = one()
    mask = np.hypot(*CONFIG.image_grid.coordinates()) < 2
    results = []
    for value in (0.0, 1e8, -3.0, np.nan, np.inf):
        image = np.where(mask, data["image"], value)
        noise = np.where(mask, data["noise"], value)
        results.append(
            reconstructor.reconstruct(**data | {"image": image, "noise": noise}, mask=mask)
        )
    for other in results[1:]:
        for name in ("source", "model_image", "chi2", "image", "residuals"):
            np.testing.assert_array_equal(getattr(other, name), getattr(results[0], name))
    assert np.array_equal(np.isnan(results[0].image), ~mask)
    assert np.isfinite(results[0].source).all() and np.isfinite(results[0].chi2)


def test_large_batches_run_in_chunks_with_a_progress_bar(reconstructor, capsys):
    data = systems(5)
    whole = reconstructor.reconstruct(**data)
    assert capsys.readouterr().err == ""
    parts = reconstructor.reconstruct(**data, batch_size=2)
    assert "5/5" in capsys.readouterr().err
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts.chi2, whole.chi2, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_more_systems_than_any_chunk_holds(reconstructor):
    data, small = systems(66), PixelGrid(16, 0.08)
    seen = check_observation(**data, image_grid=CONFIG.image_grid)
    whole, outside = reconstructor.reconstruct(**data), flux_outside(seen, CONFIG.image_grid, small)
    for i in (0, 16, 33, 65):
        alone = reconstructor.reconstruct(**{name: array[i] for name, array in data.items()})
        np.testing.assert_allclose(whole.chi2[i], alone.chi2, rtol=1e-4)
        np.testing.assert_allclose(whole.model_image[i], alone.model_image, rtol=1e-3, atol=1e-6)
        expected = flux_outside(seen[i : i + 1], CONFIG.image_grid, small)[0]
        assert outside[i] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5])
def test_refuses_batch_sizes(reconstructor, batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        reconstructor.reconstruct(**one(), batch_size=batch_size)


def test_takes_kernels_of_any_odd_side(reconstructor):
    data = one()
    small = reconstructor.reconstruct(**data)
    padded = reconstructor.reconstruct(**data | {"psf": np.pad(data["psf"], 5)})
    assert padded.psf.shape == (15, 15)
    np.testing.assert_allclose(padded.source, small.source, rtol=1e-4, atol=1e-6)


def test_checks_its_input(reconstructor):
    with pytest.raises(ValueError, match="`noise` must be positive"):
        reconstructor.reconstruct(**one() | {"noise": -1})
    with pytest.raises(ValueError, match="`pixel_scale` must be the model's"):
        reconstructor.reconstruct(**one(), pixel_scale=0.1)


def test_warns_outside_of_the_training_and_is_silent_inside(reconstructor):
    priors = Priors(theta_E=(0.5, 0.8), psf_sigma=PRIORS.psf_sigma)
    with pytest.warns(UserWarning, match=r"theta_E.*0\.5 to 0\.8"):
        RIMReconstructor(reconstructor.network, "rim", priors).reconstruct(**one())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The network is untrained.
        warnings.filterwarnings("ignore", r"chi\^2 per pixel")
        reconstructor.reconstruct(**systems(3))


def test_warns_of_chi2_that_noise_does_not_leave(reconstructor):
    data = one()
    data["noise"] = data["noise"] / 100
    with pytest.warns(UserWarning, match=r"chi\^2 per pixel is \d.*an rms, not a variance"):
        reconstructor.reconstruct(**data)


def test_warns_of_a_source_that_is_cut_off(monkeypatch):
    """The network's last layer makes all pixels as bright as they can be."""
    bright = network()
    kernel, bias = bright.cell.output_layer.get_weights()
    bright.cell.output_layer.set_weights([0 * kernel, bias + 10])
    model = RIMReconstructor(bright, "rim", PRIORS)
    with pytest.warns(UserWarning, match="as bright as the network can make it, four times"):
        result = model.reconstruct(**one())
    scale = estimate_flux_scale(*(np.float32([one()[name]]) for name in ("image", "noise")))
    np.testing.assert_allclose(result.source, float(scale[0, 0, 0]), rtol=1e-3)
    data = one()
    start = data.pop("lens")
    with pytest.warns(UserWarning, match=r"cut off there. model.refined\(\)"):
        automated_fit(**data, source_model=model, start=start, max_rounds=0)
    # What is there already is no advice.
    for task in (
        lambda: model.refined().reconstruct(**one()),
        lambda: automated_fit(**data, source_model=model.refined(), start=start, max_rounds=0),
    ):
        with pytest.warns(UserWarning, match="cut off there. The refinement starts from there; a"):
            task()


def test_refuses_a_source_grid_that_the_arcs_miss(reconstructor):
    with pytest.raises(ValueError, match="`lens` must map the arcs.*theta_E"):
        reconstructor.reconstruct(**one() | {"lens": LensParameters(2.2, x=1.5, y=1.5)})


def test_warns_of_flux_that_comes_from_elsewhere(reconstructor):
    data = one()
    data["image"] = data["image"].copy()
    data["image"][0, :3] = 1.0
    with pytest.warns(UserWarning, match=r"Flux is lost.*\d+% of the flux"):
        reconstructor.reconstruct(**data)


def test_all_lenses_that_miss_the_arcs_are_named(reconstructor):
    data = systems(12)
    lens = np.array(data["lens"])
    lens[[2, 9], 0] = 4.0
    with pytest.raises(ValueError, match=r"the worst; too much in 2 of 12 systems \(index 2, 9\)"):
        reconstructor.reconstruct(**data | {"lens": lens})


def test_flux_outside_is_what_a_slow_loop_finds():
    data = systems(2)
    grid = PixelGrid(16, 0.08)
    observation = check_observation(**data, image_grid=CONFIG.image_grid)
    inside = ForwardModel(
        data["lens"], np.ones((2, 1, 1), "float32"), CONFIG.image_grid, grid
    ).ray_tracer.apply(np.ones((2, 16, 16), "float32"))
    fractions = flux_outside(observation, CONFIG.image_grid, grid)
    for i in range(2):
        total = lost = 0.0
        for row in range(16):
            for column in range(16):
                if data["image"][i, row, column] > 5 * RMS:
                    total += data["image"][i, row, column]
                    # Half of the weight is inside of the edge pixels' outer border.
                    if np.asarray(inside)[i, row, column] < 0.25:
                        lost += data["image"][i, row, column]
        assert 0 < fractions[i] < 1
        assert fractions[i] == pytest.approx(lost / total, abs=0.1)


class KnowsPeakOne(RIM):
    """A stand-in for a network that was trained on sources of peak 1: it cannot answer above 1."""

    def __init__(self, shape: np.ndarray):
        super().__init__(network(flux_scale="unit").config)
        self.shape = shape

    def call(self, inputs, training=False):
        """Return the truth in the given unit, but never above 1."""
        peak = keras.ops.max(inputs["noise"]) / RMS
        return keras.ops.minimum(self.shape * peak, 1.0)[:, None]


@pytest.mark.parametrize("peak", [0.5, 1.0, 2.5])
def test_finds_the_peak_for_networks_that_know_peak_one_alone(peak):
    data = systems(1)
    scaled = data | {"image": data["image"] * peak, "noise": data["noise"] * peak}
    stand_in = KnowsPeakOne(truth(1))
    result = RIMReconstructor(stand_in, "paper", PRIORS).reconstruct(**scaled)
    assert result.source.max() == pytest.approx(peak, rel=0.05)


def test_extra_columns_of_the_lens_are_not_lost(reconstructor):
    data = one()
    reconstructor.reconstruct(**data)
    steep = reconstructor.reconstruct(**data | {"lens": np.append(data["lens"], 1.3)})
    inputs = {name: array[None].astype("float32") for name, array in data.items()}
    inputs["lens"] = np.float32([[*data["lens"], 1.3]])
    np.testing.assert_allclose(steep.history, reconstructor.network(inputs)[0], atol=1e-5)


def test_uses_the_weights_that_the_network_has_now():
    reconstructor = RIMReconstructor(network(), "rim", PRIORS)
    before = reconstructor.reconstruct(**one()).source
    reconstructor.network.set_weights([0.5 * w for w in reconstructor.network.get_weights()])
    after = reconstructor.reconstruct(**one()).source
    inputs = {name: array[None].astype("float32") for name, array in one().items()}
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, reconstructor.network(inputs)[0, -1], atol=1e-5)
