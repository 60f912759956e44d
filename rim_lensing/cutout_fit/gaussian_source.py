"""A source of concentric Gaussians behind an isothermal lens: what of it is seen, in numpy.

Few parameters and no grid: the start of a search, where nothing is known about the source.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from rim_lensing.lens_light.patches import Patch

NAMES = ("theta_E", "e1", "e2", "x", "y", "gamma1", "gamma2", "sx", "sy", "se1", "se2")
"""Of a vector: the lens, as in `lens_parameters`; centre and ellipticity of the source."""

COMPACT, EXTENDED = 0.12, 0.4
"""arcsec: sigma of the widest Gaussian. Of what decides about the lens: it is narrower than the
smooth residuals of a galaxy's light, which else are a glow of the source; and of one with wings."""

NARROWEST = 0.017
"""arcsec: sigma of the narrowest Gaussian, or more."""

_SOFTENING = 1e-4
_ROUND = 1e-3


def sie_and_shear(lens, x, y):
    """Return the deflection (alpha_x, alpha_y) of an SIE in shear (Kormann et al. 1994), arcsec.

    Args:
        lens: theta_E, e1, e2, x, y, gamma1, gamma2, see `lens_parameters`.
        x: Positions, arcsec.
        y: Likewise.
    """
    theta_E, e1, e2, centre_x, centre_y, gamma1, gamma2 = (float(value) for value in lens)
    modulus, phi = np.hypot(e1, e2), 0.5 * np.arctan2(e2, e1)
    # The formula is singular at q = 1, where it hardly depends on q.
    q = (1 - max(modulus, _ROUND)) / (1 + max(modulus, _ROUND))
    cosine, sine = float(np.cos(phi)), float(np.sin(phi))
    dx, dy = x - centre_x, y - centre_y
    along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
    root = float(np.sqrt(1 - q**2))
    psi = np.sqrt(q**2 * along**2 + across**2 + _SOFTENING**2)
    strength = theta_E * float(np.sqrt(q)) / root
    alpha_along = strength * np.arctan(root * along / psi)
    alpha_across = strength * np.arctanh(root * across / (psi + q * _SOFTENING))
    return (
        cosine * alpha_along - sine * alpha_across + gamma1 * x + gamma2 * y,
        sine * alpha_along + cosine * alpha_across + gamma2 * x - gamma1 * y,
    )


@dataclass(frozen=True, eq=False)
class LensedGaussians:
    """The columns of a source on a patch.

    Args:
        patch: Where it is seen.
        supersampling: Rays per pixel and axis.
        widest: arcsec: sigma of the widest Gaussian. The others are narrower by the root of 2 each:
            the square of one is the next one.
    """

    patch: Patch
    supersampling: int = 2
    widest: float = COMPACT

    def __post_init__(self):
        """Lay out the rays once."""
        n = self.supersampling
        offsets = ((np.arange(n) + 0.5) / n - 0.5) * self.patch.pixel_scale
        x, y = ((axis[:, None] + offsets).ravel().astype("float32") for axis in self.patch.padded)
        object.__setattr__(self, "_rays", np.meshgrid(x, y))

    @property
    def widths(self) -> np.ndarray:
        """Sigma of the Gaussians in arcsec, (n,)."""
        count = 1 + int(2 * np.log2(self.widest / NARROWEST))
        return self.widest / np.sqrt(2.0) ** np.arange(count)

    def columns(self, vector: np.ndarray) -> np.ndarray:
        """Return the Gaussians of peak 1, lensed and blurred, (n, rows, columns).

        Args:
            vector: In the order of NAMES.
        """
        x, y = self._rays
        alpha_x, alpha_y = sie_and_shear(vector[:7], x, y)
        sx, sy, e1, e2 = (float(value) for value in vector[7:])
        dx, dy = x - alpha_x - sx, y - alpha_y - sy
        squared = e1**2 + e2**2
        elliptical = (
            (1 + squared - 2 * e1) * dx**2 + (1 + squared + 2 * e1) * dy**2 - 4 * e2 * dx * dy
        )
        elliptical *= -0.5 / self.widest**2 / (1 - squared)
        # Below, float32 has no numbers, and computes slowly.
        gaussian = np.exp(np.maximum(elliptical, -40))
        n = self.supersampling
        rows, columns = (length // n for length in gaussian.shape)
        images = np.empty((len(self.widths), rows, columns), "float32")
        for image in images:
            image[:] = gaussian.reshape(rows, n, columns, n).mean(axis=(1, 3))
            gaussian *= gaussian
            gaussian[gaussian < 1e-18] = 0
        return self.patch.blurred(images).astype("float64")


@dataclass(frozen=True)
class SourceShape:
    """A source of concentric Gaussians, unlensed; lengths in arcsec.

    Args:
        centre: (x, y).
        e1: Ellipticity, as that of a lens.
        e2: Likewise.
        half_light_radius: Geometric mean of the axes.
        flux: In the image's unit.
    """

    centre: tuple[float, float]
    e1: float
    e2: float
    half_light_radius: float
    flux: float

    @classmethod
    def of(
        cls, vector: np.ndarray, widths: np.ndarray, peaks: np.ndarray, pixel_scale: float
    ) -> "SourceShape":
        """Return the source of a vector, with peaks per pixel of its Gaussians, (n,)."""
        fluxes = peaks * 2 * np.pi * (widths / pixel_scale) ** 2
        radius = 0.0
        if fluxes.sum() > 0:
            radius = brentq(
                lambda r: fluxes @ -np.expm1(-0.5 * (r / widths) ** 2) - fluxes.sum() / 2,
                0.0,
                10 * widths[0],
            )
        sx, sy, e1, e2 = (float(value) for value in vector[7:])
        return cls((sx, sy), e1, e2, float(radius), float(fluxes.sum()))


def number_of_images(vector: np.ndarray, source: SourceShape, radius: float) -> float:
    """Return how many images a source has, averaged over a disc of its half-light radius.

    Tiles of the image plane cover the source plane once for every image.

    Args:
        vector: In the order of NAMES.
        source: Its source.
        radius: Images are looked for so far from the lens along an axis, arcsec.
    """
    reach = max(source.half_light_radius, 0.02)
    axis = np.linspace(-radius, radius, 1 + int(4 * radius / reach))
    x, y = np.meshgrid(axis + vector[3], axis + vector[4])
    alpha_x, alpha_y = sie_and_shear(vector[:7], x, y)
    x, y = x - alpha_x - source.centre[0], y - alpha_y - source.centre[1]
    # Twice the area of a quadrangle is the cross product of its diagonals.
    (first_x, second_x), (first_y, second_y) = (
        (z[1:, 1:] - z[:-1, :-1], z[1:, :-1] - z[:-1, 1:]) for z in (x, y)
    )
    tiles = 0.5 * np.abs(first_x * second_y - second_x * first_y)
    middle = [(z[1:, 1:] + z[:-1, :-1] + z[1:, :-1] + z[:-1, 1:]) / 4 for z in (x, y)]
    return float(tiles[np.hypot(*middle) < reach].sum() / (np.pi * reach**2))
