"""Image and noise in numbers: finite, an rms, and with a signal. No Keras: errors come fast."""

import numpy as np
from scipy.ndimage import uniform_filter

from rim_lensing.observation.batch_warnings import which_systems
from rim_lensing.observation.masks import MASK_CONVENTION, check_hidden_arcs
from rim_lensing.problems import Problems

SMALLEST_NOISE = 1e-6
"""Of the brightest pixel. Single precision, in which the networks work, knows no less."""

MIN_SIGNIFICANCE = 5.0
"""In sigma: the brightest 3x3 block of pixels must reach it, or there is nothing to reconstruct."""

HUGE_NOISE, DROWNED = 1e4, 10.0
"""A pixel is as good as masked if its noise is so many times that of the quietest of its system,
and so many times what the brightest of the quiet ones has of flux."""


def check_flux(
    image: np.ndarray, noise: np.ndarray, used: np.ndarray, allow_hidden_arcs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image and noise over the brightest pixel, (batch, m, m), and that pixel, (batch,).

    Args:
        image: (batch, m, m).
        noise: rms.
        used: True where a pixel is.
        allow_hidden_arcs: They may be masked.

    Raises:
        ValueError: Pixels are not finite, or have no rms; all are masked, or the arcs; or there is
            no signal.
    """
    empty = ~used.any(axis=(1, 2))
    if empty.any():
        raise ValueError(
            f"All pixels are masked{which_systems(empty)}: at least one pixel must be used and "
            f"have finite noise. {MASK_CONVENTION}."
        )
    problems = Problems()
    with problems.noted():
        _check_finite("image", image, used)
    with problems.noted():
        _check_finite("noise", noise, used)
    positive = noise[used] > 0
    with problems.noted():
        if np.any(noise[used] <= 0):
            raise ValueError(
                "`noise` must be positive in every used pixel: give the rms of the noise, and mask "
                f"pixels that have none. Received: {np.sum(noise[used] <= 0)} pixels that are not, "
                f"the smallest {np.nanmin(noise[used][~positive]):.6g}"
            )
    problems.raise_all()
    if not (used.all() or allow_hidden_arcs):
        check_hidden_arcs(image, noise, used, which_systems)
    used = used & ~_marked(image, noise, used)
    # A small number squared underflows even in double precision: bring the image to 1 first.
    unit = np.max(np.where(used, np.abs(image), 0), axis=(1, 2))
    unit = np.where(unit > 0, unit, 1.0)[:, None, None]
    image = np.where(used, image, 0) / unit
    noise = np.where(used, noise / unit, np.inf)
    _check_signal(image, noise)
    peak = image.max(axis=(1, 2), keepdims=True)
    _check_precision(noise / peak)
    return image / peak, noise / peak, (unit * peak)[:, 0, 0]


def _marked(image: np.ndarray, noise: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return which used pixels a huge noise marks as masked; refuse noise that is an rms nowhere.

    A few quiet pixels, of a mosaic's edge or dead ones, would make all others look marked: these do
    not drown the flux, or they are most of the image and show signal in spite of their noise.
    """
    axes = {"axis": (1, 2), "keepdims": True}
    loud = used & (noise > HUGE_NOISE * np.min(noise, where=used, initial=np.inf, **axes))
    brightest = np.max(np.abs(image), where=used & ~loud, initial=0.0, **axes)
    marked = loud & (noise > DROWNED * brightest)
    most = loud.sum(axis=(1, 2)) > 0.5 * used.sum(axis=(1, 2))
    unit = np.max(noise, where=loud, initial=0.0, **axes)
    unit[unit == 0] = 1.0
    signal = _brightest_block(np.where(loud, image, 0) / unit, np.where(loud, noise / unit, np.inf))
    strange = (loud & ~marked).any(axis=(1, 2)) | (most & (signal >= MIN_SIGNIFICANCE))
    if strange.any():
        quiet = (used & ~loud)[strange]
        raise ValueError(
            f"`noise` must be an rms in every used pixel{which_systems(strange)}: mask those that "
            f"have less than {1 / HUGE_NOISE:g} of the others' noise, such as the edges of a "
            f"mosaic. Received: {quiet.sum()} such pixels, the smallest {noise[used].min():.6g}"
        )
    return marked


def _check_finite(name: str, array: np.ndarray, used: np.ndarray) -> None:
    bad = np.sum(~np.isfinite(array) & used)
    if bad:
        raise ValueError(
            f"`{name}` must be finite in every used pixel: mask the others, "
            f"mask=np.isfinite({name}), on the command line --mask-missing. "
            f"Received: {bad} NaN or infinite pixels of {used.sum()}"
        )


def _check_signal(image: np.ndarray, noise: np.ndarray) -> None:
    """Refuse images whose brightest 3x3 block of used pixels could be noise."""
    brightest = _brightest_block(image, noise)
    faint = brightest < MIN_SIGNIFICANCE
    if faint.any():
        raise ValueError(
            f"`image` shows no signal{which_systems(faint)}: the brightest 3x3 "
            f"pixels must stand out by {MIN_SIGNIFICANCE:g} sigma. Received: {brightest.min():.2g} "
            "sigma. Is the noise in the image's unit, and an rms, not a variance or a weight? "
            f"{MASK_CONVENTION}."
        )


def _brightest_block(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return by how many sigma the brightest 3x3 block of used pixels stands out, (batch,).

    Args:
        image: (batch, m, m); 0 where masked.
        noise: (batch, m, m); infinite where masked.
    """
    used = np.isfinite(noise)
    window = (0, 3, 3)
    flux = uniform_filter(image, window, mode="constant")
    variance = uniform_filter(np.where(used, noise, 0) ** 2, window, mode="constant")
    # Running sums leave round-off where a block has no used pixel.
    some = uniform_filter(used.astype("float64"), window, mode="constant") > 0.1
    significance = 3 * np.where(some, flux, 0) / np.sqrt(np.where(some, variance, 1))
    return significance.max(axis=(1, 2))


def _check_precision(noise: np.ndarray) -> None:
    """Refuse noise, in units of the brightest pixel, of which single precision knows nothing."""
    smallest = noise.min(axis=(1, 2))
    if smallest.min() < SMALLEST_NOISE:
        raise ValueError(
            f"`noise` must be at least {SMALLEST_NOISE:g} of the brightest pixel"
            f"{which_systems(smallest < SMALLEST_NOISE)}, an rms and not a weight; give a mock "
            "without noise 1e-3 or so, what the networks were trained on. "
            f"Received: {smallest.min():.3g} of it"
        )
