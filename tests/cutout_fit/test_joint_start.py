"""The start without a network, on mocks of lenstronomy with bright lens light."""

import numpy as np
import pytest

from rim_lensing.cutout_fit.joint_start import joint_start
from rim_lensing.observation.observation import Observation
from tests.lens_light import lenstronomy_sky as sky

SIDE = 101
SOURCES = {"double": (0.35, 0.2), "quad": (0.03, 0.06), "ring": (0.01, 0.0)}


def observed(arcs: np.ndarray, seed: int = 0) -> Observation:
    """Return a bright galaxy with arcs, sky and noise."""
    clean = sky.draw(sky.GALAXY, side=SIDE) + arcs
    noise = np.sqrt(0.08**2 + np.clip(clean, 0, None) / 100)
    image = clean + 0.3 + noise * np.random.default_rng(seed).standard_normal(clean.shape)
    return Observation(image, noise, sky.psf_kernel(), pixel_scale=sky.SCALE)


@pytest.mark.parametrize("kind", SOURCES)
def test_lens_and_arcs_are_found(kind):
    radius = 0.25 if kind == "ring" else 0.12
    source = sky.source_at(*SOURCES[kind], amp=150.0, radius=radius)
    arcs = sky.draw((), [source], [sky.LENS, sky.SHEAR], side=SIDE)
    seen = observed(arcs)
    start = joint_start(seen)
    assert start.lens.theta_E == pytest.approx(1.2, rel=0.02)
    assert start.is_lensed and not start.is_point_like
    assert start.images > 1.5
    assert start.source.centre == pytest.approx(SOURCES[kind], abs=0.05)
    bright = arcs > 0.1 * arcs.max()
    for found in (start.arcs, start.light.subtract(seen).image):
        assert found[bright].sum() == pytest.approx(arcs[bright].sum(), rel=0.05)
    assert start.chi2 == pytest.approx(1, abs=0.1)
    assert start.candidates[0].lens == start.lens


def test_a_galaxy_alone_has_no_lens():
    start = joint_start(observed(np.zeros((SIDE, SIDE))))
    assert not start.is_lensed


def test_a_companion_is_not_lensed():
    """One blob beside the galaxy: no lens explains it better than it does itself."""
    companion = sky.source_at(1.3, 0.6, amp=200.0)
    start = joint_start(observed(sky.draw((), [companion], side=SIDE)))
    assert start.arcs_sigma > 10
    assert not start.is_lensed


def test_a_quasar_is_told_by_its_points():
    """Four images of a point: a source far smaller than the PSF."""
    source = sky.source_at(0.03, 0.06, amp=4e4, radius=0.004)
    arcs = sky.draw((), [source], [sky.LENS, sky.SHEAR], side=SIDE, supersampling=9)
    assert joint_start(observed(arcs)).is_point_like
