"""Whether the lens galaxy's light is still in an image: seen at once, before any search.

Lensing conserves surface brightness, and an isothermal lens shrinks what is seen next to it: what
shows up there is a part of the source that is seen again further out, larger and so less smeared by
the PSF. Nothing lensed makes the lens's place the brightest of the image, as its own light does.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems
from rim_lensing.observation.normalised import NormalisedObservation

LENS_PLACE = 0.2
"""arcsec: the lens is looked for within this distance of the image's middle, or within a pixel."""

FIELD_RADIUS = 3.0
"""arcsec: what is further from the lens is no arc of it, but perhaps a bright neighbour."""

OUTSHINES = 5.0
"""In sigma: by how much the lens's place must be brighter than all around it."""

OUTSHINES_TIMES = 1.1
"""As `OUTSHINES`, by what factor: with little noise, sigma are small."""

SMOOTH = 3.0
"""In sigma: how bright it must be in all directions but one, in each of three rings around it."""

_SECTORS = 8
_SEEN_SHARE = 0.3
"""Of the PSF's weight: where fewer pixels are used, nothing is known about the brightness."""

_WIDTHS_APART = 2.5
_SMALLEST_WIDTH = 0.1


@dataclass(frozen=True)
class CentralLight:
    """What is seen at the lens's place.

    Args:
        centre: (row, column) of the brightest pixel near the middle, smoothed by the PSF.
        contrast: Its brightness over that of the brightest pixel elsewhere, both smoothed.
        outshines: By how many sigma it is brighter than that.
        smooth: Of the three rings around it, and of all directions in each but the faintest: the
            least brightness, in sigma. A residual of a subtracted core is bright here and dark
            there; a lensed image has a side where nothing is.
    """

    centre: tuple[int, int]
    contrast: float
    outshines: float
    smooth: float

    @property
    def is_lens_light(self) -> bool:
        """Whether no lensed source looks like that."""
        return (
            self.outshines > OUTSHINES and self.contrast > OUTSHINES_TIMES and self.smooth > SMOOTH
        )


def central_light(
    image: np.ndarray, noise: np.ndarray, psf_sigma: float, pixel_scale: float
) -> CentralLight | None:
    """Measure what is seen at the lens's place.

    Rings and the distance to what is elsewhere come in widths: of 1.5 sigma of the PSF, and at
    least 0.1 arcsec and 1.2 pixels. How often lensed sources are taken for lens light, and how
    bright lens light must be to be seen: benchmarks/lens_light_alarms.py. Einstein radii below
    0.5 arcsec, whose ring the PSF fills, are taken for it most often.

    Args:
        image: (m, m); anything where it is not used.
        noise: rms, (m, m); infinite where a pixel is not used.
        psf_sigma: Width of the Gaussian that is as sharp as the PSF, in arcsec.
        pixel_scale: arcsec.

    Returns:
        None where the lens's place is masked, or all around it.
    """
    used = np.isfinite(noise)
    # Pixels and their squares underflow or overflow in units that no one chose for their size.
    unit = np.min(noise, where=used, initial=np.inf)
    image = np.where(used, image, 0) / unit
    variance = np.where(used, noise / unit, 0) ** 2
    width = max(1.5 * psf_sigma, _SMALLEST_WIDTH, 1.2 * pixel_scale)
    y, x = ((np.indices(image.shape) - (len(image) - 1) / 2) * pixel_scale).astype("float64")
    blur = max(psf_sigma / pixel_scale, 0.7)
    seen = gaussian_filter(used.astype("float64"), blur)
    known = used & (seen > _SEEN_SHARE)
    seen = np.where(known, seen, 1)
    bright = np.where(known, gaussian_filter(image, blur) / seen, -np.inf)
    # The square of a Gaussian is one that is narrower, over 4 pi sigma^2.
    error = gaussian_filter(variance, blur / np.sqrt(2)) / (4 * np.pi * blur**2) / seen**2
    near = known & (np.hypot(x, y) <= max(LENS_PLACE, pixel_scale))
    if not near.any():
        return None
    centre = np.unravel_index(np.argmax(np.where(near, bright, -np.inf)), image.shape)
    x, y = x - x[centre], y - y[centre]
    radius = np.hypot(x, y)
    elsewhere = known & (radius > _WIDTHS_APART * width) & (radius < FIELD_RADIUS)
    if not elsewhere.any():
        return None
    other = np.unravel_index(np.argmax(np.where(elsewhere, bright, -np.inf)), image.shape)
    sectors = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _SECTORS).astype(int) % _SECTORS
    rings = [
        _faintest_but_one(
            used & (np.abs(radius - number * width) <= width / 2), sectors, image, variance
        )
        for number in (1, 2, 3)
    ]
    return CentralLight(
        centre=tuple(map(int, centre)),
        contrast=float(bright[centre] / bright[other]) if bright[other] > 0 else np.inf,
        outshines=float((bright[centre] - bright[other]) / np.sqrt(error[centre] + error[other])),
        smooth=min(rings),
    )


def _faintest_but_one(ring, sectors, image, variance) -> float:
    """Return the mean over its error of a ring's sector that is the faintest but one."""
    means, errors = [], []
    for sector in range(_SECTORS):
        pixels = ring & (sectors == sector)
        if count := pixels.sum():
            means.append(image[pixels].sum() / count)
            errors.append(np.sqrt(variance[pixels].sum()) / count)
    if len(means) <= _SECTORS / 2:
        return -np.inf
    second = np.argsort(means)[1]
    return float(means[second] / errors[second])


def has_lens_light(observation: NormalisedObservation, image_grid: PixelGrid) -> np.ndarray:
    """Return which systems have the lens galaxy's light in, (batch,).

    Args:
        observation: The systems.
        image_grid: Their pixels.
    """
    if observation.visibilities is not None:
        # Where dust shines the lens galaxy, which has none, does not.
        return np.zeros(len(observation), bool)
    parts = zip(observation.image, observation.noise, observation.psf_sigma, strict=True)
    found = [central_light(*part, image_grid.pixel_scale) for part in parts]
    return np.array([light is not None and light.is_lens_light for light in found])


def refuse_lens_light(
    observation: NormalisedObservation, image_grid: PixelGrid, allow_lens_light: bool = False
) -> None:
    """Raise ValueError if the lens galaxy's light is in the image: no search would find a lens.

    Args:
        observation: The systems.
        image_grid: Their pixels.
        allow_lens_light: Do not.
    """
    if allow_lens_light:
        return
    found = has_lens_light(observation, image_grid)
    if found.any():
        raise ValueError(
            f"{_what_is_seen(found)}. Subtract it; or, if it is none, say so: "
            "allow_lens_light=True, on the command line --allow-lens-light"
        )


def warn_of_lens_light(observation: NormalisedObservation, image_grid: PixelGrid) -> None:
    """Warn where `refuse_lens_light` raises, on behalf of the function that a user has called."""
    found = has_lens_light(observation, image_grid)
    if found.any():
        warnings.warn(
            SystemsWarning(
                f"{_what_is_seen(found)}: lens and source will be wrong. Subtract it.", found
            ),
            stacklevel=3,
        )


def _what_is_seen(found: np.ndarray) -> str:
    return (
        "`image` must have the lens galaxy's light subtracted. Received: light that is smooth, "
        f"brightest at the lens's place, and brighter there than any arc{which_systems(found)}"
    )
