"""Sources behind the visibilities of an interferometer, by every method."""

from dataclasses import replace

import numpy as np
import pytest

import rim_lensing as rl
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image

pytest.importorskip("ducc0")

GEOMETRY = Geometry(24, 0.15, 16, 0.12, psf_side=5)
LENS = np.array([1.1, 0.1, -0.05, 0.03, -0.02, 0.03, 0.02])
WEIGHT = 40.0


def galaxy(x0=0.15, y0=-0.1):
    x, y = GEOMETRY.source_grid.coordinates()
    return np.exp(-0.5 * np.hypot(x - x0, y - y0) ** 2 / 0.2**2)


def lensed(source, lens=LENS):
    tracer = RayTracer(np.float32(lens)[None], GEOMETRY.image_grid, GEOMETRY.source_grid)
    return np.asarray(tracer.apply(np.float32(source)[None]))[0].astype("float64")


def observe(flux=1.0, count=1500, seed=0, **pointing):
    """Return mock visibilities with baselines that the pixels resolve, in any unit of flux."""
    generator = np.random.default_rng(seed)
    u, v = generator.uniform(-4e5, 4e5, (2, count))
    blank = rl.VisibilityObservation(u, v, np.zeros(count), WEIGHT, **pointing)
    noise = generator.normal(size=(2, count)).T @ [1, 1j] / np.sqrt(WEIGHT)
    data = flux * (blank.predict(lensed(galaxy()), GEOMETRY.image_grid) + noise)
    return rl.VisibilityObservation(blank.u, blank.v, data, WEIGHT / flux**2, **pointing)


@pytest.fixture(scope="module")
def linear():
    return rl.SemilinearInversion(geometry=GEOMETRY)


@pytest.fixture(scope="module")
def result(linear):
    return linear.reconstruct(observe(), lens=LENS)


def test_chi2_is_that_of_the_visibilities(result):
    seen = observe()
    left = seen.visibilities - seen.predict(result.sky, GEOMETRY.image_grid)
    chi2 = WEIGHT * np.sum(np.abs(left) ** 2)
    assert result.chi2 * 2 * len(seen) == pytest.approx(chi2, rel=1e-6)
    assert result.counted == "visibility"
    numbers = result.metrics()
    assert numbers["used_visibilities"] == len(seen)
    assert numbers["chi2_per_visibility"] == result.chi2
    assert result.chi2 == pytest.approx(1, abs=5 * numbers["chi2_per_visibility_noise_std"])


def test_source_and_flux_are_the_truths(result):
    error = result.source - galaxy()
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert np.std(error / result.source_std) < 1.5
    assert result.metrics()["source_flux"] == pytest.approx(
        galaxy().sum() * (0.12 / 0.15) ** 2, rel=0.03
    )
    truth = lensed(galaxy()).sum()
    assert result.metrics()["model_flux"] == pytest.approx(truth, rel=0.03)


def test_residuals_are_those_of_the_dirty_image(result):
    seen = observe()
    dirty = seen.on_grid(GEOMETRY.image_grid)
    np.testing.assert_allclose(result.residuals_in_sigma, dirty.residual(result.sky), atol=2e-4)


@pytest.mark.parametrize("flux", [1e-20, 1e6])
def test_the_unit_does_not_matter(linear, result, flux):
    scaled = linear.reconstruct(observe(flux), lens=LENS)
    np.testing.assert_allclose(scaled.source / flux, result.source, atol=1e-5)
    assert scaled.chi2 == pytest.approx(result.chi2, rel=1e-6)
    assert scaled.log_evidence + 2 * 1500 * np.log(flux) == pytest.approx(
        result.log_evidence, abs=1e-2
    )


@pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))
def test_turned_visibilities_have_a_turned_source(linear, result, symmetry):
    seen = observe()
    u = -seen.u if symmetry & 1 else seen.u
    v = -seen.v if symmetry & 2 else seen.v
    u, v = (v, u) if symmetry & 4 else (u, v)
    turned = rl.VisibilityObservation(u, v, seen.visibilities, seen.weights)
    lens = LENS @ lens_matrix(symmetry).T
    found = linear.reconstruct(turned, lens=lens, uncertainties=False)
    expected = transform_image(result.source, symmetry)
    np.testing.assert_allclose(found.source, expected, atol=2e-4)


def test_a_phase_centre_elsewhere_and_a_primary_beam(linear, result):
    pointing = {"phase_centre": (0.6, -0.4), "primary_beam": 4.0}
    found = linear.reconstruct(observe(**pointing), lens=LENS)
    assert np.sqrt(np.mean((found.source - galaxy()) ** 2)) < 0.06
    assert found.metrics()["source_flux"] == pytest.approx(
        result.metrics()["source_flux"], rel=0.05
    )


def test_the_evidence_knows_the_lens(linear):
    seen = observe()
    evidence = []
    for factor in (0.96, 1.0, 1.04):
        lens = LENS * np.array([factor, 1, 1, 1, 1, 1, 1])
        evidence.append(linear.reconstruct(seen, lens=lens, uncertainties=False).log_evidence)
    assert evidence[1] > max(evidence[0], evidence[2]) + 10


def test_the_matrix_free_engine_agrees(result):
    other = rl.SemilinearInversion(
        geometry=GEOMETRY, engine="matrix-free", strength=result.strength
    )
    found = other.reconstruct(observe(), lens=LENS, uncertainties=False)
    assert np.abs((found.source - result.source) / result.source_std).max() < 0.05


def test_arguments_of_images_are_refused_beside_visibilities(linear):
    with pytest.raises(ValueError, match="noise"):
        linear.reconstruct(observe(), noise=0.1, lens=LENS)


def test_baselines_that_the_pixels_do_not_resolve_are_warned_of(linear):
    seen = observe()
    longer = rl.VisibilityObservation(3 * seen.u, 3 * seen.v, seen.visibilities, seen.weights)
    with pytest.warns(UserWarning, match="coarser"):
        linear.reconstruct(longer, lens=LENS, uncertainties=False)


@pytest.fixture(scope="module")
def rim():
    """A network that is not trained: its inverted start is as good as it gets."""
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.networks.rim import RIM
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor

    config = replace(
        get_preset("euclid64"),
        image_side=24,
        image_pixel_scale=0.15,
        source_side=16,
        source_pixel_scale=0.12,
        psf_side=5,
        channels=(4, 4, 4, 4),
        steps=2,
        initial_source="inverted",
        first_update="zero",
    )
    return RIMReconstructor(RIM(config), "untrained", rl.Priors())


def test_a_rim_takes_visibilities(rim):
    seen = observe()
    found = rim.reconstruct(seen, lens=LENS)
    assert found.source.min() >= 0
    left = seen.visibilities - seen.predict(found.sky, GEOMETRY.image_grid)
    assert found.chi2 * 2 * len(seen) == pytest.approx(WEIGHT * np.sum(np.abs(left) ** 2), rel=1e-4)
    assert np.sqrt(np.mean((found.source - galaxy()) ** 2)) < 0.1


def test_the_likelihood_of_a_lens_is_that_of_the_rims_source(rim):
    from rim_lensing.observation.checks import check_observation

    seen = check_observation(observe(), lens=LENS, image_grid=rim.image_grid)
    likelihood = rim.lens_likelihood(seen)
    lenses = LENS * np.array([[1.0] * 7, [1.02, 1, 1, 1, 1, 1, 1]])
    values, slopes = likelihood.values_and_gradients(lenses)
    results = [rim.reconstruct(observe(), lens=lens).log_likelihood for lens in lenses]
    assert np.diff(values) == pytest.approx(np.diff(results), rel=1e-3)
    step = np.array([1e-3, 0, 0, 0, 0, 0, 0])
    both = likelihood.values(np.stack([LENS + step, LENS - step]))
    assert slopes[0, 0] == pytest.approx((both[0] - both[1]) / 2e-3, rel=0.1)
    assert not likelihood.least_squares


def test_a_refined_rim_explains_the_data(rim):
    found = rim.refined().reconstruct(observe(), lens=LENS)
    assert found.refined
    assert found.chi2 == pytest.approx(1, abs=0.15)


def test_residuals_of_the_true_lens_are_noise_and_of_another_are_not(linear, result):
    assert rl.check_residuals(result, linear, copies=8).p_value > 0.01
    other = linear.reconstruct(observe(), lens=LENS * np.array([0.9, 1, 1, 1, 1, 1, 1]))
    assert not rl.check_residuals(other, linear, copies=8).consistent


def test_a_result_is_what_it_was_after_a_file(linear, result, tmp_path):
    path = tmp_path / "result.fits"
    result.to_fits(path)
    again = rl.read_reconstruction(path)
    assert again.counted == "visibility" and again.metrics() == pytest.approx(result.metrics())
    np.testing.assert_allclose(again.sky, result.sky)
    chi2 = [each.visibilities.chi2(each.sky) for each in (again, result)]
    assert chi2[0] == pytest.approx(chi2[1], rel=1e-9)
    assert rl.check_residuals(again, linear, copies=4).p_value == pytest.approx(
        rl.check_residuals(result, linear, copies=4).p_value, rel=1e-2
    )


def test_its_picture_is_drawn(result):
    assert result.plot() is not None
