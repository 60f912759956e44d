"""The sky's level where a galaxy's wings may cover the whole cutout, with an error that says so."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from rim_lensing.preparation.smooth_galaxy import SmoothGalaxy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INNERMOST = 1.0
"""arcsec: rings within do not tell how the wings go on."""

ARCS_WITHIN = 2.5
"""arcsec: rings within may hold arcs, and count little."""

PROFILE_ERROR, PROFILE_ERROR_AMONG_ARCS = 0.03, 0.2
"""Of the galaxy's brightness in a ring: what such profiles do not follow."""

SERSIC_INDICES = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
SCALES, DISC_SCALES = np.geomspace(0.3, 6.0, 16), np.geomspace(0.5, 6.0, 12)
"""arcsec: half-light radii of the Sersic profile, and of the exponential that is added to it."""

WITHOUT_OUTERMOST, FEWEST_RINGS = 0.8, 8
"""Of the largest radius: rings within are fitted a second time alone."""

SECTORS = 12
"""Of a ring: their means tell the mean's error, whatever correlates the pixels in them."""

FAINT = 1.0
"""In sky rms: a pixel where the galaxy is no brighter counts as blank sky."""

STRUCTURE = 8.0
"""Pixels: width of the Gaussian within which blank pixels have a mean of 0."""

MIN_BLANK_FRACTION = 0.08
"""Of the pixels: so many of the faintest are taken for blank where the galaxy is all over."""


@dataclass(frozen=True, eq=False)
class Sky:
    """The sky of a cutout.

    Args:
        level: In the image's unit.
        error: Of the level: chance, and what is unknown of the galaxy's wings under it.
        rms: Robust standard deviation of blank pixels.
        blank: True where there is sky and next to nothing else, (y, x).
        radius: arcsec, of the rings that were fitted.
        profile: The rings' mean brightness, sky in it.
        profile_error: Of each.
        fitted: The brightness of galaxy and sky that the fit says, sky in it.
    """

    level: float
    error: float
    rms: float
    blank: np.ndarray
    radius: np.ndarray
    profile: np.ndarray
    profile_error: np.ndarray
    fitted: np.ndarray

    @property
    def rings(self) -> dict[str, np.ndarray]:
        """What `figures.sky_rings` draws."""
        names = ("radius", "profile", "profile_error", "fitted")
        return {name: getattr(self, name) for name in names}

    def plot(self) -> "Figure":
        """Draw the rings over the sky, with the fit."""
        from rim_lensing.figures import sky_rings

        return sky_rings(self.rings, self.level, self.error, self.rms)


def sky_level(
    image: np.ndarray, free: np.ndarray, galaxy: SmoothGalaxy, pixel_scale: float, rms: float
) -> Sky:
    """Fit the rings of a galaxy with a Sersic profile and an exponential over a constant sky.

    The outermost pixels of a cutout are no sky: around an elliptical of 2 arcsec they hold a
    surface brightness of several sky rms at 5 arcsec, and what is subtracted there is missing
    everywhere. All their indices and half-light radii are tried, amplitudes and sky linear
    in each; the sky is their mean, weighted by the likelihood, and its error their scatter.

    Args:
        image: (y, x); anything where it is not free.
        free: True where a pixel is used and no object but the galaxy is in it, (y, x).
        galaxy: The galaxy's rings.
        pixel_scale: arcsec.
        rms: First guess of the sky's scatter.
    """
    radius, mean, chance = _rings(image, free, galaxy, pixel_scale, rms)
    lowest = mean[-3:].min()
    among_arcs = radius < ARCS_WITHIN
    share = np.where(among_arcs, PROFILE_ERROR_AMONG_ARCS, PROFILE_ERROR)
    error = np.hypot(chance, share * np.maximum(mean - lowest, 0))
    level, level_error, fitted = _profiles_and_sky(radius, mean, error)
    # Rings that are no ellipses of one shape bend a profile: what that does to the sky shows where
    # the fit goes without the outermost of them.
    inner = radius < WITHOUT_OUTERMOST * radius[-1]
    if inner.sum() >= FEWEST_RINGS:
        other, _, _ = _profiles_and_sky(radius[inner], mean[inner], error[inner])
        level_error = float(np.hypot(level_error, (other - level) / 2))
    blank = free & (galaxy.model - level < FAINT * rms)
    if blank.sum() < MIN_BLANK_FRACTION * free.sum():
        faintest = np.quantile(galaxy.model[free], MIN_BLANK_FRACTION)
        blank = free & (galaxy.model <= faintest)
    scatter = 1.4826 * np.median(np.abs(sky_noise(image, galaxy, blank)[blank]))
    return Sky(level, level_error, float(scatter), blank, radius, mean, error, fitted)


def sky_noise(image: np.ndarray, galaxy: SmoothGalaxy, blank: np.ndarray) -> np.ndarray:
    """Return the noise of blank pixels, (y, x), 0 elsewhere.

    The galaxy is taken off, and what is smooth of the rest over STRUCTURE pixels: shells, spiral
    arms, uneven sky.

    Args:
        image: (y, x).
        galaxy: The smooth galaxy.
        blank: True where nothing else is seen, (y, x).
    """
    left = np.where(blank, image - galaxy.model, 0)
    left = np.where(blank, left - np.median(left[blank]), 0)
    # A faint star in a corner must not dig a hole around itself.
    bound = 4 * 1.4826 * np.median(np.abs(left[blank]))
    weight = gaussian_filter(blank.astype("float64"), STRUCTURE)
    smooth = gaussian_filter(np.clip(left, -bound, bound), STRUCTURE) / np.maximum(weight, 1e-3)
    return np.where(blank, left - smooth, 0)


def _rings(image, free, galaxy, pixel_scale, rms):
    """Return radius, mean and the mean's error of rings, from the inside out."""
    radius = galaxy.radius * pixel_scale
    outermost = np.quantile(radius[free], 0.995)
    start = min(INNERMOST, outermost / 4)
    number = max(8, min(40, int((outermost - start) / (2 * pixel_scale))))
    edges = np.linspace(start, outermost, number + 1)
    ring = np.digitize(radius, edges) - 1
    rows, columns = np.indices(image.shape)
    angle = np.arctan2(rows - galaxy.centre[0], columns - galaxy.centre[1])
    sector = ((angle / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    of = free & (ring >= 0) & (ring < number)
    # What is not round in a ring is no error of its mean.
    level = np.bincount(ring[of], galaxy.model[of], number) / np.maximum(
        np.bincount(ring[of], minlength=number), 1
    )
    values = image[of] - galaxy.model[of] + level[ring[of]]
    place = ring[of] * SECTORS + sector[of]
    count = np.bincount(place, minlength=number * SECTORS).reshape(number, SECTORS)
    total = np.bincount(place, values, number * SECTORS).reshape(number, SECTORS)
    known = count >= 3
    sectors = known.sum(axis=1)
    means = np.where(known, total / np.maximum(count, 1), 0)
    rings = sectors >= 3
    weight = np.where(known, count, 0)[rings]
    means, sectors = means[rings], sectors[rings]
    mean = (weight * means).sum(axis=1) / weight.sum(axis=1)
    spread = np.where(weight > 0, (means - mean[:, None]) ** 2, 0).sum(axis=1) / (sectors - 1)
    middle = (edges[1:] + edges[:-1])[rings] / 2
    # Twelve sectors tell a scatter to a fifth: rings share what they say.
    scaled = np.sqrt(spread / sectors * weight.sum(axis=1))
    common = max(float(np.median(scaled)), rms)
    error = np.maximum(scaled, common) / np.sqrt(weight.sum(axis=1))
    return middle, mean, error


def _profiles_and_sky(radius, mean, error):
    """Return sky, error and fitted profile: mean over profiles by their likelihood."""
    inner = np.array([_sersic(radius, n, scale) for n in SERSIC_INDICES for scale in SCALES])
    outer = np.array([_sersic(radius, 1.0, scale) for scale in DISC_SCALES])
    none = np.zeros((1, len(radius)))
    inner, outer = np.concatenate([inner, none]), np.concatenate([outer, none])
    first, second = (each.ravel() for each in np.indices((len(inner), len(outer))))
    columns = np.stack([inner[first], outer[second], np.ones((len(first), len(radius)))], axis=1)
    scaled = columns / error
    normal = scaled @ scaled.transpose(0, 2, 1)
    # A column of zeros has the amplitude 0; two that are alike share theirs.
    place = np.arange(3)
    diagonal = normal[:, place, place]
    normal[:, place, place] = np.where(diagonal == 0, 1, diagonal * (1 + 1e-7))
    covariance = np.linalg.inv(normal)
    solution = (covariance @ (scaled @ (mean / error))[..., None])[..., 0]
    fitted = (solution[:, None] @ columns)[:, 0]
    good = (solution[:, :2] >= 0).all(axis=1)
    chi2 = np.where(good, (((mean - fitted) / error) ** 2).sum(axis=1), np.inf)
    # No profile may follow all of a galaxy: the error grows by what is left.
    stretch = max(chi2.min() / max(len(radius) - 5, 1), 1.0)
    likelihood = np.exp(-0.5 * (chi2 - chi2.min()) / stretch)
    likelihood /= likelihood.sum()
    sky = solution[:, 2]
    level = likelihood @ sky
    spread = likelihood @ ((sky - level) ** 2 + stretch * covariance[:, 2, 2])
    return float(level), float(np.sqrt(spread)), likelihood @ fitted


def _sersic(radius: np.ndarray, index: float, scale: float) -> np.ndarray:
    """Return a Sersic profile, 1 at the first radius (b_n of Ciotti & Bertin 1999)."""
    shape = 2 * index - 1 / 3 + 4 / (405 * index)
    return np.exp(-shape * ((radius / scale) ** (1 / index) - (radius[0] / scale) ** (1 / index)))
