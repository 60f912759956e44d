"""What is known of a lens beforehand, parameter by parameter. No Keras: errors come fast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from rim_lensing.lensing.mass_components import Parameter
from rim_lensing.lensing.mass_model import Form
from rim_lensing.simulation.priors import Priors

TAIL_PROBABILITY = 1e-9
"""Probability beyond each end of the range in which a distribution is searched and sampled: six
standard deviations of a Gaussian."""


@dataclass(frozen=True)
class LensPriors:
    """Priors of the lens by the names of its parameters.

    Args:
        named: By name, such as "lens.x" (or "theta_E", where one component alone has it), one of
            a range (low, high): flat within;
            a frozen distribution of scipy.stats, such as scipy.stats.norm(0, 0.02);
            a number: held there;
            another parameter's name: always equal to it, such as the centres of a multipole and its
            ellipsoid. Naming e1, e2, gamma1 or gamma2 replaces the disc in which their pair lies.
        ranges: For what is not named, and for the smallest magnification; by default those that the
            source model was trained on, or `Priors()`. They are of the first ellipsoid and the
            shear; other components have the ranges of their class (`Parameter.search`).

    Example:
        >>> priors = {"lens.slope": 1, "boxy.x": "lens.x", "lens.x": scipy.stats.norm(0, 0.02)}
        >>> fit = rl.optimise_lens(image, noise=0.01, psf=0.07, source_model=rim, start=scene,
        ...                        priors=priors)
    """

    named: Mapping[str, Any] = field(default_factory=dict)
    ranges: Priors | None = None


def as_lens_priors(priors: "LensPriors | Priors | Mapping | None", default: Priors) -> LensPriors:
    """Return what a user gave as LensPriors that have ranges.

    Raises:
        ValueError: It is something else.
    """
    if priors is None or isinstance(priors, Priors):
        return LensPriors(ranges=priors or default)
    if isinstance(priors, LensPriors):
        return LensPriors(dict(priors.named), priors.ranges or default)
    if isinstance(priors, Mapping):
        return LensPriors(dict(priors), default)
    raise ValueError(
        "`priors` must be Priors, LensPriors, or a dictionary from the names of parameters to "
        f"ranges, distributions, numbers or other names. Received: {priors!r}"
    )


def moved(named: Mapping[str, Any], form: Form, offset: tuple[float, float]) -> dict[str, Any]:
    """Return priors, by name, for positions from a point that lies elsewhere.

    Args:
        named: As of `LensPriors`.
        form: Of the lens: which of its parameters are positions.
        offset: (x, y) of the old origin from the new one, in arcsec.

    Raises:
        ValueError: There is no such parameter.
    """
    by_axis = dict(zip("xy", offset, strict=True))
    shifts = {name: by_axis.get(form.parameters[form.index(name)].name, 0.0) for name in named}
    return {name: _moved(said, shifts[name]) for name, said in named.items()}


def _moved(said, shift: float):
    """Return one prior, moved."""
    if shift == 0 or isinstance(said, str):
        return said
    if callable(getattr(said, "logpdf", None)):
        return _MovedDistribution(said, shift)
    return said + shift if isinstance(said, Real) else tuple(end + shift for end in said)


@dataclass(frozen=True)
class _MovedDistribution:
    """A distribution of scipy.stats of what is larger by a shift."""

    distribution: Any
    shift: float

    def logpdf(self, x):
        return self.distribution.logpdf(x - self.shift)

    def ppf(self, q):
        return self.distribution.ppf(q) + self.shift

    def mean(self):
        return self.distribution.mean() + self.shift

    def var(self):
        return self.distribution.var()

    def std(self):
        return self.distribution.std()


@dataclass(frozen=True)
class Known:
    """What is known of one parameter: of these, one.

    Args:
        held: The value.
        link: Column of the parameter that it follows.
        bounds: The range; of a distribution, where its probability is.
        distribution: Frozen, of scipy.stats; beside `bounds`.
    """

    held: float | None = None
    link: int | None = None
    bounds: tuple[float, float] | None = None
    distribution: Any = None


def read_named(named: Mapping[str, Any], form: Form) -> dict[int, Known]:
    """Return what is known of the named parameters, by their columns.

    Args:
        named: As of `LensPriors`.
        form: Of the lens.

    Raises:
        ValueError: A parameter that does not exist, or is named twice; a range or distribution that
            is none, or outside of what the formula allows; a link to a parameter that does not
            exist, or of another unit, or in a circle.
    """
    found: dict[int, Known] = {}
    for name, value in named.items():
        column = form.index(name)
        if column in found:
            raise ValueError(f"`priors` must name each parameter once. Received: {list(named)}")
        found[column] = _read(name, value, form.parameters[column], form)
    for column in found:
        _check_circle(column, found, form)
    return found


def _read(name: str, value, parameter: Parameter, form: Form) -> Known:
    """Return what a user says of one parameter."""
    if isinstance(value, str):
        link = form.index(value)
        unit = form.parameters[link].unit
        if unit != parameter.unit:
            raise ValueError(
                f"`priors[{name!r}]` must follow a parameter of its own unit "
                f"({parameter.unit or 'none'}). Received: {value!r} ({unit or 'none'})"
            )
        return Known(link=link)
    if isinstance(value, Real):
        _check_limits(name, (float(value),) * 2, parameter)
        return Known(held=float(value))
    low_limit, high_limit = parameter.limits
    if callable(getattr(value, "logpdf", None)) and callable(getattr(value, "ppf", None)):
        low, high = (float(value.ppf(tail)) for tail in (TAIL_PROBABILITY, 1 - TAIL_PROBABILITY))
        bounds = max(low, low_limit), min(high, high_limit)
        _check_range(name, bounds)
        return Known(bounds=bounds, distribution=value)
    if np.shape(value) == (2,):
        bounds = float(value[0]), float(value[1])
        _check_range(name, bounds)
        _check_limits(name, bounds, parameter)
        return Known(bounds=bounds)
    raise ValueError(
        f"`priors[{name!r}]` must be a range (low, high), a frozen distribution of scipy.stats, a "
        f"number that holds it, or another parameter's name. Received: {value!r}"
    )


def _check_range(name: str, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not -np.inf < low < high < np.inf:
        raise ValueError(
            f"`priors[{name!r}]` must be a range (low, high) with a width, and finite; a number "
            f"holds the parameter. Received: {low:g} to {high:g}"
        )


def _check_limits(name: str, bounds: tuple[float, float], parameter: Parameter) -> None:
    low, high = parameter.limits
    if bounds[0] < low or bounds[1] > high:
        raise ValueError(
            f"`priors[{name!r}]` must lie within {low:g} to {high:g}, where the mass profile is "
            f"defined. Received: {bounds[0]:g} to {bounds[1]:g}"
        )


def _check_circle(column: int, found: dict[int, Known], form: Form) -> None:
    """Refuse links that lead back to where they began."""
    path = [column]
    while (link := found.get(path[-1], Known()).link) is not None:
        if link in path:
            names = " -> ".join(form.names[each] for each in [*path, link])
            raise ValueError(f"`priors` must not link parameters in a circle. Received: {names}")
        path.append(link)
