"""Procedural galaxies as telescopes see them: in linear flux, with outskirts and companions.

Those of `procedural` are pictures: most are stretched, all end at an isophote. These are the same
families, half as large in their stamps, with what lies around: an outer disk or halo that fades as
a Sersic profile, some with a companion, and nothing is cut off but at the stamp's border.
"""

import numpy as np

from rim_lensing.galaxies.framing import border_window
from rim_lensing.galaxies.galaxy_parts import (
    Canvas,
    blurred,
    new_canvas,
    scaled_to_share,
    sersic,
    texture,
    tilted_plane,
)
from rim_lensing.galaxies.procedural import draw_galaxy

_SCALE = (0.35, 0.6)  # of the galaxy's unit radius, in half stamps
_EXPONENTIAL_SHARE = 0.6  # of the outskirts; the others have a Sersic index of 1 to 4
_COMPANION_SHARE = 0.2


def draw_winged_galaxies(
    count: int, seed_or_rng: int | np.random.Generator = 0, side: int = 128
) -> np.ndarray:
    """Draw `count` galaxies.

    Args:
        count: How many.
        seed_or_rng: Seed, or a numpy Generator to draw from.
        side: Pixels on a side of each stamp.

    Returns:
        (count, side, side) float32, non-negative, each with maximum 1, zero at the border.
    """
    rng = np.random.default_rng(seed_or_rng)
    canvas = new_canvas(rng, side)
    stamps = np.empty((count, side, side), np.float32)
    for stamp in stamps:
        stamp[...] = _draw(canvas, side)
    return stamps


def _draw(canvas: Canvas, side: int) -> np.ndarray:
    rng = canvas.rng
    galaxy = draw_galaxy(canvas, scale=rng.uniform(*_SCALE))
    galaxy = galaxy * np.exp(10 ** rng.uniform(-2.3, -1.2) * texture(rng, canvas.size, 0.5))
    index = 1.0 if rng.uniform() < _EXPONENTIAL_SHARE else rng.uniform(1, 4)
    plane = tilted_plane(canvas, rng.uniform(0.4, 1.0), (0.0, 0.0), 1.0)
    outskirts = sersic(plane.r, rng.uniform(0.15, 0.4), index)
    whole = galaxy + scaled_to_share(outskirts, galaxy, 10 ** rng.uniform(-1.5, -0.2))
    if rng.uniform() < _COMPANION_SHARE:
        radius, direction = rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
        centre = (radius * np.cos(direction), radius * np.sin(direction))
        companion = draw_galaxy(canvas, centre, rng.uniform(0.1, 0.25))
        whole = whole + scaled_to_share(companion, whole, 10 ** rng.uniform(-2, -0.6))
    whole = blurred(whole, rng.uniform(0.5, 1.0))
    margin = (canvas.size - side) // 2
    stamp = whole[margin : margin + side, margin : margin + side] * border_window(side)
    stamp = np.clip(stamp, 0, None)
    return (stamp / stamp.max()).astype(np.float32)
