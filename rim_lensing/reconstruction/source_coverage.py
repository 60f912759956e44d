"""Does the source grid hold what the arcs are images of?"""

import warnings

import numpy as np
from keras import ops

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems
from rim_lensing.observation.normalised import NormalisedObservation

SIGNIFICANCE = 5.0
"""Pixels above this many sigma count as arcs."""

MAX_OUTSIDE, WARN_OUTSIDE = 0.5, 0.05
"""Fractions of the arcs' flux outside of the source grid: refused above, warned of above."""

SIDELOBE_MARGIN = 1.5
"""Of an arc, which has many pixels as bright, sidelobes add up to more than one pixel's."""

_CHUNK = 64


def flux_outside(
    observation: NormalisedObservation, image_grid: PixelGrid, source_grid: PixelGrid
) -> np.ndarray:
    """Fraction of the arcs' flux that the lens maps to outside of the source grid.

    Args:
        observation: The systems.
        image_grid: Its pixels; rays are shot at their centres.
        source_grid: Pixels of the source.

    Returns:
        (batch,); 0 where no pixel is significant.
    """
    x, y = image_grid.coordinates()
    outside = []
    for start in range(0, len(observation), _CHUNK):
        alpha = observation[start : start + _CHUNK].deflections(image_grid)
        beta = np.stack([x, y]) - ops.convert_to_numpy(alpha)
        from_middle = beta - np.reshape(source_grid.centre, (2, 1, 1))
        outside.append(np.abs(from_middle).max(axis=1) > source_grid.width / 2)
    significant = observation.image > SIGNIFICANCE * observation.noise
    if observation.visibilities is not None:
        # What sidelobes of the brightest pixel can be is none.
        sidelobes = np.array([each.largest_sidelobe for each in observation.visibilities])
        brightest = observation.image.max(axis=(1, 2))
        significant &= observation.image > SIDELOBE_MARGIN * (sidelobes * brightest)[:, None, None]
    flux = np.where(significant, observation.image, 0).astype("float64")
    total = flux.sum(axis=(1, 2))
    return np.sum(flux * np.concatenate(outside), axis=(1, 2)) / np.where(total > 0, total, 1)


def check_source_coverage(
    observation: NormalisedObservation, image_grid: PixelGrid, source_grid: PixelGrid
) -> None:
    """Refuse a source grid that the arcs miss; warn of one that holds them only in part.

    Args:
        observation: The systems.
        image_grid: Its pixels.
        source_grid: Pixels of the source.

    Raises:
        ValueError: More than half of the flux of a system's arcs comes from elsewhere.
    """
    fraction = flux_outside(observation, image_grid, source_grid)
    worst = int(np.argmax(fraction))
    if fraction[worst] <= WARN_OUTSIDE:
        return
    refused = fraction[worst] > MAX_OUTSIDE
    x, y = source_grid.centre
    where = "the origin" if x == y == 0 else f"({x:.3g}, {y:.3g})"
    bad = fraction > (MAX_OUTSIDE if refused else WARN_OUTSIDE)
    found = (
        f"this lens maps {fraction[worst]:.0%} of the flux of the arcs to outside of the source "
        f'grid, {source_grid.width:.3g}" wide around {where}'
    )
    if len(fraction) > 1:
        found += f" (system {worst}, the worst; too much{which_systems(bad)})"
    found += "."
    if refused:
        radius = ""
        if "lens.theta_E" in observation.form.names:
            column = observation.form.index("lens.theta_E")
            radius = f'theta_E ({observation.lens[worst, column]:.4g}"), '
        raise ValueError(
            f"`lens` must map the arcs onto the source grid. Received: {found} Look at {radius}"
            "the lens centre (arcsec from the middle of the image) and the orientation; subtract "
            "the lens light and mask other objects."
        )
    warnings.warn(
        SystemsWarning(
            f"Flux is lost: {found} What comes from there cannot be reconstructed: if it is "
            "another object or lens light, mask it.",
            bad,
        ),
        stacklevel=3,
    )
