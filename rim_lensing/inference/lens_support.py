"""Where the lens parameters may lie: the ranges of the priors, as optimisers and samplers use them.

Within the ranges the density is taken as flat in the parameters themselves. That differs from
`Priors.draw`, whose densities in (e1, e2) and (gamma1, gamma2) grow without bound towards zero: no
optimiser could use them, and they would pull every lens to the round one.
"""

from dataclasses import dataclass

import numpy as np

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.simulation.priors import Priors

SLOPE = (0.5, 1.5)
"""Range of the EPL's slope, on which `Priors` is silent: its systems are isothermal."""

_EDGE = 1e-3


@dataclass(frozen=True)
class LensSupport:
    """The lenses that the priors allow: a box, cut to discs in ellipticity and shear.

    Args:
        lower: Smallest value of each parameter, (7,) or (8,).
        upper: Largest value of each.
        max_ellipticity: Largest |e|.
        max_shear: Largest modulus of the external shear.
    """

    lower: np.ndarray
    upper: np.ndarray
    max_ellipticity: float
    max_shear: float

    @classmethod
    def from_priors(cls, priors: Priors, parameters: int) -> "LensSupport":
        """Return the ranges of the priors.

        Args:
            priors: Whose theta_E, axis_ratio, centre and shear are used.
            parameters: 7 (SIE + shear) or 8 (EPL + shear).
        """
        smallest_q = priors.axis_ratio[0]
        ellipticity, shear = (1 - smallest_q) / (1 + smallest_q), priors.shear[1]
        ranges = [
            priors.theta_E,
            *[(-ellipticity, ellipticity)] * 2,
            *[priors.centre] * 2,
            *[(-shear, shear)] * 2,
            SLOPE,
        ]
        lower, upper = np.array(ranges[:parameters], "float64").T
        return cls(lower, upper, ellipticity, shear)

    def contains(self, lenses: np.ndarray) -> np.ndarray:
        """Return which lenses (k, 7 or 8) are allowed, (k,)."""
        return (
            np.all((lenses >= self.lower) & (lenses <= self.upper), axis=1)
            & (np.hypot(lenses[:, 1], lenses[:, 2]) <= self.max_ellipticity)
            & (np.hypot(lenses[:, 5], lenses[:, 6]) <= self.max_shear)
        )

    def nearest(self, lenses: np.ndarray) -> np.ndarray:
        """Return the allowed lenses next to some (k, 7 or 8): ellipticity and shear keep angle."""
        lenses = np.array(lenses, "float64")
        for first, largest in ((1, self.max_ellipticity), (5, self.max_shear)):
            pair = lenses[:, first : first + 2]
            modulus = np.hypot(*pair.T)[:, None]
            # A hair inside, so that the rounding of the product is not outside.
            factor = largest / np.where(modulus > 0, modulus, 1) * (1 - 1e-12)
            lenses[:, first : first + 2] = np.where(modulus > largest, pair * factor, pair)
        return np.clip(lenses, self.lower, self.upper)

    def edges(self, lens: np.ndarray) -> tuple[str, ...]:
        """Return the names of the parameters of a lens (7 or 8,) that lie on an edge."""
        names = (*PARAMETER_NAMES, "slope")[: len(lens)]
        width = _EDGE * (self.upper - self.lower)
        single = (lens <= self.lower + width) | (lens >= self.upper - width)
        single[[1, 2, 5, 6]] = False
        found = [name for name, hit in zip(names, single, strict=True) if hit]
        if np.hypot(lens[1], lens[2]) >= self.max_ellipticity * (1 - _EDGE):
            found.append("ellipticity")
        if np.hypot(lens[5], lens[6]) >= self.max_shear * (1 - _EDGE):
            found.append("shear")
        return tuple(found)
