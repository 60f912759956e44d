"""From visibilities to lens and source, without a network: matched filter, then the evidence."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lens_fit.lens_priors import LensPriors
from rim_lensing.lens_fit.optimise import LensOptimum, optimise_lens
from rim_lensing.lens_fit.residual_test import ResidualTest, check_residuals
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import as_lens
from rim_lensing.observation.visibilities import ARCSEC, VisibilityObservation
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.reconstruction.source_model import SourceModel
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.priors import Priors
from rim_lensing.visibility_fit.visibility_start import VisibilityStarts, visibility_starts

LARGEST_SIDE = 128
"""Pixels along a side of the sky. Where more would be needed for a field that holds the lens, what
the longest baselines see does not enter."""

SOURCE_SIDE = 32
"""Pixels along a side of the source grid, n: an evidence takes n^6 operations."""

WORTH_A_SEARCH = 50.0
"""Starts by which the matched filter explains less than the best does, by that in chi^2, are left
out: what a Gaussian cannot explain of a real source differs less from one to the other."""

FIELD = 3.4
"""Width of the sky over theta_E: arcs of a source half a theta_E off lie at 1.5 theta_E."""

SOURCE_WIDTHS, LEAST_SOURCE = 8.0, 0.8
"""Width of the source grid over the standard deviation of the matched filter's Gaussian, and the
least of it over theta_E: a real source is larger than one Gaussian."""

COARSEST = 3.0
"""Width of a source pixel over that of the sky's: with wider ones the source grid is narrower."""


@dataclass(frozen=True, repr=False)
class VisibilityFit:
    """The lens in visibilities, and the source behind it.

    Args:
        optimum: Of the search: lens, posterior, what it cost.
        reconstruction: Of the source, with all that the model knows of its errors.
        starts: Of the matched filter; None, the start was given.
        test: Of the residuals, see `check_residuals`.
        seconds: Of wall-clock time.
    """

    optimum: LensOptimum
    reconstruction: Reconstruction
    starts: VisibilityStarts | None
    test: ResidualTest
    seconds: float

    @property
    def lens(self) -> np.ndarray:
        """Parameters of the lens, (p,), see `LensOptimum`."""
        return self.optimum.lens

    @property
    def converged(self) -> bool:
        """The search ended by itself, at a lens that magnifies, and leaves noise."""
        found = self.optimum
        return bool(found.converged and not found.demagnified and self.test.consistent)

    def __repr__(self) -> str:
        """Return one line."""
        significance = ""
        if self.starts is not None:
            significance = f"arcs of {self.starts.significance[0]:.3g} sigma, "
        return f"VisibilityFit({significance}{self.optimum!r}, {self.test})"


def fit_visibilities(
    seen: VisibilityObservation,
    source_model: SourceModel | None = None,
    start=None,
    priors: LensPriors | Priors | Mapping | None = None,
    seed: int = 0,
) -> VisibilityFit:
    """Find the lens in visibilities, and reconstruct the source behind it.

    A matched filter of lensed Gaussians (`visibility_start`) tells where lens and source are. From
    there a search maximises the evidence of linear inversions, of a strength that is held, on grids
    as fine as the longest baselines want. Or, of a RIM, the likelihood of its source, on its own
    grids.

    Args:
        seen: The visibilities.
        source_model: A RIM or another `SourceModel`; by default a `SemilinearInversion` on grids
            that are chosen for the data.
        start: A lens near the true one, as `optimise_lens` takes it; by default it is found.
        priors: As `optimise_lens` takes them; `Priors`' ranges are also what the matched filter
            draws from.
        seed: Of the matched filter, and of the test of the residuals.

    Raises:
        ValueError: No source is seen; or as `optimise_lens`.

    Warns:
        UserWarning: As `optimise_lens`.

    Example:
        >>> fit = rim_lensing.fit_visibilities(rim_lensing.read_visibilities("lens.uvfits"))
        >>> fit.lens, fit.reconstruction.source, fit.test
    """
    began = time.perf_counter()
    ranges = priors if isinstance(priors, Priors) else getattr(priors, "ranges", None) or Priors()
    starts = None
    if start is None:
        grid = sky_grid(seen, ranges.theta_E[1])
        starts = visibility_starts(_shorter(seen, grid), grid, ranges, seed=seed)
        behind = starts.significance[0] ** 2 - starts.significance**2
        start = starts.lenses[behind < WORTH_A_SEARCH]
    model = source_model
    if model is None:
        lens = as_lens(start, name="start")[0][0]
        source = (0.0, 0.0, 0.2) if starts is None else starts.sources[0]
        geometry = fitting_geometry(seen, float(lens[0]), *source)
        kept = _shorter(seen, geometry.image_grid)
        _warn_of_left_out(seen, kept, geometry.image_pixel_scale)
        seen = kept
        first = SemilinearInversion(geometry=geometry).reconstruct(
            seen, lens=lens if starts else start, uncertainties=False
        )
        model = SemilinearInversion(geometry=geometry, strength=first.strength)
    optimum = optimise_lens(seen, source_model=model, start=start, priors=priors)
    if source_model is None:
        # Of the lens that was found, the strength that it wants.
        model = SemilinearInversion(geometry=model.geometry)
    reconstruction = optimum.reconstruction
    if source_model is None:
        reconstruction = model.reconstruct(seen, lens=optimum.mass_model)
    test = check_residuals(reconstruction, model, seed=seed)
    seconds = time.perf_counter() - began
    return VisibilityFit(optimum, reconstruction, starts, test, seconds)


def sky_grid(seen: VisibilityObservation, theta_E: float) -> PixelGrid:
    """Return the pixels of a sky that holds the arcs of lenses of up to a theta_E, in arcsec.

    As fine as the longest baselines want, but for LARGEST_SIDE.
    """
    width = FIELD * theta_E
    side = min(int(np.ceil(width / seen.largest_pixel_scale)), LARGEST_SIDE)
    return PixelGrid(side, width / side)


def fitting_geometry(
    seen: VisibilityObservation,
    theta_E: float,
    x: float,
    y: float,
    width: float,
    source_side: int = SOURCE_SIDE,
) -> Geometry:
    """Return the grids for one lens and a source of which something is known.

    Args:
        seen: Whose longest baselines tell how fine the pixels are to be.
        theta_E: arcsec.
        x: Of the source, arcsec.
        y: Likewise.
        width: Standard deviation of the source, arcsec.
        source_side: Pixels along a side of the source.
    """
    sky = sky_grid(seen, theta_E)
    wide = max(SOURCE_WIDTHS * width, LEAST_SOURCE * theta_E)
    wide = min(wide, source_side * COARSEST * sky.pixel_scale)
    return Geometry(
        sky.side,
        sky.pixel_scale,
        source_side,
        wide / source_side,
        psf_side=1,
        source_centre=(float(x), float(y)),
    )


def _shorter(seen: VisibilityObservation, grid: PixelGrid) -> VisibilityObservation:
    """Return the visibilities without baselines that see more than the pixels hold."""
    longest = 0.5 / (grid.pixel_scale * ARCSEC)
    kept = np.hypot(seen.u, seen.v) <= longest * (1 + 1e-9)
    return seen if kept.all() else replace(seen, weights=np.where(kept, seen.weights, 0.0))


def _warn_of_left_out(seen: VisibilityObservation, kept: VisibilityObservation, pixel: float):
    if kept is seen:
        return
    share = 1 - kept.weights.sum() / seen.weights.sum()
    warnings.warn(
        f'On {LARGEST_SIDE} x {LARGEST_SIDE} pixels, {pixel:.3g}" wide, the longest baselines, '
        f"{share:.1%} of the weight, are left out: they see finer details. Give a `source_model` "
        "with more pixels.",
        UserWarning,
        stacklevel=3,
    )
