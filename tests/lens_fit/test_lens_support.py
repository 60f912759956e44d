"""The ranges of the lens parameters."""

import numpy as np
import pytest

from rim_lensing.lens_fit.lens_support import SLOPE, LensSupport
from rim_lensing.simulation.priors import Priors

PRIORS = Priors()
SUPPORT = LensSupport.from_priors(PRIORS, 7)
LENS = np.array([1.0, 0.1, -0.1, 0.01, 0.0, 0.05, 0.02])


def test_holds_every_lens_that_the_priors_draw():
    drawn = PRIORS.draw(np.random.default_rng(0), 500)["lens"].astype("float64")
    # Drawn in float32, whose rounding may lead over an edge.
    assert SUPPORT.contains(drawn * (1 - 1e-6)).all()


def test_the_nearest_is_inside_and_what_is_inside_stays():
    rng = np.random.default_rng(1)
    wild = rng.standard_normal((200, 7))
    assert SUPPORT.contains(SUPPORT.nearest(wild)).all()
    assert not SUPPORT.contains(wild).any()
    np.testing.assert_array_equal(SUPPORT.nearest(LENS[None])[0], LENS)


def test_ellipticity_and_shear_keep_their_angle():
    lens = LENS.copy()
    lens[1:3], lens[5:7] = (3.0, -4.0), (-0.3, 0.4)
    nearest = SUPPORT.nearest(lens[None])[0]
    for pair in (slice(1, 3), slice(5, 7)):
        assert np.arctan2(*nearest[pair]) == pytest.approx(np.arctan2(*lens[pair]))
    assert np.hypot(*nearest[1:3]) == pytest.approx(0.7 / 1.3)
    assert np.hypot(*nearest[5:7]) == pytest.approx(0.15)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_gradient_beyond_a_circle_is_that_of_the_nearest(scale):
    """By differences, of a linear function of the nearest lens."""
    priors = Priors(shear=(0.03, 0.15), axis_ratio=(0.3, 0.9))
    support = LensSupport.from_priors(priors, 7)
    lens, slope = LENS.copy(), np.arange(1.0, 8.0)
    lens[1:3], lens[5:7] = scale * np.array([0.15, 0.1]), scale * np.array([0.02, -0.06])
    shifts = 1e-6 * np.eye(7)
    up, down = (support.nearest(lens + sign * shifts) @ slope for sign in (1, -1))
    np.testing.assert_allclose(support.pull_back(lens, slope), (up - down) / 2e-6, atol=1e-4)


def test_the_breadth_of_a_ring_is_its_narrowest_extent():
    support = LensSupport.from_priors(Priors(shear=(0.05, 0.0501)), 7)
    assert support.narrowest[5:] == pytest.approx(1e-4)
    assert support.narrowest[:5] == pytest.approx((support.upper - support.lower)[:5])


@pytest.mark.parametrize(
    "changes, edges",
    [
        ({}, ()),
        ({0: 0.5}, ("theta_E",)),
        ({0: 2.2, 4: -0.05}, ("theta_E", "y")),
        ({1: 0.0, 2: 0.7 / 1.3}, ("ellipticity",)),
        ({5: 0.0, 6: -0.15}, ("shear",)),
    ],
)
def test_edges_are_named(changes, edges):
    lens = LENS.copy()
    for index, value in changes.items():
        lens[index] = value
    assert SUPPORT.edges(lens) == edges


def test_rings_have_an_inner_edge():
    ring = LensSupport.from_priors(Priors(axis_ratio=(0.3, 0.9), shear=(0.02, 0.15)), 7)
    round_one = LENS.copy()
    round_one[[1, 2, 5, 6]] = 0
    tilted = LENS.copy()
    tilted[[1, 2, 5, 6]] = 0.003, -0.004, -0.006, 0.008
    assert not ring.contains(np.stack([round_one, tilted])).any()
    nearest = ring.nearest(np.stack([round_one, tilted, LENS]))
    assert ring.contains(nearest).all()
    for lens in nearest[:2]:
        assert np.hypot(*lens[1:3]) == pytest.approx(0.1 / 1.9)
        assert np.hypot(*lens[5:7]) == pytest.approx(0.02)
        assert ring.edges(lens) == ("ellipticity", "shear")
    np.testing.assert_allclose(nearest[1, 1:3] / np.hypot(*nearest[1, 1:3]), [0.6, -0.8])
    np.testing.assert_array_equal(nearest[2], LENS)
    assert SUPPORT.edges(round_one) == ()


@pytest.mark.parametrize("name", ["theta_E", "axis_ratio", "centre", "shear"])
def test_a_range_without_width_is_refused(name):
    held = {"theta_E": 1.0, "axis_ratio": 0.7, "centre": 0.01, "shear": 0.0}[name]
    with pytest.raises(ValueError, match=f"`priors.{name}` must be a range with a width"):
        LensSupport.from_priors(Priors(**{name: (held, held)}), 7)


@pytest.mark.parametrize("sigma, named", [(3.0, False), (2.0, False), (0.5, True), (-0.5, True)])
def test_draws_that_an_edge_cuts_off_are_named(sigma, named):
    """x: Gaussian, with the edge so many standard deviations above its middle."""
    draws = np.tile(LENS, (20_000, 1))
    draws += 1e-3 * np.random.default_rng(0).standard_normal(draws.shape)
    width = 0.004
    x = 0.05 - sigma * width + width * np.random.default_rng(1).standard_normal(100_000)
    draws[:, 3] = x[x <= 0.05][:20_000]
    assert SUPPORT.pile_ups(draws) == (("x",) if named else ())


def test_shear_that_an_edge_cuts_off_is_named_and_no_shear_is_not():
    draws = np.tile(LENS, (20_000, 1))
    draws += 1e-3 * np.random.default_rng(0).standard_normal(draws.shape)
    pair = 0.02 * np.random.default_rng(1).standard_normal((20_000, 2))
    draws[:, 5:7] = pair
    assert SUPPORT.pile_ups(draws) == ()
    draws[:, 5:7] = SUPPORT.nearest(draws + np.array([0] * 5 + [0.15, 0]))[:, 5:7]
    assert SUPPORT.pile_ups(draws) == ("shear",)


def test_the_slope_has_a_range_of_its_own():
    support = LensSupport.from_priors(PRIORS, 8)
    lens = np.append(LENS, 5.0)
    assert support.nearest(lens[None])[0, 7] == SLOPE[1]
    assert support.edges(np.append(LENS, SLOPE[1])) == ("slope",)
