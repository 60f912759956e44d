"""Source pixels that no used pixel sees: found, marked, left out, warned of; not filled with light.

Truths: dense matrices, and a source that is known.
"""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from keras import ops

import rim_lensing as rl
from rim_lensing.files.json_files import write_json
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import regularization_matrix
from rim_lensing.networks.unseen_pixels import CURVATURE_FLOOR, with_floor
from rim_lensing.results.constrained import MIN_SEEN, unconstrained_share

LENS = np.array([1.1, 0.1, 0, 0, 0, 0.02, 0.03])
AREA = (0.15 / 0.3) ** 2
"""Of a source pixel of tiny16 over that of an image pixel."""


def half(side: int = 16) -> np.ndarray:
    """A mask of the right half of the image and of its middle: all images of some of the source."""
    used = np.ones((side, side), bool)
    used[:, side // 2 :] = False
    used[:, side // 2 - 3 :] &= np.abs(np.arange(side) - side / 2)[:, None] > 3
    return used


def dense(config, lens, psf) -> np.ndarray:
    """B L, (m^2, n^2)."""
    model = ForwardModel(
        np.float32([lens]), np.float32([psf]), config.image_grid, config.source_grid
    )
    return model.as_matrix()[0]


@pytest.fixture(scope="module", params=["rim", "refined", "linear"])
def source_model(request, ridge_model, linear_model):
    refined = ridge_model.refined()
    return {"rim": ridge_model, "refined": refined, "linear": linear_model}[request.param]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_is_what_the_used_columns_of_the_matrix_hold(source_model, ridge, mock):
    data, mask = mock(LENS), half()
    result = source_model.reconstruct(**data, lens=LENS, mask=mask)
    matrix = dense(ridge.CONFIG, LENS, data["psf"])
    seen = (matrix * mask.ravel()[:, None]).sum(axis=0).reshape(16, 16) / AREA
    sure = np.abs(seen - MIN_SEEN) > 1e-4
    np.testing.assert_array_equal(result.constrained[sure], (seen >= MIN_SEEN)[sure])
    assert 20 < (~result.constrained).sum() < 236
    everywhere = matrix.sum(axis=0).reshape(16, 16) / AREA
    np.testing.assert_allclose(result.pixel_magnification, everywhere, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_part_of_a_system_that_is_seen_is_marked(source_model, mock):
    """However the noise varies over the image: of an arc it is larger than of the sky."""
    data = mock(LENS)
    whole = source_model.reconstruct(**data, lens=LENS)
    arcs = np.where(data["image"] > 0.2, 8 * data["noise"], data["noise"])
    uneven = source_model.reconstruct(**data | {"noise": arcs}, lens=LENS)
    np.testing.assert_array_equal(uneven.constrained, whole.constrained)
    # The corners are those that no ray reaches.
    assert whole.constrained[2:-2, 2:-2].all()
    masked = np.where(half(), data["noise"], 1e3)
    assert not source_model.reconstruct(**data | {"noise": masked}, lens=LENS).constrained.all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_system_of_a_batch_has_its_own(source_model, mock):
    data, masks = mock(LENS), np.stack([half(), np.ones((16, 16), bool), half().T])
    batch = {name: np.stack([value] * 3) for name, value in data.items()}
    # One of them hides most of the arcs.
    allowed = rl.Mask(masks, allow_hidden_arcs=True)
    result = source_model.reconstruct(**batch, lens=LENS, mask=allowed)
    numbers = result.metrics()
    for i, mask in enumerate(masks):
        allowed = rl.Mask(mask, allow_hidden_arcs=True)
        alone = source_model.reconstruct(**data, lens=LENS, mask=allowed)
        np.testing.assert_array_equal(result[i].constrained, alone.constrained)
        for name, value in alone.metrics().items():
            np.testing.assert_allclose(numbers[name][i], value, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_light_that_no_used_pixel_sees_does_not_count(source_model, mock, ridge):
    data = mock(LENS)
    result = source_model.reconstruct(**data, lens=LENS, mask=half())
    blob = np.where(result.constrained, 0.0, 5.0)
    lensed = (dense(ridge.CONFIG, LENS, data["psf"]) @ blob.ravel()).reshape(16, 16)
    other = replace(result, source=result.source + blob, model_image=result.model_image + lensed)
    numbers, wanted = other.metrics(), result.metrics()
    for name in ("source_peak", "source_flux", "model_flux", "total_magnification"):
        np.testing.assert_allclose(numbers[name], wanted[name], rtol=1e-3)
    more = numbers["unconstrained_flux"] - wanted["unconstrained_flux"]
    assert more == pytest.approx(blob.sum() * AREA)
    assert numbers["constrained_pixels"] == result.constrained.sum()
    assert f"no used image pixel sees {(~result.constrained).sum()} of the 256" in str(
        other.caveats
    )
    share = unconstrained_share(other.source, other.constrained)
    seen = np.maximum(result.source, 0)[result.constrained].sum()
    hidden = result.source[~result.constrained].sum() + blob.sum()
    assert share == pytest.approx(hidden / (hidden + seen))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_keep_it(source_model, mock, tmp_path):
    from astropy.io import fits

    result = source_model.reconstruct(**mock(LENS), lens=LENS, mask=half())
    result.to_fits(tmp_path / "result.fits")
    again = rl.read_reconstruction(tmp_path / "result.fits")
    np.testing.assert_array_equal(again.constrained, result.constrained)
    for name, value in result.metrics().items():
        np.testing.assert_allclose(again.metrics()[name], value, rtol=1e-6)
    # A file of an earlier version.
    with fits.open(tmp_path / "result.fits") as file:
        del file["CONSTRAINED"], file["MAGNIFICATION"]
        file.writeto(tmp_path / "old.fits")
    old = rl.read_reconstruction(tmp_path / "old.fits")
    assert old.constrained.all()
    assert old.metrics()["source_flux"] == pytest.approx(result.source.sum() * AREA)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_is_hatched_in_the_figure(source_model, mock):
    result = source_model.reconstruct(**mock(LENS), lens=LENS, mask=half())
    blob = replace(result, source=np.where(result.constrained, result.source, 9.0))
    axes = blob.plot().axes[3]
    (hatched,) = axes.patches
    centres = np.stack(result_pixels(16, 0.15), axis=-1)[~result.constrained]
    assert hatched.get_hatch() and all(hatched.get_path().contains_points(centres))
    area = (~result.constrained).sum() * 0.15**2
    assert polygon_area(hatched.get_path()) == pytest.approx(area)
    assert axes.images[0].norm.vmax == pytest.approx(result.source[result.constrained].max())
    whole = replace(result, constrained=np.ones((16, 16), bool))
    assert not whole.plot().axes[3].patches


def result_pixels(side: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    from rim_lensing.lensing.grids import PixelGrid

    return PixelGrid(side, scale).coordinates()


def polygon_area(path) -> float:
    total = 0.0
    for corners in path.to_polygons():
        x, y = corners.T
        total += abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    return total


def test_the_warning_is_about_what_is_wrong(mock):
    """A network that fills what is not seen is not cut off, and the other way round."""
    model = rl.load_pretrained("rim_euclid64")
    config = model.network.config
    x, y = config.source_grid.coordinates()
    source = np.exp(-0.5 * (x**2 + y**2) / 0.2**2)
    psf = np.asarray(gaussian_kernel(np.float32([0.07]), 25, 0.1))
    forward = ForwardModel(np.float32([LENS]), psf, config.image_grid, config.source_grid)
    image = ops.convert_to_numpy(forward.predict(source[None].astype("float32")))
    from rim_lensing.observation.checks import check_observation

    data = {"image": image[0], "noise": 0.02, "psf": 0.07, "lens": LENS}
    observation = check_observation(**data, image_grid=config.image_grid, psf_side=25)
    limit = 4.0 * image.max()
    constrained = x < 1.2
    cases = {
        "no used image pixel sees it": np.where(constrained, source, limit),
        "a point-like source is cut off": np.where(x**2 + y**2 < 0.01, limit, source),
        None: source,
    }
    from rim_lensing.results.constrained import warn_of_unconstrained
    from rim_lensing.results.result import Reconstruction

    whole = Reconstruction.from_history(observation, source[None, None], config, model="rim")
    for message, found in cases.items():
        result = replace(
            whole, source=found, history=found[None], constrained=constrained, model="rim"
        )
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.warn_of_cut_off(observation, result)
            warn_of_unconstrained(result.source, result.constrained)
        assert len(seen) == (message is not None)
        assert message is None or message in str(seen[0].message)


def test_a_network_does_not_fill_what_no_used_pixel_sees():
    """Sky of 0.9 sigma left in, the lens's core and a neighbour masked."""
    model = rl.load_pretrained("rim_euclid64").with_image_grid(128, 0.05)
    config, lens = model.network.config, np.float32([1.3, 0.05, 0.02, 0, 0, 0.03, 0.02])
    x, y = config.source_grid.coordinates()
    source = np.exp(-0.5 * ((x - 0.1) ** 2 + (y + 0.05) ** 2) / 0.15**2).astype("float32")
    psf = np.asarray(gaussian_kernel(np.float32([0.07]), 25, 0.05))
    forward = ForwardModel(lens[None], psf, config.image_grid, config.source_grid)
    image = ops.convert_to_numpy(forward.predict(source[None]))[0]
    rms = 0.03 * image.max()
    image = image + rms * (0.9 + np.random.default_rng(0).standard_normal(image.shape))
    x, y = config.image_grid.coordinates()
    mask = (np.hypot(x - 2.5, y + 0.5) > 0.7) & (np.hypot(x, y) > 0.4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = model.reconstruct(image, noise=rms, psf=0.07, lens=lens, mask=mask)
    assert 100 < (~result.constrained).sum() < 200
    # It held 0.37 where nothing but a floor of the curvature map was missing.
    assert result.source[~result.constrained].max() < 0.05


def test_the_floor_of_the_curvature(ridge, mock):
    """Nothing changes where nothing is masked; behind a mask it is as stated."""
    data, config = mock(LENS), ridge.CONFIG
    model = ForwardModel(
        np.float32([LENS]), data["psf"][None], config.image_grid, config.source_grid
    )
    matrix = dense(config, LENS, data["psf"])
    weight = np.random.default_rng(0).uniform(0.5, 2, (16, 16)).astype("float32")
    for mask in (np.ones((16, 16), bool), half()):
        used = np.where(mask, weight, 0).astype("float32")
        c = matrix.T @ (used.ravel() * matrix.sum(axis=1))
        given = ops.maximum(
            model.adjoint(used[None] * model.predict(np.ones((1, 16, 16), "float32"))), 0
        )
        found = ops.convert_to_numpy(with_floor(given, model, used[None]))
        filled = np.where(mask, weight, weight[mask].mean()).ravel()
        floor = CURVATURE_FLOOR * (matrix.T @ (filled * matrix.sum(axis=1)))
        np.testing.assert_allclose(found.ravel(), np.maximum(c, floor), rtol=1e-4, atol=1e-5)
        if mask.all():
            np.testing.assert_array_equal(found, ops.convert_to_numpy(given))


@pytest.mark.parametrize("engine", [ExactEngine, MatrixFreeEngine])
def test_the_covariance_of_fluxes_is_that_of_the_posterior(ridge, mock, engine):
    data, strength = mock(LENS), 30.0
    noise = np.where(half(), data["noise"], np.inf)
    model = ForwardModel(
        np.float32([LENS]), data["psf"][None], ridge.CONFIG.image_grid, ridge.CONFIG.source_grid
    )
    system = LinearSystem(
        model.ray_tracer.as_matrix()[0], data["psf"], np.nan_to_num(data["image"]), noise
    )
    f = system.response().toarray()
    a = f.T @ f + strength * regularization_matrix("gradient", 16).toarray()
    weights = np.stack([np.ones(256), f.sum(axis=0)])
    expected = weights @ np.linalg.inv(a) @ weights.T
    found = engine(system, "gradient").covariance(strength, weights)
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_linear_fluxes_scatter_as_they_say(linear_model, ridge, mock):
    """Over draws of the noise, at one strength: by less than the posterior, which has the prior."""
    first = linear_model.reconstruct(
        **mock(LENS, rms=0.1), lens=LENS, mask=rl.Mask(half(), allow_hidden_arcs=True)
    )
    held = rl.SemilinearInversion(strength=first.strength, geometry=ridge.CONFIG)
    fluxes, model_fluxes = [], []
    for seed in range(40):
        data = mock(LENS, rms=0.1, seed=seed)
        result = held.reconstruct(
            **data, lens=LENS, mask=rl.Mask(half(), allow_hidden_arcs=True), uncertainties=False
        )
        fluxes.append(result.metrics()["source_flux"])
        model_fluxes.append(result.metrics()["model_flux"])
    std = result.metrics()["source_flux_std"]
    assert 0.2 < np.std(fluxes) / std < 1.3
    assert 0.2 < np.std(model_fluxes) / result.metrics()["model_flux_std"] < 1.3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_magnification_of_no_flux_is_not_constrained(linear_model, ridge_model, mock, tmp_path):
    linear = linear_model.reconstruct(**mock(LENS), lens=LENS)
    numbers = linear.metrics()
    error = numbers["total_magnification_std"]
    assert 0 < error < 0.2 * numbers["total_magnification"] and linear.caveats == ()
    flux, std = numbers["source_flux"], numbers["source_flux_std"]
    for wanted in (-flux, 2.5 * std, 3.5 * std):
        shifted = linear.source + (wanted - flux) / AREA / 256
        other = replace(linear, source=shifted)
        magnification = other.metrics()["total_magnification"]
        if wanted > 3 * std:
            assert magnification == pytest.approx(numbers["model_flux"] / wanted)
            continue
        assert np.isnan(magnification) and np.isnan(other.metrics()["total_magnification_std"])
        assert "total magnification is not constrained" in other.caveats[0]
        write_json(other.metrics(), tmp_path / "metrics.json")
        assert json.loads((tmp_path / "metrics.json").read_text())["total_magnification"] is None
    rim = ridge_model.reconstruct(**mock(LENS), lens=LENS)
    negative = replace(rim, source=-rim.source)
    assert np.isnan(negative.metrics()["total_magnification"])
    assert "not constrained" in negative.caveats[0]
