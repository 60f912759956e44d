"""Isophotes that are no ellipses: what is left of a galaxy's light when ellipses are subtracted.

Ellipticals are boxy or disky by some per cent of their light (Bender, Doebereiner & Moellenhoff
1988: a_4 / a up to 2%), their axis ratio changes with radius, and in an image of high signal to
noise that stands out, also where it lies under the arcs. How bright the light is there is known
less well still, for arcs of all radii, a ring, have been told from it.
"""

from dataclasses import replace

import numpy as np

from rim_lensing.lens_light.light import LensLight

ORDERS = {0: 0.05, 2: 0.03, 3: 0.03, 4: 0.03}
"""Of the multipoles, and of the light: the standard deviation of an amplitude at a node. Not 1: an
arc is what that takes for light."""

NODES = (0.1, 0.25, 0.6, 1.5, 4.0)
"""arcsec: multipoles are linear between these in the logarithm of the radius."""

SKY_ERRORS = 2.0
"""The sky is known so many times less well than its error says: wings of the galaxy, and of its
neighbours, look alike."""


def light_templates(light: LensLight) -> np.ndarray:
    """Return what may be left of a light that was subtracted, (k, y, x), see `Observation`.

    light(x, y) cos m phi and light(x, y) sin m phi for the m of ORDERS around each of NODES, times
    their standard deviations; and the sky.

    Args:
        light: Of ellipses.
    """
    y, x = (
        (np.arange(length) - (length - 1) / 2) * light.pixel_scale for length in light.image.shape
    )
    x, y = x - light.centre[0], y[:, None] - light.centre[1]
    radius = np.maximum(np.hypot(x, y), NODES[0])
    angle = np.arctan2(y, x)
    nodes = np.log(NODES)
    around = [light.image * np.interp(np.log(radius), nodes, unit) for unit in np.eye(len(nodes))]
    waves = [
        std * wave(order * angle)
        for order, std in ORDERS.items()
        for wave in ((np.cos, np.sin) if order else (np.cos,))
    ]
    sky = np.full(light.image.shape, SKY_ERRORS * light.sky_error)
    return np.stack([*(part * wave for part in around for wave in waves), sky])


def with_isophote_shapes(light: LensLight, amplitudes: np.ndarray) -> LensLight:
    """Return a light whose isophotes are no ellipses.

    Args:
        light: Of ellipses.
        amplitudes: Of its `light_templates`, (k,).
    """
    more = np.asarray(amplitudes)[:, None, None] * light_templates(light)
    sky = light.sky + float(more[-1, 0, 0])
    return replace(light, image=light.image + more[:-1].sum(axis=0), sky=sky)
