"""How the fit of a cutout ended, by name, and why."""

from enum import StrEnum

import numpy as np
from scipy.ndimage import gaussian_filter

from rim_lensing.cutout_fit.joint_start import LENSED, JointStart
from rim_lensing.forward_model.whitening import whitening
from rim_lensing.lens_fit.optimise import LensOptimum
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.results.result import Reconstruction

CORE = 0.35
"""Of the Einstein radius: nearer to the lens is its core, where light is worst subtracted."""

UNCERTAIN = 0.05
"""Of the Einstein radius: a larger standard deviation is a flat posterior."""

UNUSUAL = 0.25
"""Of |e(mass) - e(light)|, and of the shear: lenses of galaxies have less; more is what a fit takes
that explains something else, a neighbour's light or a part of the galaxy's."""

TEXTURE = 2.0
"""Most times that residuals beside the arcs are what noise leaves and still count as noise: of nine
SLACS images smoothed residuals of the sky around the galaxy are 1.1 to 1.6 times, in one 3.3, where
blank corners are 0.95 to 1.16. More is light, of which nobody knows how much lies on the arcs."""

_SMOOTHING = 1.0


class Verdict(StrEnum):
    """How the fit of a cutout ended."""

    CONVERGED = "converged"
    UNCERTAIN = "converged, lens uncertain"
    NOT_NOISE = "not noise"
    NO_ARCS = "no lensed arcs found"
    POINTS = "point-like images"


def unmodelled(start: JointStart) -> tuple[Verdict, str] | None:
    """Return why there is nothing to model after the start, None if there is."""
    size = f'{start.source.half_light_radius:.2g}" in half-light radius'
    if start.is_lensed and start.is_point_like:
        return Verdict.POINTS, (
            f"the source is a point, {size}: a quasar, whose images no extended source model "
            "describes"
        )
    if start.is_point_like and start.arcs_sigma > LENSED:
        return Verdict.POINTS, (
            f"what is brightest beside the galaxy is a point, {size}: a quasar's images, which no "
            "extended source model describes, or a star"
        )
    if not start.is_lensed:
        return Verdict.NO_ARCS, (
            "light and a companion that is not lensed explain the image as well as a lens does, to "
            f"{start.lens_sigma:.1f} sigma"
        )
    return None


def judge(
    optimum: LensOptimum, test: ResidualTest, light: LensLight, theta_E_std: float
) -> tuple[Verdict, str]:
    """Return how a fit ended, and why.

    Args:
        optimum: The lens, and the refined source behind it: on telescope data a RIM's own sources
            leave the brightest knots in the residuals.
        test: Of its residuals.
        light: Of the lens galaxy.
        theta_E_std: Standard deviation of the Einstein radius, in arcsec.
    """
    theta_E = optimum.mass_model["lens.theta_E"]
    if optimum.demagnified:
        return Verdict.NO_ARCS, "the best lens hardly magnifies: the source is the arcs, shrunk"
    if not test.consistent:
        return Verdict.NOT_NOISE, _where(optimum.reconstruction, theta_E)
    if optimum.edges:
        return Verdict.UNCERTAIN, f"on the edge of the priors: {', '.join(optimum.edges)}"
    if not theta_E_std <= UNCERTAIN * theta_E:
        return Verdict.UNCERTAIN, (
            f'theta_E = {theta_E:.3f}" +- {theta_E_std:.2g}": the arcs hardly tell'
        )
    # A light's error that was added to the noise may have made both smaller.
    texture = test.beside[1] / min(1.0, test.beside[0])
    if not texture <= TEXTURE:
        return Verdict.UNCERTAIN, (
            "light is left beside the arcs, and may be on them: smoothed residuals are "
            f"{texture:.1f} times what noise leaves there"
        )
    odd = _oddity(optimum.mass_model, light)
    if odd:
        return Verdict.UNCERTAIN, odd
    return Verdict.CONVERGED, "residuals are noise"


def _oddity(lens: MassModel, light: LensLight) -> str:
    """Say in what a lens is unlike those that are known; empty where it is not."""
    apart = np.hypot(lens["lens.e1"] - light.e1, lens["lens.e2"] - light.e2)
    if apart > UNUSUAL:
        return f"the mass is no ellipse like the light's: |e - e of the light| = {apart:.2f}"
    shear = np.hypot(lens["shear.gamma1"], lens["shear.gamma2"])
    return f"an unusual shear of {shear:.2f}" if shear > UNUSUAL else ""


def _where(result: Reconstruction, theta_E: float) -> str:
    """Say where residuals are that are not noise, and what that may be."""
    residuals = np.where(result.mask, result.residuals_in_sigma, 0)
    if result.noise_correlation is not None:
        residuals = whitening(result.noise_correlation, result.mask).whiten(residuals)
    smooth = gaussian_filter(residuals, _SMOOTHING)
    # The variance of smoothed white noise is the sum of the kernel's squares.
    excess = smooth**2 * 4 * np.pi * _SMOOTHING**2 - 1
    side = len(residuals)
    axis = (np.arange(side) - (side - 1) / 2) * result.image_pixel_scale
    radius = np.hypot(*np.meshgrid(axis, axis))
    arcs = result.model_image > np.where(result.mask, result.noise, np.inf)
    core = (radius < CORE * theta_E) & ~arcs
    rest = result.mask & ~arcs & ~core
    total = {
        "light residuals in the core": excess[core & result.mask].sum(),
        "residuals on the arcs: lens model, source grid or PSF": excess[arcs].sum(),
        "light beside the arcs: a neighbour, or lens light": excess[rest].sum(),
    }
    return max(total, key=total.get)
