"""Which pixels a mask means: the two ways of writing one, and masks that hide the arcs."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rim_lensing.observation.batch_warnings import SystemsWarning

MASK_CONVENTION = (
    "`mask` is True (or 1) where a pixel is USED, lenstronomy's convention; PyAutoLens's files "
    'have 1 where it is masked: say so, mask=rim_lensing.Mask(mask, marks="masked"), on the '
    "command line --mask-marks masked"
)
MARKS = ("used", "masked")

STANDS_OUT = 5.0
"""In sigma: pixels that belong to the arcs, or to something else that is bright."""

MAX_HIDDEN_FLUX, MAX_HIDDEN_PIXELS = 1 / 2, 2 / 3
"""Of the pixels that stand out: a mask that hides more of their flux is warned of, and one that
hides more of their number, too, is refused. A bright star, a strip of garbage or the lens galaxy's
core, which are rightly hidden, have much flux in few pixels; the wrong side of a mask has all."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask that says what its marks mean; goes wherever a function takes `mask`.

    Args:
        pixels: True and False, or 1 and 0, (y, x) or (batch, y, x).
        marks: What True (or 1) marks: "used", as lenstronomy and a plain array have it, or
            "masked", as PyAutoLens's files and numpy's masked arrays do.
        allow_hidden_arcs: It is meant to hide most of what is bright, which is refused otherwise.

    Raises:
        ValueError: `marks` is neither.

    Example:
        >>> mask = rim_lensing.Mask(rim_lensing.read_image("mask.fits").array, marks="masked")
    """

    pixels: Any
    marks: str = "used"
    allow_hidden_arcs: bool = False

    def __post_init__(self):
        """Refuse other marks."""
        if self.marks not in MARKS:
            raise ValueError(f"`marks` must be one of {MARKS}. Received: {self.marks!r}")

    def used(self, values: np.ndarray) -> np.ndarray:
        """Return where pixels are used.

        Args:
            values: What `pixels` holds, as an array of 1 and 0.
        """
        return (values == 1) == (self.marks == "used")


def check_hidden_arcs(
    image: np.ndarray,
    noise: np.ndarray,
    used: np.ndarray,
    which_systems: Callable[[np.ndarray], str],
) -> None:
    """Refuse a mask that hides most of what stands out: it may be the wrong way round.

    Args:
        image: (batch, m, m).
        noise: rms, (batch, m, m).
        used: True where a pixel is, (batch, m, m).
        which_systems: Names the systems that it is given, (batch,).

    Raises:
        ValueError: It hides more than MAX_HIDDEN_PIXELS of the pixels that stand out and more than
            MAX_HIDDEN_FLUX of their flux.

    Warns:
        UserWarning: Of their flux alone.
    """
    told = np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    bright = told & (np.where(told, image, 0) > STANDS_OUT * np.where(told, noise, 1))
    flux, pixels = (_hidden(bright * weight, used) for weight in (np.where(told, image, 0), 1.0))
    much_flux = flux > MAX_HIDDEN_FLUX
    most = much_flux & (pixels > MAX_HIDDEN_PIXELS)
    for systems in (most, much_flux):
        if not systems.any():
            continue
        said = (
            f"The mask hides {np.max(flux[systems]):.0%} of the flux that stands out by "
            f"{STANDS_OUT:g} sigma, in {np.max(pixels[systems]):.0%} of its pixels"
            f"{which_systems(systems)}: {MASK_CONVENTION}. Is it inverted?"
        )
        if systems is most:
            raise ValueError(
                f"{said} If it is not, and the arcs are to be hidden, allow it: "
                "mask=rim_lensing.Mask(mask, allow_hidden_arcs=True), on the command line "
                "--allow-hidden-arcs"
            )
        warnings.warn(SystemsWarning(said, systems), stacklevel=5)


def _hidden(weight: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the fraction of a weight that is not used, (batch,); 0 where there is none."""
    total = weight.sum(axis=(1, 2))
    hidden = np.where(used, 0, weight).sum(axis=(1, 2))
    return np.divide(hidden, total, out=np.zeros_like(total), where=total > 0)
