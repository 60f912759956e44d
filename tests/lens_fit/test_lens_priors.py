"""Priors by parameter name: ranges, distributions, what is held, what follows what."""

import json

import numpy as np
import pytest
from scipy import stats

from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.lens_priors import LensPriors, as_lens_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.optimise import optimise_lens
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.mass_components import EPL, SIS, Multipole, Shear
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.observation.checks import check_observation
from rim_lensing.sampling.lens_chain import LensChain
from rim_lensing.sampling.sample import sample_lens_posterior
from rim_lensing.simulation.priors import Priors

SCENE = MassModel(
    lens=EPL(1.1, 0.1, 0.05, 0.01, -0.02),
    shear=Shear(0.02, 0.03),
    boxy=Multipole(4, 0.02, 0.0),
    perturber=SIS(0.1, 0.8, 0.4),
)
NAMED = {
    "lens.slope": 1,
    "lens.x": stats.norm(0, 0.02),
    "boxy.x": "lens.x",
    "boxy.y": "lens.y",
    "perturber.x": 0.8,
    "perturber.y": 0.4,
    "perturber.theta_E": (0.0, 0.5),
}
FREE = (
    *("lens.theta_E", "lens.e1", "lens.e2", "lens.x", "lens.y", "shear.gamma1", "shear.gamma2"),
    *("boxy.a1", "boxy.a2", "perturber.theta_E"),
)


def support(named=NAMED, scene=SCENE, priors=None):
    return LensSupport.from_priors(priors or Priors(), scene.form, named)


def test_what_is_free_and_what_is_not():
    found = support()
    assert found.names == FREE
    full = found.expand(found.select(SCENE.values[None]))[0]
    named = dict(zip(SCENE.names, full, strict=True))
    assert named["boxy.x"] == named["lens.x"] == 0.01 and named["boxy.y"] == -0.02
    assert named["lens.slope"] == 1 and named["perturber.x"] == 0.8
    points = np.random.default_rng(0).standard_normal((5, len(FREE)))
    np.testing.assert_array_equal(found.select(found.expand(points)), points)
    # The gradient follows by the transpose of the links.
    matrix = found.expand(np.eye(len(FREE))) - found.expand(np.zeros((1, len(FREE))))
    slopes = np.random.default_rng(1).standard_normal((3, len(SCENE.names)))
    np.testing.assert_allclose(found.reduce(slopes), slopes @ matrix.T)


def test_a_chain_of_links_ends_at_what_is_held_or_free():
    links = {"boxy.x": "perturber.x", "perturber.x": "lens.x"}
    free, held = support(links), support(links | {"lens.x": 0.03})
    for name in ("boxy.x", "perturber.x", "lens.x"):
        assert free.sources[SCENE.index(name)] == free.names.index("lens.x")
        assert held.expand(np.zeros((1, len(held.names))))[0, SCENE.index(name)] == 0.03


def test_ranges_of_what_is_not_named():
    priors, found = Priors(), support({})
    bounds = dict(zip(found.names, zip(found.lower, found.upper, strict=True), strict=True))
    assert bounds["lens.theta_E"] == priors.theta_E and bounds["lens.x"] == priors.centre
    assert bounds["lens.slope"] == (0.5, 1.5) and bounds["perturber.x"] == (-5, 5)
    assert [disc.name for disc in found.discs] == ["lens.ellipticity", "shear.shear"]
    # Named, a pair is no disc any more.
    named = support({"lens.e1": (-0.1, 0.1), "shear.gamma2": stats.norm(0, 0.05)})
    assert named.discs == ()
    lower = dict(zip(named.names, named.lower, strict=True))
    assert lower["lens.e1"] == -0.1 and lower["lens.e2"] == pytest.approx(-0.7 / 1.3)
    # A zero width is no fault of what is held by name.
    held = support({"lens.theta_E": 1.0}, priors=Priors(theta_E=(1.0, 1.0)))
    assert "lens.theta_E" not in held.names


def test_the_density_is_that_of_scipy():
    found = support()
    points = found.nearest(np.random.default_rng(2).normal(0, 0.02, (6, len(FREE))))
    column = found.names.index("lens.x")
    expected = stats.norm(0, 0.02).logpdf(points[:, column])
    np.testing.assert_allclose(found.log_prior(points), expected)
    slopes = found.log_prior_gradient(points)
    np.testing.assert_allclose(slopes[:, column], -points[:, column] / 0.02**2, atol=1e-3)
    assert np.all(np.delete(slopes, column, axis=1) == 0)
    # Six standard deviations each way, or the limits of the mass profile.
    assert found.upper[column] == pytest.approx(stats.norm(0, 0.02).ppf(1 - 1e-9))
    halfway = support({"perturber.theta_E": stats.norm(0, 0.1)})
    assert halfway.lower[halfway.names.index("perturber.theta_E")] == 0.0


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"boxy.x": "main.x"}, "no parameter of this name.*'main.x'"),
        ({"main.x": 0.0}, "no parameter of this name"),
        ({"x": 0.0}, "more than one parameter"),
        ({"boxy.x": "lens.x", "lens.x": "boxy.x"}, "circle.*boxy.x -> lens.x -> boxy.x"),
        ({"lens.x": "lens.x"}, "circle"),
        ({"lens.slope": "lens.x"}, "its own unit"),
        ({"slope": 1, "lens.slope": 1}, "each parameter once"),
        ({"lens.slope": 3.0}, "within 0 to 2"),
        ({"perturber.theta_E": (-0.1, 0.1)}, "within 0 to inf"),
        ({"lens.x": (0.1, 0.1)}, "range .* with a width"),
        ({"lens.x": (0.0, np.inf)}, "and finite"),
        ({"lens.x": [1, 2, 3]}, "must be a range"),
        ({"lens.e1": (-0.6, 0.6), "lens.e2": (-0.6, 0.6)}, "no ellipticity above 0.75"),
        (dict.fromkeys(SCENE.names, 0.5), "at least one parameter free"),
    ],
)
def test_priors_that_are_none_are_refused(named, words):
    with pytest.raises(ValueError, match=words):
        support(named)


def test_an_ellipticity_of_which_one_part_is_named_stays_one():
    found = support({"lens.e1": (0.5, 0.7)})
    corner = np.hypot(0.7, found.upper[found.names.index("lens.e2")])
    assert corner == pytest.approx(0.75)


def test_forms_of_the_argument():
    default = Priors(theta_E=(0.3, 1.9))
    assert as_lens_priors(None, default) == LensPriors({}, default)
    assert as_lens_priors({"x": 0}, default) == LensPriors({"x": 0}, default)
    own = Priors(shear=(0, 0.1))
    assert as_lens_priors(LensPriors({"x": 0}, own), default).ranges == own
    with pytest.raises(ValueError, match="must be Priors, LensPriors"):
        as_lens_priors([("x", 0)], default)


def test_described_and_back():
    found = support()
    described = json.loads(json.dumps(found.to_dict()))
    again = LensSupport.from_dict(described)
    assert again.names == found.names and again.discs == found.discs
    np.testing.assert_array_equal(again.expand(again.lower[None]), found.expand(found.lower[None]))
    assert described["distributions"] == [[3, "norm(0, 0.02)"]]


@pytest.fixture(scope="module")
def seen(ridge_model, mock):
    return check_observation(
        **mock(SCENE), lens=SCENE, image_grid=ridge_model.image_grid, psf_side=3
    )


def test_the_gradient_of_a_posterior_with_links(ridge_model, seen):
    posterior = lens_posterior(ridge_model, seen, NAMED).tempered(2.0)
    point = posterior.support.select(SCENE.values[None])
    value, slope = posterior.log_posterior_and_gradient(point)
    free = lens_posterior(ridge_model, seen, {"perturber.x": (0.0, 2.0)})
    full = SCENE.form.with_values(posterior.support.expand(point)[0]).values[None]
    likelihood, slopes = free.log_posterior_and_gradient(full)
    prior = stats.norm(0, 0.02).logpdf(0.01)
    assert value[0] == pytest.approx(likelihood[0] / 2 + prior, rel=1e-6)
    expected = posterior.support.reduce(slopes) / 2
    expected[0, FREE.index("lens.x")] -= 0.01 / 0.02**2
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-3)


def test_a_perturber_is_found_with_linked_and_held_parameters(linear_model, mock):
    data = mock(SCENE, rms=0.01)
    # The rest is held, so that the test is quick.
    known = {
        name: value
        for name, value in zip(SCENE.names, SCENE.values.tolist(), strict=True)
        if name not in ("lens.theta_E", "perturber.theta_E", "boxy.x", "boxy.y")
    }
    start = SCENE.with_values(
        np.where(np.array(SCENE.names) == "perturber.theta_E", 0.0, 1.0) * SCENE.values
    )
    priors = LensPriors(known | {"boxy.x": "lens.x", "boxy.y": "lens.y"}, Priors(theta_E=(0.3, 2)))
    found = optimise_lens(**data, start=start, source_model=linear_model, priors=priors)
    assert found.start_lenses.shape == (1, len(SCENE.names))
    assert found.mass_model.components["boxy"].x == pytest.approx(0.01)
    assert found.mass_model.components["perturber"].theta_E == pytest.approx(0.1, abs=0.03)
    assert found.mass_model.components["lens"].theta_E == pytest.approx(1.1, abs=0.02)
    # And a chain knows the names of what it has moved, and all of the lens.
    with pytest.warns(UserWarning, match="NOT converged"):
        chain = sample_lens_posterior(
            **data,
            start=found.mass_model,
            source_model=linear_model,
            priors=priors,
            walkers=8,
            max_steps=12,
        )
    assert chain.names == ("lens.theta_E", "perturber.theta_E")
    assert chain.mass_model.components["boxy"].a1 == pytest.approx(0.02)


def test_a_chain_of_a_scene_goes_on(ridge_model, mock, tmp_path):
    path = tmp_path / "chain.h5"
    arguments = mock(SCENE) | {
        "start": SCENE,
        "source_model": ridge_model,
        "path": path,
        "walkers": 24,
    }
    for steps in (10, 12):
        with pytest.warns(UserWarning, match="NOT converged"):
            chain = sample_lens_posterior(**arguments, priors=NAMED, max_steps=steps)
    again = LensChain.from_hdf5(path)
    assert again.names == chain.names == FREE
    assert again.mass_model == chain.mass_model
    with pytest.raises(FileExistsError, match="support"):
        sample_lens_posterior(
            **arguments, priors=NAMED | {"lens.x": stats.norm(0, 0.03)}, max_steps=12
        )


def test_given_deflections_cannot_be_searched(ridge_model, mock):
    maps = np.zeros((2, 16, 16))
    with pytest.raises(ValueError, match="deflections that are given can be reconstructed"):
        optimise_lens(**mock(SCENE), start=Deflections(*maps), source_model=ridge_model)
