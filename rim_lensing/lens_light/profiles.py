"""Kinds of light profiles: what is searched (shapes) and what is linear (columns)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc

from rim_lensing.lens_light.gaussian_columns import gaussian_columns
from rim_lensing.lens_light.patches import Patch
from rim_lensing.lens_light.sersic_columns import sersic_columns, sersic_shape

LARGEST_ELLIPTICITY = 0.6
"""(1 - q) / (1 + q) of a component: q = 0.25, an edge-on disc."""

CENTRE_RANGE = 0.25
"""arcsec by which the centre may move away from where it starts."""

WIDTH_RATIO = 1.45
"""Of neighbouring Gaussians of one set."""

BEYOND = 1.25
"""Of half the frame's side: the widest Gaussian. With 1 the sky took up the wings of a de
Vaucouleurs galaxy, 1.6% of its light in the frame; with this 0.9%. Wider ones give galaxies flux
beyond the frame, of which no pixel tells."""

_ELLIPTICITY_STEP = 2e-3


@dataclass(frozen=True)
class MultiGaussian:
    """Gaussians of log-spaced widths in two sets, each of one ellipticity (Cappellari 2002).

    Two ellipticities make isophotes that twist, or are boxy or discy; which widths belong to which
    set the data decide. The widths of one lie between those of the other, and all are scaled
    together: positive sums of Gaussians are too peaked between two widths (by 14% for a ratio of
    1.45, if the galaxy is a Gaussian itself).

    Args:
        widths: arcsec, of both sets, alternating, (2 n,).
        centre: (x, y) where the search starts, arcsec.
    """

    widths: np.ndarray
    centre: tuple[float, float]

    @classmethod
    def around(cls, centre, psf_sigma: float, frame: float) -> "MultiGaussian":
        """Return the set for a frame.

        Args:
            centre: (x, y), arcsec.
            psf_sigma: arcsec: what is much narrower looks like a point.
            frame: Half the frame's side, arcsec.
        """
        narrowest, widest = 0.3 * psf_sigma, BEYOND * frame
        count = max(6, 1 + int(np.ceil(np.log(widest / narrowest) / np.log(WIDTH_RATIO))))
        return cls(np.geomspace(narrowest, widest, 2 * count), centre)

    @property
    def start(self) -> np.ndarray:
        """Centre, ellipticities of the sets, logarithm of the scale: x, y, e1, e2, e1, e2, ln."""
        return np.array([*self.centre, 0.02, 0.0, -0.02, 0.0, 0.0])

    @property
    def steps(self) -> np.ndarray:
        """Of differences of each."""
        return np.array([self.widths[0] / 10] * 2 + [_ELLIPTICITY_STEP] * 4 + [5e-3])

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest of each."""
        reach = [CENTRE_RANGE] * 2 + [LARGEST_ELLIPTICITY / np.sqrt(2)] * 4
        reach = np.array([*reach, np.log(WIDTH_RATIO) / 2])
        middle = np.array([*self.centre, 0, 0, 0, 0, 0])
        return middle - reach, middle + reach

    def columns(self, vector: np.ndarray, patch: Patch, chosen=slice(None)) -> np.ndarray:
        """Return the profiles of flux 1 on a patch, (2 n, rows, columns), or those chosen."""
        widths, ellipticities = (part[chosen] for part in self._parts(vector))
        return gaussian_columns(patch, widths, ellipticities, vector[:2])

    def _parts(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return width and (e1, e2) of every column."""
        ellipticities = np.tile(vector[2:6].reshape(2, 2), (len(self.widths) // 2, 1))
        return self.widths * np.exp(vector[6]), ellipticities

    def ellipticities(self, vector: np.ndarray) -> np.ndarray:
        """Return (e1, e2) of every column, (2 n, 2)."""
        return self._parts(vector)[1]

    def indices(self, vector: np.ndarray) -> np.ndarray:
        """Return none: Gaussians have no index."""
        return np.array([])

    def scales(self, vector: np.ndarray) -> np.ndarray:
        """Return the width of every column in arcsec, (2 n,)."""
        return self._parts(vector)[0]

    def enclosed(self, vector: np.ndarray, radius: float) -> np.ndarray:
        """Return the share of each column's flux inside of an (elliptical) radius, (2 n,)."""
        return -np.expm1(-0.5 * (radius / self.scales(vector)) ** 2)


@dataclass(frozen=True)
class Sersic:
    """One or two Sersic profiles of one centre (Sersic 1963; Ciotti & Bertin 1999).

    Args:
        centre: (x, y) where the search starts, arcsec.
        psf_sigma: arcsec.
        frame: Half the frame's side, arcsec.
        count: How many.
    """

    centre: tuple[float, float]
    psf_sigma: float
    frame: float
    count: int = 1

    @property
    def start(self) -> np.ndarray:
        """Centre, then e1, e2, ln R_e, ln n of each."""
        radii = self.frame * (np.array([0.2]) if self.count == 1 else np.array([0.1, 0.4]))
        indices = [3.0] if self.count == 1 else [3.0, 1.0]
        parts = [
            (0.0, 0.0, np.log(radius), np.log(index))
            for radius, index in zip(radii, indices, strict=True)
        ]
        return np.concatenate([self.centre, *parts])

    @property
    def steps(self) -> np.ndarray:
        """Of differences of each."""
        return np.array(
            [self.psf_sigma / 30] * 2
            + [_ELLIPTICITY_STEP, _ELLIPTICITY_STEP, 5e-3, 5e-3] * self.count
        )

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest of each."""
        e = LARGEST_ELLIPTICITY / np.sqrt(2)
        low = [-e, -e, np.log(0.3 * self.psf_sigma), np.log(0.4)] * self.count
        high = [e, e, np.log(3 * self.frame), np.log(8.0)] * self.count
        centre = np.array(self.centre)
        return (
            np.concatenate([centre - CENTRE_RANGE, low]),
            np.concatenate([centre + CENTRE_RANGE, high]),
        )

    def columns(self, vector: np.ndarray, patch: Patch, chosen=slice(None)) -> np.ndarray:
        """Return the profiles of flux 1 on a patch, (count, rows, columns), or those chosen."""
        parts = vector[2:].reshape(self.count, 4)[chosen]
        return sersic_columns(patch, np.exp(parts[:, 2:]), parts[:, :2], vector[:2])

    def ellipticities(self, vector: np.ndarray) -> np.ndarray:
        """Return (e1, e2) of every column, (count, 2)."""
        return vector[2:].reshape(self.count, 4)[:, :2]

    def indices(self, vector: np.ndarray) -> np.ndarray:
        """Return n of every column, (count,)."""
        return np.exp(vector[2:].reshape(self.count, 4)[:, 3])

    def scales(self, vector: np.ndarray) -> np.ndarray:
        """Return R_e of every column in arcsec, (count,)."""
        return np.exp(vector[2:].reshape(self.count, 4)[:, 2])

    def enclosed(self, vector: np.ndarray, radius: float) -> np.ndarray:
        """Return the share of each column's flux inside of an (elliptical) radius, (count,)."""
        parts = np.exp(vector[2:].reshape(self.count, 4)[:, 2:])
        return np.array(
            [gammainc(2 * n, sersic_shape(n) * (radius / r) ** (1 / n)) for r, n in parts]
        )
