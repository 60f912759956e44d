"""Cosmic rays and bad pixels: sharper than the PSF allows, or darker than an empty sky."""

import numpy as np

SIGNIFICANT = 5.0
"""In sigma, by how much a pixel must exceed what the PSF allows."""

TOLERANCE = 1.25
"""By what factor a PSF may be less sharp than the true one, whose core is worst known."""

CONNECTED = 2.5
"""In sigma: the neighbours of an artefact's pixels that exceed the allowed by so much are of it."""

TOO_DARK = 6.0
"""In sigma below the sky: there is no negative light."""

_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
_PAIRS = tuple(
    ((step * row, step * column), (-step * row, -step * column))
    for step in (1, 2)
    for row, column in _DIRECTIONS
)


def artefacts(
    image: np.ndarray,
    noise: np.ndarray,
    used: np.ndarray,
    kernel: np.ndarray,
    rounds: int = 4,
) -> np.ndarray:
    """Return pixels that no light seen through the PSF explains, (y, x).

    Light is not negative, so an image without noise is a sum of PSFs, and whatever holds for every
    PSF holds for it: a pixel is at most R times the mean of two opposite neighbours, R the largest
    such ratio in the core of the PSF. Pairs in four directions are tried, since the track of a
    cosmic ray is sharp across, not along, and pairs one and two pixels away, since tracks may be
    two pixels wide. In every round a found pixel is no neighbour any more.

    Args:
        image: (y, x), the sky subtracted.
        noise: rms, (y, x).
        used: True where a pixel is, (y, x).
        kernel: PSF on the image's pixels, (k, k).
        rounds: How often.
    """
    from scipy.ndimage import binary_dilation

    image = np.where(used, image, 0.0)
    found = used & (image < -TOO_DARK * noise)
    largest = [TOLERANCE * _largest_ratio(kernel, pair) for pair in _PAIRS]
    near = np.ones((3, 3), bool)
    for _ in range(rounds):
        known = used & ~found
        excess = np.full(image.shape, -np.inf)
        for pair, ratio in zip(_PAIRS, largest, strict=True):
            if not np.isfinite(ratio):
                continue
            sides = [_neighbour(image, known, step) for step in pair]
            light = np.sum([np.where(here, values, 0) for values, here in sides], axis=0)
            number = np.sum([here for _, here in sides], axis=0)
            mean = light / np.maximum(number, 1)
            error = noise * np.sqrt(1 + ratio**2 / np.maximum(number, 1))
            over = (image - ratio * np.maximum(mean, 0)) / error
            excess = np.maximum(excess, np.where(number == 2, over, -np.inf))
        new = known & (excess > SIGNIFICANT)
        beside = known & (excess > CONNECTED) & binary_dilation(found | new, near)
        if not (new | beside).any():
            break
        found |= new | beside
    return found


def _largest_ratio(kernel: np.ndarray, pair: tuple) -> float:
    """Return the largest ratio of a pixel to the mean of two opposite ones in a PSF's core."""
    padded = np.pad(kernel, 3)
    beside = sum(np.roll(padded, (-row, -column), axis=(0, 1)) for row, column in pair) / 2
    core = padded > 0.3 * padded.max()
    return float(np.max(padded[core] / np.maximum(beside[core], 1e-3 * padded.max())))


def _neighbour(image: np.ndarray, known: np.ndarray, step: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels one step away, and where they are known."""
    shifted = [
        np.roll(np.pad(each, 2), (-step[0], -step[1]), axis=(0, 1))[2:-2, 2:-2]
        for each in (image, known)
    ]
    return shifted[0], shifted[1]
