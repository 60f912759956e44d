"""Lens, light and source at once, all of them parametric: a start that needs no network.

The light is a multi-Gaussian expansion (`fit_lens_light`), the lens an SIE in shear, the source a
few Gaussians of one centre and ellipticity. Their fluxes come from one non-negative least squares,
so that light and arcs compete fairly; the lens is searched around it, from a grid of Einstein radii
and source positions (Nightingale et al. 2018 and Etherington et al. 2022 begin alike).
"""

from dataclasses import dataclass

import numpy as np

from rim_lensing.blas_threads import on_one_blas_thread
from rim_lensing.cutout_fit.gaussian_source import (
    NAMES,
    LensedGaussians,
    SourceShape,
    number_of_images,
)
from rim_lensing.cutout_fit.joint_problem import JointProblem
from rim_lensing.lens_light.fit import fit_lens_light, pixels_of
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lens_light.patches import Patch, square_around
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.observation.observation import Observation

EINSTEIN_RADII, LARGEST_SHARE = 16, 0.75
"""Of the grid: how many, and the largest as a share of the radius that is looked at."""

SOURCE_RINGS = ((0.12, 5), (0.3, 8), (0.55, 10))
"""Distances of the source from the lens, over theta_E, and how many directions at each."""

STARTS, KEPT = 6, 3
"""How many of the grid's best are followed to their optimum, and how many of these are refined."""

CLOSE = 1.1
"""Optima of so many times the best one's cost are refined, too."""

DOUBT = 3.0
"""Chi^2 per pixel is brought to 1 over this before priors count: residuals of a source too simple
hang together, over the PSF at least."""

LENSED = 5.0
"""In sigma: by how much a lens must beat a companion that is not lensed."""

POINT_LIKE, SHARE_OF_PSF = 0.03, 0.2
"""A source is a point whose half-light radius is less than so many arcsec, or less than this share
of the PSF's sigma: arcs are stretched five times or more, and show what is larger."""


@dataclass(frozen=True)
class Candidate:
    """An optimum.

    Args:
        lens: SIE and shear.
        source_centre: (x, y), arcsec.
        cost: Chi^2, brought to about pixels / DOUBT, and priors.
    """

    lens: LensParameters
    source_centre: tuple[float, float]
    cost: float


@dataclass(frozen=True, eq=False)
class JointStart:
    """What `joint_start` returns; lengths are in arcsec, fluxes in the image's unit.

    Args:
        lens: SIE and shear.
        light: The lens galaxy and the sky, fitted without the arcs.
        arcs: The source as the telescope sees it, (y, x).
        source: Its centre, half-light radius, ellipticity and flux.
        magnification: Flux of the arcs over that of the source.
        images: How many images the source has, averaged over its light.
        chi2: Per pixel that was compared, of light and arcs, with the noise alone.
        candidates: The best optima, best first.
        arcs_sigma: By how many sigma light and arcs are better than light alone.
        lens_sigma: By how many they are better than light and a companion that is not lensed.
        psf_sigma: Of the Gaussian that is as sharp as the PSF.
    """

    lens: LensParameters
    light: LensLight
    arcs: np.ndarray
    source: SourceShape
    magnification: float
    images: float
    chi2: float
    candidates: tuple[Candidate, ...]
    arcs_sigma: float
    lens_sigma: float
    psf_sigma: float

    @property
    def is_lensed(self) -> bool:
        """Whether what is brighter than the galaxy is a lensed source."""
        return self.lens_sigma > LENSED

    @property
    def is_point_like(self) -> bool:
        """Whether the source is a point: a quasar, which no extended source model describes."""
        return self.source.half_light_radius < max(POINT_LIKE, SHARE_OF_PSF * self.psf_sigma)


@on_one_blas_thread
def joint_start(
    observation: Observation,
    light: LensLight | None = None,
    without: np.ndarray | None = None,
    centre: tuple[float, float] | None = None,
    radius: float = 3.0,
) -> JointStart:
    """Find lens, light and source of one raw image.

    Args:
        observation: One image, lens light in; neighbours masked, or named in `without`.
        light: Its light by `fit_lens_light`, where it is fitted already.
        without: True for pixels to leave out, (y, x).
        centre: (x, y) of the lens galaxy, see `fit_lens_light`.
        radius: Half the side of what is looked at around the lens, arcsec.

    Raises:
        ValueError: As `fit_lens_light`.
    """
    whole, psf_sigma = pixels_of(observation, without)
    frame = 0.5 * min(len(whole.x), len(whole.y)) * whole.pixel_scale
    radius = min(radius, frame)
    if light is None:
        light = fit_lens_light(observation, centre=centre, without=without)
    coarse = JointProblem.of(whole, light, psf_sigma, radius, coarse=True)
    optima = _optima(coarse, _distinct(_grid(coarse, radius), STARTS, 0.1), 10)
    optima = _distinct(optima, KEPT, 0.03)
    doubt = DOUBT * max(1.0, optima[0][0] / coarse.pixels)
    # The first light was fitted around what looked like arcs: now they are known.
    arcs = _arcs(whole, coarse.with_wings(), optima[0][1])
    light = fit_lens_light(observation, centre=centre, without=without, arcs=arcs)
    coarse = JointProblem.of(whole, light, psf_sigma, radius, coarse=True).tempered(doubt)
    optima = _optima(coarse, optima, 10)
    left = coarse.cost(optima[0][1], False)
    scale = max(1 / doubt, left / coarse.pixels)
    better = [
        np.sqrt(max(cost - left, 0) / scale)
        for cost in (coarse.without_source, _unlensed(coarse, optima))
    ]
    fine = JointProblem.of(whole, light, psf_sigma, radius, coarse=False).tempered(doubt)
    close = [optimum for optimum in optima if optimum[0] < CLOSE * optima[0][0]]
    optima = _distinct(_optima(fine, close, 6), KEPT, 0.01)
    best, fine = optima[0][1], fine.with_wings()
    amplitudes, columns, _ = fine.solve(best)
    model = np.tensordot(amplitudes, np.concatenate([columns, fine.light]), 1)
    true = square_around(whole, light.centre, radius)
    arcs = _arcs(whole, fine, best)
    source = SourceShape.of(best, fine.source.widths, amplitudes[: len(columns)], whole.pixel_scale)
    light = fit_lens_light(observation, centre=centre, without=without, arcs=arcs)
    return JointStart(
        lens=LensParameters.from_array(best[:7]),
        light=light,
        arcs=arcs,
        source=source,
        magnification=float(arcs.sum() / source.flux) if source.flux > 0 else 0.0,
        images=number_of_images(best, source, radius),
        chi2=float(np.sum(true.weight * (true.data - model) ** 2) / fine.pixels),
        candidates=tuple(
            Candidate(LensParameters.from_array(vector[:7]), tuple(vector[7:9].tolist()), cost)
            for cost, vector in optima
        ),
        arcs_sigma=float(better[0]),
        lens_sigma=float(better[1]),
        psf_sigma=psf_sigma,
    )


def _grid(problem: JointProblem, radius: float) -> list[tuple[float, np.ndarray]]:
    """Return costs and vectors of Einstein radii and source positions, best first."""
    rings = [
        (share * np.cos(angle), share * np.sin(angle))
        for share, count in SOURCE_RINGS
        for angle in 2 * np.pi * (np.arange(count) + share) / count
    ]
    costs = []
    for theta_E in np.geomspace(problem.bounds[0][0], LARGEST_SHARE * radius, EINSTEIN_RADII):
        for x, y in [(0.0, 0.0), *rings]:
            vector = problem.expected.copy()
            vector[0] = theta_E
            vector[7:9] += theta_E * np.array([x, y])
            costs.append((problem.cost(vector), vector))
    return sorted(costs, key=lambda each: each[0])


def _optima(problem: JointProblem, starts, most_steps: int) -> list[tuple[float, np.ndarray]]:
    """Return the local optima, best first."""
    found = [problem.search(vector, most_steps, 1e-3) for _, vector in starts]
    return sorted(found, key=lambda each: each[0])


def _distinct(found, count: int, apart: float) -> list[tuple[float, np.ndarray]]:
    """Return the best ones that differ in theta_E, or in the source's place."""
    chosen: list[tuple[float, np.ndarray]] = []
    for cost, vector in found:
        if all(
            abs(np.log(vector[0] / other[0])) > apart
            or np.hypot(*(vector[7:9] - other[7:9])) > 1.5 * apart * other[0]
            for _, other in chosen
        ):
            chosen.append((cost, vector))
        if len(chosen) == count:
            break
    return chosen


def _unlensed(problem: JointProblem, optima) -> float:
    """Return chi^2 of light and a companion: where arcs are brightest, and not lensed."""
    costs = []
    for _, vector in optima:
        amplitudes, columns, _ = problem.solve(vector)
        arcs = np.tensordot(amplitudes[: len(columns)], columns, 1)
        row, column = np.unravel_index(np.argmax(arcs), arcs.shape)
        start = problem.expected.copy()
        start[:7] = 0
        start[7:9] = problem.patch.x[column], problem.patch.y[row]
        companion = problem.search(start, 10, 1e-3, held=NAMES[:7])[1]
        costs.append(problem.cost(companion, False))
    return min(costs)


def _arcs(whole: Patch, problem: JointProblem, vector: np.ndarray) -> np.ndarray:
    """Return the lensed source in the whole image, (y, x)."""
    amplitudes = problem.solve(vector)[0]
    columns = LensedGaussians(whole, 2, problem.source.widest).columns(vector)
    return np.tensordot(amplitudes[: len(columns)], columns, 1)
