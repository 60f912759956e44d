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
    """The lenses that the priors allow: a box, cut to discs or rings in ellipticity and shear.

    Args:
        lower: Smallest value of each parameter, (7,) or (8,).
        upper: Largest value of each.
        ellipticity: Smallest and largest |e|.
        shear: Smallest and largest modulus of the external shear.
    """

    lower: np.ndarray
    upper: np.ndarray
    ellipticity: tuple[float, float]
    shear: tuple[float, float]

    @classmethod
    def from_priors(cls, priors: Priors, parameters: int) -> "LensSupport":
        """Return the ranges of the priors.

        Args:
            priors: Whose theta_E, axis_ratio, centre and shear are used.
            parameters: 7 (SIE + shear) or 8 (EPL + shear).

        Raises:
            ValueError: A range without a width: no sampler and no optimiser moves in it.
        """
        for name in ("theta_E", "axis_ratio", "centre", "shear"):
            low, high = getattr(priors, name)
            if not low < high:
                raise ValueError(
                    f"`priors.{name}` must be a range with a width: a parameter cannot be held. "
                    f"Received: {low:g} to {high:g}"
                )
        largest, smallest = ((1 - q) / (1 + q) for q in priors.axis_ratio)
        ranges = [
            priors.theta_E,
            *[(-largest, largest)] * 2,
            *[priors.centre] * 2,
            *[(-priors.shear[1], priors.shear[1])] * 2,
            SLOPE,
        ]
        lower, upper = np.array(ranges[:parameters], "float64").T
        return cls(lower, upper, (smallest, largest), tuple(priors.shear))

    @property
    def narrowest(self) -> np.ndarray:
        """The narrowest extent along each parameter, (7,) or (8,): of a ring, its breadth."""
        spans = self.upper - self.lower
        for _, first, (smallest, largest) in self._moduli():
            if smallest > 0:
                spans[first : first + 2] = largest - smallest
        return spans

    def contains(self, lenses: np.ndarray) -> np.ndarray:
        """Return which lenses (k, 7 or 8) are allowed, (k,)."""
        inside = np.all((lenses >= self.lower) & (lenses <= self.upper), axis=1)
        for _, first, (smallest, largest) in self._moduli():
            modulus = np.hypot(lenses[:, first], lenses[:, first + 1])
            inside &= (modulus >= smallest) & (modulus <= largest)
        return inside

    def nearest(self, lenses: np.ndarray) -> np.ndarray:
        """Return the allowed lenses next to some (k, 7 or 8): ellipticity and shear keep angle."""
        lenses = np.array(lenses, "float64")
        for _, first, (smallest, largest) in self._moduli():
            pair = lenses[:, first : first + 2]
            if smallest > 0:
                # What has no angle is moved along the first component.
                pair[:, 0] = np.where(np.hypot(*pair.T) > 0, pair[:, 0], np.finfo("float64").tiny)
            modulus = np.hypot(*pair.T)[:, None]
            # A hair inside, so that the rounding of the product is not outside.
            wanted = np.clip(modulus, smallest * (1 + 1e-12), largest * (1 - 1e-12))
            outside = (modulus < smallest) | (modulus > largest)
            factor = np.where(outside, wanted / np.where(modulus > 0, modulus, 1), 1)
            lenses[:, first : first + 2] = pair * factor
        return np.clip(lenses, self.lower, self.upper)

    def pull_back(self, lens: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of f(nearest(lens)), given that of f at the nearest, both (7 or 8,).

        Beyond a circle nearest leaves the angle alone: nothing changes along the radius, and across
        it the step shrinks with it.
        """
        gradient = np.array(gradient, "float64")
        for _, first, (smallest, largest) in self._moduli():
            pair = slice(first, first + 2)
            modulus = np.hypot(*lens[pair])
            if smallest <= modulus <= largest or modulus == 0:
                continue
            radial = lens[pair] / modulus
            across = gradient[pair] - (gradient[pair] @ radial) * radial
            gradient[pair] = across * np.clip(modulus, smallest, largest) / modulus
        return gradient

    def _moduli(self) -> tuple:
        """Return names, where they begin in a lens, and ranges of the moduli of the two planes."""
        return ("ellipticity", 1, self.ellipticity), ("shear", 5, self.shear)

    def edges(self, lens: np.ndarray) -> tuple[str, ...]:
        """Return the names of the parameters of a lens (7 or 8,) that lie on an edge."""
        names = (*PARAMETER_NAMES, "slope")[: len(lens)]
        width = _EDGE * (self.upper - self.lower)
        single = (lens <= self.lower + width) | (lens >= self.upper - width)
        single[[1, 2, 5, 6]] = False
        found = [name for name, hit in zip(names, single, strict=True) if hit]
        for name, first, (smallest, largest) in self._moduli():
            modulus = np.hypot(lens[first], lens[first + 1])
            # Round, and without shear, is where the plane has its middle, and no edge.
            at_smallest = smallest > 0 and modulus <= smallest * (1 + _EDGE)
            if at_smallest or modulus >= largest * (1 - _EDGE):
                found.append(name)
        return tuple(found)

    def pile_ups(self, lenses: np.ndarray) -> tuple[str, ...]:
        """Return the names of the parameters whose draws (k, 7 or 8) an edge cuts off.

        Those of which more than 2% lie within a tenth of their standard deviation of an edge: as
        many as of a Gaussian that is cut off 1.2 standard deviations from its middle.
        """
        names = [*PARAMETER_NAMES, "slope"][: lenses.shape[1]]
        measured = {
            name: (lenses[:, i], (self.lower[i], self.upper[i]))
            for i, name in enumerate(names)
            if i not in (1, 2, 5, 6)
        }
        for name, first, (smallest, largest) in self._moduli():
            modulus = np.hypot(lenses[:, first], lenses[:, first + 1])
            measured[name] = modulus, (smallest if smallest > 0 else -np.inf, largest)
        return tuple(
            name
            for name, (values, (low, high)) in measured.items()
            if np.mean(np.minimum(values - low, high - values) < 0.1 * values.std()) > 0.02
        )
