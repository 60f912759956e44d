"""Where the lens parameters may lie: the priors, as optimisers and samplers use them.

A search moves the free parameters, (f,); those that are held or follow another are found from them,
and all of them make the lens, (p,). Where no distribution is given the density is taken as flat in
the parameters themselves. That differs from `Priors.draw`, whose densities in (e1, e2) and (gamma1,
gamma2) grow without bound towards zero: no optimiser could use them, and they would pull every lens
to the round one.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from rim_lensing.lens_fit.lens_priors import Known, read_named
from rim_lensing.lensing.lens_parameters import MAX_ELLIPTICITY
from rim_lensing.lensing.mass_components import SIE, SLOPE, Shear
from rim_lensing.lensing.mass_model import SHORT_FORMS, Form, MassModel, first_columns
from rim_lensing.simulation.priors import Priors

__all__ = ["SLOPE", "Disc", "LensSupport"]

_EDGE_FRACTION = 1e-3
_STEP_FRACTION = 1e-5
"""Of a range: step of the derivative of a distribution's logarithm."""


@dataclass(frozen=True)
class Disc:
    """Two free parameters whose modulus lies in a range: an ellipticity or a shear.

    Args:
        name: Of the modulus.
        first: Which free parameter is the first of the two; the second is the next.
        smallest: Of the modulus; 0, a disc, or more, a ring.
        largest: Of the modulus.
    """

    name: str
    first: int
    smallest: float
    largest: float


@dataclass(frozen=True)
class LensSupport:
    """The lenses that the priors allow: a box, cut to discs or rings in ellipticity and shear.

    Args:
        names: Of the free parameters, (f,).
        lower: Smallest value of each, (f,).
        upper: Largest value of each.
        discs: Pairs of free parameters within a disc or ring.
        columns: Of each free parameter among all, (f,).
        template: All parameters, (p,); of the free ones and those that follow them anything.
        sources: Which free parameter each of all is equal to, (p,); -1 where it is held.
        distributions: Frozen distributions of scipy.stats, by the number of the free parameter.
    """

    names: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    discs: tuple[Disc, ...]
    columns: np.ndarray
    template: np.ndarray
    sources: np.ndarray
    distributions: tuple[tuple[int, Any], ...] = ()

    @classmethod
    def from_priors(
        cls, priors: Priors, form: Form | int, named: Mapping[str, Any] | None = None
    ) -> "LensSupport":
        """Return where a lens may lie.

        Args:
            priors: Whose theta_E, axis_ratio, centre and shear are used where nothing is named.
            form: Of the lens; or 7 (SIE + shear) or 8 (EPL + shear), of the short forms.
            named: Priors by parameter name, see `LensPriors`.

        Raises:
            ValueError: A range without a width, nothing that is free, an ellipticity that no mass
                profile allows, or see `read_named`.
        """
        form = SHORT_FORMS[form] if isinstance(form, int) else form
        known = read_named(named or {}, form)
        if not form.parameters:
            raise ValueError(
                "`start` must be a lens with parameters: deflections that are given can be "
                f"reconstructed, and not searched. Received: {form}"
            )
        bounds = _default_bounds(form, priors, known)
        pairs = _pairs(form, known)
        for column, what in known.items():
            if what.bounds:
                bounds[column] = what.bounds
        _bound_ellipticities(form, known, bounds)
        free = [
            column
            for column in range(len(form.names))
            if known.get(column, Known()).held is None and known.get(column, Known()).link is None
        ]
        if not free:
            raise ValueError(
                "`priors` must leave at least one parameter free. Received: all are held"
            )
        template = np.array([parameter.default for parameter in form.parameters], "float64")
        sources = np.empty(len(form.names), int)
        for column in range(len(form.names)):
            end = column
            while known.get(end, Known()).link is not None:
                end = known[end].link
            sources[column] = free.index(end) if end in free else -1
            if sources[column] < 0:
                template[column] = known[end].held
        lower, upper = np.array([bounds[column] for column in free], "float64").T
        return cls(
            names=tuple(form.labels[column] for column in free),
            lower=lower,
            upper=upper,
            discs=tuple(
                Disc(name, free.index(column), *_moduli(name, priors))
                for name, column in pairs.items()
            ),
            columns=np.array(free),
            template=template,
            sources=sources,
            distributions=tuple(
                (free.index(column), what.distribution)
                for column, what in known.items()
                if what.distribution is not None
            ),
        )

    def expand(self, points: np.ndarray) -> np.ndarray:
        """Return the lenses (k, p) of free parameters (k, f)."""
        points, follows = np.asarray(points, "float64"), self.sources >= 0
        lenses = np.repeat(self.template[None], len(points), axis=0)
        lenses[:, follows] = points[:, self.sources[follows]]
        return lenses

    def select(self, lenses: np.ndarray) -> np.ndarray:
        """Return the free parameters (k, f) of lenses (k, p)."""
        return np.asarray(lenses, "float64")[:, self.columns]

    def reduce(self, gradients: np.ndarray) -> np.ndarray:
        """Return gradients (k, f) in the free parameters, given those in all, (k, p)."""
        reduced = np.zeros((len(gradients), len(self.columns)))
        for column, source in enumerate(self.sources):
            if source >= 0:
                reduced[:, source] += gradients[:, column]
        return reduced

    def log_prior(self, points: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density of free parameters (k, f), up to a constant, (k,)."""
        total = np.zeros(len(points))
        for i, distribution in self.distributions:
            total = total + distribution.logpdf(points[:, i])
        return total

    def log_prior_gradient(self, points: np.ndarray) -> np.ndarray:
        """Return the gradient of `log_prior`, (k, f), by differences within the range."""
        slopes = np.zeros(np.shape(points))
        for i, distribution in self.distributions:
            step = _STEP_FRACTION * (self.upper[i] - self.lower[i])
            high = np.minimum(points[:, i] + step, self.upper[i])
            low = np.maximum(points[:, i] - step, self.lower[i])
            change = distribution.logpdf(high) - distribution.logpdf(low)
            slopes[:, i] = change / (high - low)
        return slopes

    @property
    def narrowest(self) -> np.ndarray:
        """The narrowest extent along each free parameter, (f,): of a ring, its breadth."""
        spans = self.upper - self.lower
        for disc in self.discs:
            if disc.smallest > 0:
                spans[disc.first : disc.first + 2] = disc.largest - disc.smallest
        return spans

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which free parameters (k, f) are allowed, (k,)."""
        inside = np.all((points >= self.lower) & (points <= self.upper), axis=1)
        for disc in self.discs:
            modulus = np.hypot(points[:, disc.first], points[:, disc.first + 1])
            inside &= (modulus >= disc.smallest) & (modulus <= disc.largest)
        return inside

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return what is allowed next to free parameters (k, f): ellipticity, shear keep angle."""
        points = np.array(points, "float64")
        for disc in self.discs:
            pair = points[:, disc.first : disc.first + 2]
            if disc.smallest > 0:
                # What has no angle is moved along the first component.
                pair[:, 0] = np.where(np.hypot(*pair.T) > 0, pair[:, 0], np.finfo("float64").tiny)
            modulus = np.hypot(*pair.T)[:, None]
            # A hair inside, so that the rounding of the product is not outside.
            wanted = np.clip(modulus, disc.smallest * (1 + 1e-12), disc.largest * (1 - 1e-12))
            outside = (modulus < disc.smallest) | (modulus > disc.largest)
            factor = np.where(outside, wanted / np.where(modulus > 0, modulus, 1), 1)
            points[:, disc.first : disc.first + 2] = pair * factor
        return np.clip(points, self.lower, self.upper)

    def pull_back(self, point: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of f(nearest(point)), given that of f at the nearest, both (f,).

        Beyond a circle nearest leaves the angle alone: nothing changes along the radius, and across
        it the step shrinks with it.
        """
        gradient = np.array(gradient, "float64")
        for disc in self.discs:
            pair = slice(disc.first, disc.first + 2)
            modulus = np.hypot(*point[pair])
            if disc.smallest <= modulus <= disc.largest or modulus == 0:
                continue
            radial = point[pair] / modulus
            across = gradient[pair] - (gradient[pair] @ radial) * radial
            gradient[pair] = across * np.clip(modulus, disc.smallest, disc.largest) / modulus
        return gradient

    def edges(self, point: np.ndarray) -> tuple[str, ...]:
        """Return the names of the free parameters (f,) that lie on an edge."""
        width = _EDGE_FRACTION * (self.upper - self.lower)
        single = (point <= self.lower + width) | (point >= self.upper - width)
        single[self._paired] = False
        found = [name for name, hit in zip(self.names, single, strict=True) if hit]
        for disc in self.discs:
            modulus = np.hypot(point[disc.first], point[disc.first + 1])
            # Round, and without shear, is where the plane has its middle, and no edge.
            at_smallest = disc.smallest > 0 and modulus <= disc.smallest * (1 + _EDGE_FRACTION)
            if at_smallest or modulus >= disc.largest * (1 - _EDGE_FRACTION):
                found.append(disc.name)
        return tuple(found)

    def pile_ups(self, points: np.ndarray) -> tuple[str, ...]:
        """Return the names of the free parameters whose draws (k, f) an edge cuts off.

        Those of which more than 2% lie within a tenth of their standard deviation of an edge: as
        many as of a Gaussian that is cut off 1.2 standard deviations from its middle.
        """
        measured = {
            name: (points[:, i], (self.lower[i], self.upper[i]))
            for i, name in enumerate(self.names)
            if i not in self._paired
        }
        for disc in self.discs:
            modulus = np.hypot(points[:, disc.first], points[:, disc.first + 1])
            low = disc.smallest if disc.smallest > 0 else -np.inf
            measured[disc.name] = modulus, (low, disc.largest)
        return tuple(
            name
            for name, (values, (low, high)) in measured.items()
            if np.mean(np.minimum(values - low, high - values) < 0.1 * values.std()) > 0.02
        )

    @property
    def _paired(self) -> list[int]:
        """Free parameters that lie in a disc."""
        return [disc.first + i for disc in self.discs for i in (0, 1)]

    def to_dict(self) -> dict:
        """Return the support as JSON can hold it, the distributions in words."""
        return {
            "names": list(self.names),
            "lower": self.lower.tolist(),
            "upper": self.upper.tolist(),
            "discs": [astuple(disc) for disc in self.discs],
            "columns": self.columns.tolist(),
            "template": self.template.tolist(),
            "sources": self.sources.tolist(),
            "distributions": [[i, _in_words(each)] for i, each in self.distributions],
        }

    @classmethod
    def from_dict(cls, described: Mapping) -> "LensSupport":
        """Return what `to_dict` described, without its distributions: its edges and names."""
        arrays = ("lower", "upper", "columns", "template", "sources")
        return cls(
            names=tuple(described["names"]),
            discs=tuple(Disc(*disc) for disc in described["discs"]),
            **{name: np.array(described[name]) for name in arrays},
        )


def _default_bounds(form: MassModel, priors: Priors, known: dict[int, Known]) -> list:
    """Return the range of every parameter if nothing is named, (p,) pairs."""
    bounds = [parameter.search for parameter in form.parameters]
    flattest = (1 - priors.axis_ratio[0]) / (1 + priors.axis_ratio[0])
    for name, component in form.components.items():
        for column in form.columns[name]:
            parameter = form.parameters[column].name
            if parameter in ("e1", "e2"):
                bounds[column] = (-flattest, flattest)
            elif isinstance(component, Shear):
                bounds[column] = (-priors.shear[1], priors.shear[1])
    ellipsoid, shear = first_columns(form, SIE), first_columns(form, Shear)
    used = {"axis_ratio": ellipsoid[1:3], "shear": shear}
    if ellipsoid:
        used |= {"theta_E": ellipsoid[:1], "centre": ellipsoid[3:5]}
        bounds[ellipsoid[0]] = priors.theta_E
        bounds[ellipsoid[3]] = bounds[ellipsoid[4]] = priors.centre
    for name, columns in used.items():
        low, high = getattr(priors, name)
        if not low < high and not set(columns) <= set(known):
            named = ", ".join(repr(form.names[column]) for column in columns)
            raise ValueError(
                f"`priors.{name}` must be a range with a width: a parameter is held by its name, "
                f"priors={{NAME: value}} with the names {named}. Received: {low:g} to {high:g}"
            )
    return bounds


def _pairs(form: MassModel, known: dict[int, Known]) -> dict[str, int]:
    """Return the pairs that lie in a disc, by the name of the modulus: their first columns."""
    words, found = {"e1": "ellipticity", "gamma1": "shear"}, {}
    for name, component in form.components.items():
        columns = dict(
            zip((each.name for each in component.parameters()), form.columns[name], strict=True)
        )
        for first, second in component.pairs:
            if first in words and not {columns[first], columns[second]} & set(known):
                prefix = "" if form in SHORT_FORMS.values() else f"{name}."
                found[prefix + words[first]] = columns[first]
    return found


def _moduli(name: str, priors: Priors) -> tuple[float, float]:
    """Return the smallest and the largest modulus of a pair."""
    if name.endswith("shear"):
        return priors.shear
    largest, smallest = ((1 - q) / (1 + q) for q in priors.axis_ratio)
    return smallest, largest


def _bound_ellipticities(form: MassModel, known: dict[int, Known], bounds: list) -> None:
    """Cut ranges of which a corner is no ellipticity, where a component is named and one is not."""
    for name, component in form.components.items():
        if not isinstance(component, SIE):
            continue
        pair = form.columns[name][1:3]
        ends = [_ends(column, known, bounds) for column in pair]
        furthest = [max(map(abs, end)) for end in ends]
        if not set(pair) & set(known) or np.hypot(*furthest) <= MAX_ELLIPTICITY:
            continue
        for column, other in zip(pair, furthest[::-1], strict=True):
            if column not in known and other < MAX_ELLIPTICITY:
                most = np.sqrt(MAX_ELLIPTICITY**2 - other**2)
                bounds[column] = (-most, most)
                break
        else:
            raise ValueError(
                f"`priors` of {name}.e1 and {name}.e2 must allow no ellipticity above "
                f"{MAX_ELLIPTICITY}. Received: up to ({furthest[0]:g}, {furthest[1]:g})"
            )


def _ends(column: int, known: dict[int, Known], bounds: list) -> tuple[float, float]:
    """Return the range of a parameter that may be held, or follow another."""
    what = known.get(column, Known())
    if what.link is not None:
        return _ends(what.link, known, bounds)
    return bounds[column] if what.held is None else (what.held, what.held)


def _in_words(distribution) -> str:
    """Return the name and the numbers of a frozen distribution."""
    kind = getattr(getattr(distribution, "dist", None), "name", type(distribution).__name__)
    numbers = [f"{value}" for value in getattr(distribution, "args", ())]
    more = [f"{key}={value}" for key, value in getattr(distribution, "kwds", {}).items()]
    return f"{kind}({', '.join(numbers + more)})"
