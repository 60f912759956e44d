"""The search for the lens of arcs in a cutout: a field, a source grid in place, priors there."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, truncnorm

from rim_lensing.cutout_fit.cutout_verdict import TEXTURE
from rim_lensing.cutout_fit.modelled_field import ModelledField
from rim_lensing.cutout_fit.source_frame import frame_source
from rim_lensing.lens_fit.lens_covariance import LensCurvature, lens_curvature
from rim_lensing.lens_fit.lens_posterior import lens_posterior
from rim_lensing.lens_fit.lens_priors import LensPriors, moved
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.optimise import LensOptimum, optimise_lens
from rim_lensing.lens_fit.power_law import as_power_law
from rim_lensing.lens_fit.residual_test import ResidualTest, check_residuals
from rim_lensing.lens_light.isophote_shapes import light_templates
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.observation.observation import Observation
from rim_lensing.reconstruction.source_model import FramedSourceModel

CENTRE_STD = 0.05
"""arcsec: of the mass's centre from the light's, in x and in y: those of isolated galaxies differ
by 0.05" at most (Koopmans et al. 2006; Shajib et al. 2021)."""

SHAPE_STD, ENDS = 0.1, (-0.5, 0.5)
"""Of the mass's e1 and e2 from the light's: axis ratios scatter by 0.1 about each other (Bolton et
al. 2008). And their range."""

SHEAR_STD = 0.06
"""Of each component of the external shear: galaxies of the field have some hundredths, those in
groups a tenth (Keeton, Kochanek & Seljak 1997)."""

SLOPE, SLOPE_STD, SLOPES = 1.08, 0.2, (0.3, 1.8)
"""Of power laws, and their range: lenses of SLACS have gamma' = 2.08, which is t = 1.08 here, and
scatter by 0.16 about it (Auger et al. 2010)."""

SLOPE_PEAK = float(norm.logpdf(0, scale=SLOPE_STD))
"""Of this prior's logarithm: what a power law's log-posterior has beside an SIE's for its own."""

ANY_PSF, ANY_NOISE = (0.0, 10.0), (1e-9, 1e9)
"""Of these no user of a cutout is to be warned: they are what the telescope has."""


@dataclass(frozen=True)
class ArcSearch:
    """What a search is given: the arcs in a field, and where it begins.

    Args:
        seen: The cutout.
        light: Of the lens galaxy.
        lens: x and y from the cutout's middle.
        model: A RIM, refined or not.
        priors: x and y from the light's centre.
        finest: Of an image pixel: the smallest source pixels.
        rough: Whether another search follows, in any case.
        field: Which part is modelled; by default one that holds the lens's images.
        source_grid: By default one that holds what the arcs are images of.
    """

    seen: Observation
    light: LensLight
    lens: MassModel
    model: FramedSourceModel
    priors: LensPriors
    finest: float
    rough: bool = False
    field: ModelledField | None = None
    source_grid: PixelGrid | None = None

    def __post_init__(self):
        """Cut the field out of the data less the light, and put the source's grid in place."""
        best = ModelledField.around(self.seen, self.light.centre, self.lens["lens.theta_E"])
        is_new = self.source_grid is None
        if self.field is None or (is_new and not self.field.holds(best)):
            model = self.model.with_image_grid(best.grid.side, best.grid.pixel_scale)
            object.__setattr__(self, "field", best)
            object.__setattr__(self, "model", model)
        templates = light_templates(self.light)
        if self.seen.templates is not None:
            templates = np.concatenate([self.seen.templates, templates])
        arcs = replace(self.light.subtract(self.seen), templates=templates)
        object.__setattr__(self, "arcs", self.field.cut(arcs))
        grid = self.source_grid
        if grid is None:
            side, observation = self.model.source_grid.side, self.checked(self.lens_in_field)
            grid = frame_source(observation, self.field.grid, side, self.finest)
            object.__setattr__(self, "source_grid", grid)
        model = self.model.with_source_grid(grid.pixel_scale, grid.centre)
        # To the network the lens's lengths are in source pixels, and these are chosen lens by lens.
        model.priors = replace(self.priors.ranges, psf_sigma=ANY_PSF, noise=ANY_NOISE)
        object.__setattr__(self, "model", model)

    def following(self, light: LensLight, optimum: LensOptimum, finest: float) -> "ArcSearch":
        """Return a search from a lens that was found, of the data less another light."""
        lens = self.field.in_cutout(optimum.mass_model)
        return replace(self, light=light, lens=lens, finest=finest, rough=False, source_grid=None)

    def with_slope(self, optimum: LensOptimum) -> "ArcSearch":
        """Return a search of a power law on the same grids, from an SIE."""
        lens = as_power_law(self.field.in_cutout(optimum.mass_model))
        return replace(self, lens=lens)

    def run(self) -> LensOptimum:
        """Return the most probable lens."""
        return optimise_lens(
            self.arcs,
            source_model=self.model,
            start=self.lens_in_field,
            method="gauss-newton",
            rough=self.rough,
            priors=self.priors_in_field,
            allow_lens_light=True,
        )

    def curvature(self) -> tuple[LensCurvature, LensSupport]:
        """Return the log-posterior's curvature at the lens, and which parameters are free."""
        posterior = lens_posterior(
            self.model.search_model, self.checked(self.lens_in_field), self.priors_in_field
        )
        support = posterior.support
        here = support.nearest(support.select(self.lens_in_field.values[None]))[0]
        return lens_curvature(posterior, here), support

    def test(self, optimum: LensOptimum, seed: int) -> ResidualTest:
        """Return whether its residuals are noise."""
        result = optimum.reconstruction
        return check_residuals(
            result,
            self.model.refined(result.refined),
            seed=seed,
            texture=TEXTURE,
        )

    def checked(self, lens: MassModel) -> NormalisedObservation:
        """Return the arcs as networks take them, behind a lens of the field."""
        return check_observation(
            self.arcs, lens=lens, image_grid=self.field.grid, psf_side=self.model.psf_side
        )

    @property
    def lens_in_field(self) -> MassModel:
        """The lens; x and y from the field's middle."""
        return self.field.in_field(self.lens)

    @property
    def priors_in_field(self) -> LensPriors:
        """Priors; x and y from the field's middle. Where none are given they are what is usual.

        Near the light in place and shape, some hundredths of shear, a slope as lenses have it.
        """
        given, light = self.priors.named, self.light
        usual = {f"lens.{name}": norm(0, CENTRE_STD) for name in ("x", "y")}
        usual |= {
            f"lens.{name}": truncnorm(*((np.array(ENDS) - middle) / SHAPE_STD), middle, SHAPE_STD)
            for name, middle in (("e1", light.e1), ("e2", light.e2))
        }
        usual |= {f"shear.{name}": norm(0, SHEAR_STD) for name in ("gamma1", "gamma2")}
        ends = (np.array(SLOPES) - SLOPE) / SLOPE_STD
        usual["lens.slope"] = truncnorm(*ends, SLOPE, SLOPE_STD)
        form, told = self.lens.form, {self.lens.form.index(name) for name in given}
        named = dict(given) | {
            name: prior
            for name, prior in usual.items()
            if name in form.names and form.index(name) not in told
        }
        named = moved(named, form, self.field.place(self.light.centre))
        return LensPriors(named, self.priors.ranges)

    def change(self, light: LensLight) -> float:
        """Return by how much another light is not this one, in sigma, rms over the field.

        What templates explain of it does not count.
        """
        difference = light.image + light.sky - self.light.image - self.light.sky
        observation = self.checked(self.lens_in_field)
        in_unit = self.field.cut_map(difference) / observation.flux_unit[0]
        in_sigma = np.where(observation.mask, in_unit, 0) / observation.noise
        return float(np.sqrt(np.mean(observation.whitened(in_sigma)[observation.mask] ** 2)))
