"""Functions from arrays to a matplotlib Figure. Nothing here computes a result."""

from rim_lensing.figures.cutouts import raw_cutout, sky_rings
from rim_lensing.figures.measures import coverage_curves, learning_curve, lens_predictions
from rim_lensing.figures.posteriors import lens_contours
from rim_lensing.figures.sky import (
    cutout_fit,
    lens_fit,
    lens_light,
    mock_reconstructions,
    observation,
    summary,
)

__all__ = [
    "coverage_curves",
    "cutout_fit",
    "learning_curve",
    "lens_contours",
    "lens_fit",
    "lens_light",
    "lens_predictions",
    "mock_reconstructions",
    "observation",
    "raw_cutout",
    "sky_rings",
    "summary",
]
