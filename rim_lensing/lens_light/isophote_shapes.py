"""Isophotes that are no ellipses: what is left of a galaxy's light when ellipses are subtracted.

Ellipticals are boxy or disky by some per cent of their light (Bender, Doebereiner & Moellenhoff
1988: a_4 / a up to 2%), their axis ratio changes with radius, and in an image of high signal to
noise that stands out, also where it lies under the arcs.
"""

from dataclasses import replace

import numpy as np

from rim_lensing.lens_light.light import LensLight
from rim_lensing.observation.observation import Observation

ORDERS = (2, 3, 4)
"""Of the multipoles. Not 0 and 1: a ring and an arc are what these take for light."""

NODES = (0.1, 0.25, 0.6, 1.5, 4.0)
"""arcsec: multipoles are linear between these in the logarithm of the radius."""

SIZE = 0.03
"""Of the light: standard deviation of a multipole's amplitude at a node, before the data speak."""


def with_isophote_shapes(light: LensLight, observation: Observation, arcs: np.ndarray) -> LensLight:
    """Return a light whose isophotes have the multipoles that the data less the arcs show.

    Linear least squares for the amplitudes (two of each of ORDERS at each of NODES) of
    light(x, y) cos m phi and light(x, y) sin m phi, with a Gaussian prior of width SIZE.

    Args:
        light: Of ellipses.
        observation: What it was fitted to.
        arcs: As the telescope sees them, (y, x).
    """
    columns = np.stack(_columns(light))
    seen = observation.mask & light.fitted
    left = np.where(seen, observation.image - light.sky - light.image - arcs, 0)[seen]
    rows = columns[:, seen] / observation.noise[seen]
    precision = rows @ rows.T + np.eye(len(rows)) / SIZE**2
    amplitudes = np.linalg.solve(precision, rows @ (left / observation.noise[seen]))
    return replace(light, image=light.image + np.tensordot(amplitudes, columns, 1))


def _columns(light: LensLight) -> list[np.ndarray]:
    """Return the light times every multipole at every node, (y, x) each."""
    y, x = (
        (np.arange(length) - (length - 1) / 2) * light.pixel_scale for length in light.image.shape
    )
    x, y = x - light.centre[0], y[:, None] - light.centre[1]
    radius = np.maximum(np.hypot(x, y), NODES[0])
    angle = np.arctan2(y, x)
    nodes = np.log(NODES)
    shares = [np.interp(np.log(radius), nodes, unit) for unit in np.eye(len(nodes))]
    return [
        light.image * share * wave(order * angle)
        for share in shares
        for order in ORDERS
        for wave in (np.cos, np.sin)
    ]
