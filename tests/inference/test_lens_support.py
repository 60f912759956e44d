"""The ranges of the lens parameters."""

import numpy as np
import pytest

from rim_lensing.inference.lens_support import SLOPE, LensSupport
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


def test_the_slope_has_a_range_of_its_own():
    support = LensSupport.from_priors(PRIORS, 8)
    lens = np.append(LENS, 5.0)
    assert support.nearest(lens[None])[0, 7] == SLOPE[1]
    assert support.edges(np.append(LENS, SLOPE[1])) == ("slope",)
