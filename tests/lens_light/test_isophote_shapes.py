"""Boxy and disky galaxies, and arcs over them."""

import numpy as np
import pytest

from rim_lensing.forward_model.noise_templates import template_modes
from rim_lensing.lens_light.fit import fit_lens_light
from rim_lensing.lens_light.isophote_shapes import light_templates, with_isophote_shapes
from rim_lensing.observation.observation import Observation

SCALE, SIDE, RMS = 0.05, 121, 0.01


def galaxy(boxiness: float = 0.0) -> np.ndarray:
    """A round galaxy of a smooth profile whose light has a multipole of order 4, and is 5% off."""
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * SCALE
    x, y = np.meshgrid(axis, axis)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    return 5 / (1 + (radius / 0.3) ** 2) * (1 + boxiness * np.cos(4 * angle))


def ring() -> np.ndarray:
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * SCALE
    x, y = np.meshgrid(axis, axis)
    bright = np.clip(np.cos(np.arctan2(y, x) - 0.7), 0, None)
    return 0.4 * bright * np.exp(-0.5 * ((np.hypot(x, y) - 1.1) / 0.08) ** 2)


def observed(image: np.ndarray) -> Observation:
    noise = RMS * np.random.default_rng(5).standard_normal(image.shape)
    return Observation(image + noise, noise=RMS, psf=0.04, pixel_scale=SCALE)


def shaped(light, seen: Observation, arcs: np.ndarray):
    """The light with the isophotes that are most probable, given the arcs."""
    left = (seen.image - light.image - light.sky - arcs) / seen.noise
    amplitudes = template_modes(light_templates(light), seen.noise).amplitudes(left)
    return with_isophote_shapes(light, amplitudes)


@pytest.mark.parametrize("boxiness", [-0.03, 0.03])
def test_a_boxy_galaxy_under_arcs_is_subtracted_to_the_noise(boxiness):
    seen = observed(galaxy(boxiness) + ring())
    light = fit_lens_light(seen, (0.0, 0.0), arcs=ring())
    found = shaped(light, seen, ring())
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * SCALE
    radius = np.hypot(*np.meshgrid(axis, axis))
    near = (radius > 0.3) & (radius < 2.5)
    errors = [np.std((each.image - galaxy(boxiness))[near]) for each in (light, found)]
    assert errors[0] > RMS / 3 and errors[1] < errors[0] / 3
    # The arcs' flux is what is left where they are.
    arcs = ring() > 0.1
    left = (seen.image - found.image - found.sky)[arcs].sum()
    assert left == pytest.approx(ring()[arcs].sum(), rel=0.01)


def test_an_elliptical_galaxy_stays_what_it_was():
    seen = observed(galaxy())
    light = fit_lens_light(seen, (0.0, 0.0), arcs=np.zeros((SIDE, SIDE)))
    found = shaped(light, seen, np.zeros((SIDE, SIDE)))
    assert np.abs(found.image - light.image).max() < 3 * RMS


def test_the_flux_scale_does_not_matter():
    seen = observed(galaxy(0.03))
    bright = Observation(1e-17 * seen.image, noise=1e-17 * RMS, psf=0.04, pixel_scale=SCALE)
    none = np.zeros((SIDE, SIDE))
    one, other = (
        shaped(fit_lens_light(each, (0.0, 0.0), arcs=none), each, none).image
        for each in (seen, bright)
    )
    np.testing.assert_allclose(other / 1e-17, one, rtol=1e-4, atol=1e-4)
