"""Where to start a search of the lens in visibilities, by no network: a matched filter.

A source that is one circular Gaussian is lensed by each of many lenses that are drawn from the
priors. What it explains of the visibilities, at the amplitude that explains most, is

    chi^2(nothing) - chi^2 = (x'd)^2 / x'W x,

the square of its significance in sigma, with d and W of `dirty_image`. A deconvolved image, in
which arcs could be looked for, is not needed, and a source too faint to be seen in one is found by
all of its images together. The best candidates climb to the nearest maximum.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops
from scipy.optimize import minimize

from rim_lensing.backend import compiled, tensor, value_and_gradient
from rim_lensing.forward_model.visibility_model import DirtyBeam
from rim_lensing.lens_fit.lockstep import in_lockstep
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import MAX_ELLIPTICITY
from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.observation.visibilities import VisibilityObservation
from rim_lensing.simulation.priors import Priors

CANDIDATES, CLIMBING = 2048, 16
"""Drawn; and, of the best, that climb."""

SOURCE_WIDTHS = 0.04, 0.5
"""Standard deviations of the Gaussian, in arcsec."""

DIFFERENT = 0.05
"""Starts with theta_E, ellipticities and shears nearer than this to a better one are left out."""

LEAST_SEEN = 1e-3
"""Of a source's x'x, in x'b x: less is taken for that."""

_BATCH, _MOST_STEPS = 64, 120


@dataclass(frozen=True)
class VisibilityStarts:
    """Lenses to start from, the best first.

    Args:
        lenses: (k, 7), of an SIE in shear.
        sources: x, y and width of the Gaussian behind each, in arcsec, (k, 3).
        significance: Of its flux, in sigma, (k,).
    """

    lenses: np.ndarray
    sources: np.ndarray
    significance: np.ndarray

    def __len__(self) -> int:
        """Number of starts."""
        return len(self.lenses)


def visibility_starts(
    seen: VisibilityObservation,
    grid: PixelGrid,
    priors: Priors | None = None,
    count: int = 3,
    seed: int = 0,
) -> VisibilityStarts:
    """Return lenses that are worth a search.

    Args:
        seen: The visibilities.
        grid: The pixels of the sky: what holds the arcs.
        priors: What candidates are drawn from, and the search is bound by; by default `Priors()`.
        count: At most so many starts.
        seed: Of the candidates.
    """
    priors = priors or Priors()
    dirty = seen.on_grid(grid)
    dirty = dirty.scaled(float(np.abs(dirty.per_pixel(dirty.projection)).max()))
    filter_ = _MatchedFilter(dirty, grid)
    generator = np.random.default_rng(seed)
    candidates = _candidates(priors, generator)
    gains = filter_.gains(candidates)
    best = candidates[np.argsort(-gains)[:CLIMBING]]
    lower, upper = _bounds(priors)
    unit = np.array([0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03, 0.05, 0.05, 0.3])

    def climb(start, ask):
        found = minimize(
            lambda point: ask(point * unit),
            np.clip(start, lower, upper) / unit,
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([lower, upper], axis=1) / unit[:, None],
            options={"maxfun": _MOST_STEPS},
        )
        return found.x * unit, -found.fun

    def answer(points):
        values, slopes = filter_.gains_and_slopes(np.array(points))
        return [(-value, -slope * unit) for value, slope in zip(values, slopes, strict=True)]

    searches = [lambda ask, start=start: climb(start, ask) for start in best]
    points, gains = zip(*in_lockstep(searches, answer), strict=True)
    points, gains = np.array(points), np.array(gains)
    kept: list[int] = []
    for i in np.argsort(-gains):
        shapes = points[:, [0, 1, 2, 5, 6]]
        near = [np.abs(shapes[i] - shapes[j]).max() < DIFFERENT for j in kept]
        if len(kept) < count and not any(near):
            kept.append(i)
    sources = points[kept, 7:]
    sources[:, 2] = np.exp(sources[:, 2])
    return VisibilityStarts(points[kept, :7], sources, np.sqrt(np.maximum(gains[kept], 0)))


class _MatchedFilter:
    """(x'd)^2 / x'W x of lenses and sources (k, 10), and its gradients."""

    def __init__(self, dirty, grid: PixelGrid):
        """Compile at the first call."""
        self._grid = grid
        self._theta = np.stack(grid.coordinates()).astype("float32")
        beam = dirty.per_pixel(dirty.kernel).astype("float32")
        self._precision = float(dirty.total_weight * dirty.beam_area)
        self._beam, self._image = beam, dirty.per_pixel(dirty.projection).astype("float32")
        shape = (grid.side,) * 2
        primary = np.ones(shape) if dirty.primary_beam is None else dirty.primary_beam
        self._primary = primary.astype("float32")
        self._gains = compiled(self._gains_of)
        self._both = compiled(lambda points: value_and_gradient(self._gains_of, points))

    def gains(self, points: np.ndarray) -> np.ndarray:
        """Return the gains, (k,)."""
        parts = [self._gains(part) for part in self._batches(points, _BATCH)]
        return np.concatenate([ops.convert_to_numpy(part) for part in parts])[: len(points)]

    def gains_and_slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gains, (k,), and their gradients, (k, 10), of CLIMBING points at most."""
        (batch,) = self._batches(points, CLIMBING)
        found = (ops.convert_to_numpy(each)[: len(points)] for each in self._both(batch))
        values, slopes = (each.astype("float64") for each in found)
        return values, slopes

    @staticmethod
    def _batches(points: np.ndarray, size: int) -> list[np.ndarray]:
        """Return the points in batches of one size: the last is filled up."""
        rows = np.minimum(np.arange(-(-len(points) // size) * size), len(points) - 1)
        return np.split(points[rows].astype("float32"), len(rows) // size)

    def _gains_of(self, points):
        lens, source = points[:, :7], points[:, 7:]
        alpha = deflections_on_rays(lens, self._grid, 1, "float32")
        beta = tensor(self._theta)[None] - alpha
        away = beta - source[:, :2, None, None]
        width = ops.exp(source[:, 2])[:, None, None]
        sky = ops.exp(-0.5 * ops.sum(away**2, axis=1) / width**2)
        attenuated = sky * tensor(self._primary)
        dirty = DirtyBeam(self._beam[None], self._grid.side).apply(attenuated)
        fitted = ops.sum(sky * tensor(self._image), axis=(1, 2))
        norm = ops.sum(attenuated * dirty, axis=(1, 2))
        # What is wider than the shortest baselines see has next to no norm, and rounding a large
        # share of it.
        norm = ops.maximum(norm, LEAST_SEEN * ops.sum(attenuated**2, axis=(1, 2)))
        # A negative flux is no source.
        return self._precision * ops.relu(fitted) ** 2 / norm


def _candidates(priors: Priors, generator: np.random.Generator) -> np.ndarray:
    """Return lenses and sources, (CANDIDATES, 10)."""
    drawn = priors.draw(generator, CANDIDATES)
    lens = drawn["lens"].astype("float64")
    # Rounder than the priors: a start for every lens, not one of them.
    lens[:, [1, 2, 5, 6]] *= 0.5
    reach = 0.5 * lens[:, :1] * np.sqrt(generator.random((CANDIDATES, 1)))
    angle = generator.uniform(0, 2 * np.pi, (CANDIDATES, 1))
    place = lens[:, 3:5] + reach * np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    width = generator.uniform(*np.log(SOURCE_WIDTHS), (CANDIDATES, 1))
    return np.concatenate([lens, place, width], axis=1)


def _bounds(priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest values of lens and source, (10,) each."""
    flat, shear = (1 - priors.axis_ratio[0]) / (1 + priors.axis_ratio[0]), priors.shear[1]
    flat = min(flat, MAX_ELLIPTICITY) / np.sqrt(2)
    away, (narrow, wide) = priors.source_radius[1], np.log(SOURCE_WIDTHS)
    low, high = priors.centre
    bounds = [priors.theta_E, (-flat, flat), (-flat, flat), (low, high), (low, high)]
    bounds += [(-shear, shear), (-shear, shear), (-away, away), (-away, away), (narrow, wide)]
    lower, upper = np.array(bounds, "float64").T
    return lower, upper
