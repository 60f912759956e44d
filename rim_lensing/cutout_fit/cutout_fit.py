"""A raw telescope cutout, modelled whole: what is on it, the lens galaxy's light, lens and source.

Light and source are never columns of one linear system with pixels, whose condition number would be
1e10: they alternate. The light is fitted to the data less the arcs, the arcs to the data less the
light, until neither changes.
"""

import logging
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.cutout_fit.arc_search import SLOPE_PEAK, ArcSearch
from rim_lensing.cutout_fit.cutout_verdict import Verdict, judge, unmodelled
from rim_lensing.cutout_fit.joint_start import JointStart, joint_start
from rim_lensing.cutout_fit.modelled_field import ModelledField, placed
from rim_lensing.files.zero_points import zero_point_of
from rim_lensing.lens_fit.lens_priors import LensPriors, as_lens_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.optimise import LensOptimum
from rim_lensing.lens_fit.power_law import as_power_law, price_of_slope
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.lens_light.fit import fit_lens_light
from rim_lensing.lens_light.isophote_shapes import with_isophote_shapes
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel, as_lens
from rim_lensing.notebooks import as_html, lens_table
from rim_lensing.observation.observation import Observation
from rim_lensing.observation.psf_forms import LARGEST_LOSS
from rim_lensing.preparation.prepared_cutout import PreparedCutout
from rim_lensing.reconstruction.source_model import FramedSourceModel
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.priors import Priors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANGES = Priors(theta_E=(0.1, 5.0), axis_ratio=(0.2, 1.0), shear=(0.0, 0.3), centre=(-0.3, 0.3))
"""Where lenses of galaxies are looked for: networks see no arcsec, so that trainings do not bound
it, see `RIMReconstructor.with_source_grid`."""

FINEST = 0.5, 0.3
"""Of an image pixel: the smallest source pixels of the first search and of the others. The networks
were trained with the first: there the likelihood is smooth. Arcs that are magnified resolve more:
on three SLACS lenses their chi^2 fell with every step from 0.6 to 0.25."""

ALTERNATIONS = 3
"""Most often that the arcs are modelled, and the light fitted without them."""

SETTLED = 0.1
"""In sigma: a light that changes by no more, rms over the field, is that of before."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False, eq=False)
class CutoutFit:
    """What `fit_cutout` returns.

    Args:
        verdict: How it ended.
        reason: Why, in words.
        prepared: What is on the cutout.
        start: Lens, light and source that the search began with; None if a lens was given.
        light: The lens galaxy's, on the whole cutout.
        said: What was found and done, in sentences.
        field: Which part of it is modelled: x and y of the optimum's lens are from its middle.
        arcs: That part, without light and sky.
        optimum: The lens of the arcs in the field, and the refined source behind it; None where
            there are no arcs, or point-like ones.
        covariance: Of the lens's parameters, (p, p), in the order of `mass_model`: by the curvature
            of the log-posterior, its likelihood divided by what the residuals are more than noise,
            see `lens_covariance`. The slope of an SIE is taken to be known to SLOPE_STD.
        test: Of its residuals.
        alternations: How often the arcs were modelled.
    """

    verdict: Verdict
    reason: str
    prepared: PreparedCutout
    start: JointStart | None
    light: LensLight
    said: tuple[str, ...]
    field: ModelledField | None = None
    arcs: Observation | None = None
    optimum: LensOptimum | None = None
    covariance: np.ndarray | None = None
    test: ResidualTest | None = None
    alternations: int = 0

    def __repr__(self) -> str:
        """Return one line."""
        lens = "" if self.optimum is None else f", {self.optimum!r}"
        return f"CutoutFit({self.verdict}: {self.reason}{lens})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: verdict, lens, picture, and what was done, folded."""
        facts, folded = {"why": self.reason}, {"What was found and done": self.said}
        if self.optimum is None:
            return as_html(str(self.verdict), facts, folded=folded)
        facts["chi^2 per pixel"] = f"{self.reconstruction.chi2:.3f}"
        lens = self.mass_model
        rows = lens_table(lens.labels, lens.values, self.lens_std)
        return as_html(str(self.verdict), facts, rows, self.plot(), folded)

    @property
    def converged(self) -> bool:
        """Whether lens and source explain the arcs down to the noise, and the lens is known."""
        return self.verdict is Verdict.CONVERGED

    @property
    def mass_model(self) -> MassModel | None:
        """The lens; x and y are in arcsec from the middle of the cutout."""
        return None if self.optimum is None else self.field.in_cutout(self.optimum.mass_model)

    @property
    def lens_std(self) -> np.ndarray:
        """Standard deviations of the lens's parameters, (p,), see `covariance`.

        Raises:
            ValueError: No lens was found.
        """
        if self.covariance is None:
            raise ValueError(f"There is no lens: {self.verdict}, {self.reason}")
        return np.sqrt(np.diag(self.covariance))

    @property
    def reconstruction(self) -> Reconstruction | None:
        """Of the source, refined."""
        return None if self.optimum is None else self.optimum.reconstruction

    def source_metrics(self, zero_point: float | None = None) -> dict[str, float]:
        """Return the source's centre and half-light radius in arcsec, and its magnitude.

        Of the pixels that the data constrain. The radius is that of the circle around the flux's
        centre that holds half of it; x and y are from the field's middle.

        Args:
            zero_point: Magnitude of a flux of 1 in the image's unit; None, the header's.
        """
        result = self.reconstruction
        grid, flux = result.source_grid, np.where(result.constrained, result.source, 0.0)
        x, y = grid.coordinates()
        total = flux.sum()
        if not total > 0:
            return {}
        centre = [float(np.sum(flux * z) / total) for z in (x, y)]
        radius = np.hypot(x - centre[0], y - centre[1]).ravel()
        order = np.argsort(radius)
        within = np.cumsum(flux.ravel()[order])
        numbers = {
            "source_x": centre[0],
            "source_y": centre[1],
            "source_half_light_radius": float(radius[order][np.searchsorted(within, total / 2)]),
        }
        zero_point = zero_point if zero_point is not None else zero_point_of(self.arcs.header)
        if zero_point is not None:
            flux = result.metrics()["source_flux"]
            numbers["source_magnitude"] = float(zero_point - 2.5 * np.log10(flux))
        return numbers

    def panels(self) -> dict:
        """Return what `figures.cutout_fit` draws of a lens: maps of the field, in the image's unit.

        Raises:
            ValueError: No lens was found.
        """
        if self.optimum is None:
            raise ValueError(f"There is no lens to draw: {self.verdict}, {self.reason}")
        seen = self.prepared.observation
        return self.reconstruction.panels(self.arcs.header) | {
            "light": self.field.cut_map(self.light.image),
            "cutout": self.field.cut_map(
                np.where(seen.mask, seen.image - self.light.sky, np.nan), beyond=np.nan
            ),
            "title": f"{self.verdict}: {self.reason}",
        }

    def plot(self, stretch: str = "linear") -> "Figure":
        """Draw data, light, data without light, model, residuals and source of the field.

        Args:
            stretch: Of arcs, their model and the source: "linear", or "asinh", which shows faint
                wings.

        Raises:
            ValueError: No lens was found, or there is no such stretch.
        """
        from rim_lensing.figures import cutout_fit

        return cutout_fit(**self.panels(), stretch=stretch)


def fit_cutout(
    prepared: PreparedCutout,
    source_model: FramedSourceModel,
    start=None,
    priors: LensPriors | Priors | Mapping | None = None,
    kind: str = "multi-gaussian",
    epl: bool | None = None,
    seed: int = 0,
) -> CutoutFit:
    """Model a raw cutout: the lens galaxy's light, the lens, and the source.

    Lens, light and a source of Gaussians are fitted together first (`joint_start`). Then, in turn,
    the most probable lens is found of the data less the light (`optimise_lens`), and the light of
    the data less the arcs (`fit_lens_light`). Where the residuals' derivatives promise enough,
    a power law is fitted from there, and kept by the rule of `automated_fit`. The source's grid
    follows the source (`frame_source`). In `start` and `priors` x and y are arcsec from the centre
    of the galaxy's light.

    Args:
        prepared: What `prepare_cutout` returns.
        source_model: A RIM; of its grids only the number of source pixels is kept.
        start: A lens near the true one, as `automated_fit` takes it; by default it is found.
        priors: As `automated_fit` takes them; ranges are by default RANGES. Of what nothing is said
            it is what is usual, see `ArcSearch.priors_in_field`. One of the slope asks for a power
            law.
        kind: Of the light, see `fit_lens_light`.
        epl: Fit a power law from the first search on (True), or none (False); by default by the
            rule above.
        seed: Of the random numbers.

    Raises:
        ValueError: Arguments that are not understood.
    """
    seen, said, found = prepared.observation, list(prepared.said), None
    priors = as_lens_priors(priors, RANGES)
    form = SHORT_FORMS[7] if start is None else as_lens(start, name="start")[1]
    if epl is None and form == SHORT_FORMS[7] and {"slope", "lens.slope"} & set(priors.named):
        epl = True
    form = SHORT_FORMS[8] if epl and form == SHORT_FORMS[7] else form
    LensSupport.from_priors(priors.ranges, form, priors.named)
    light = fit_lens_light(seen, prepared.offset, kind=kind)
    if start is None:
        found = joint_start(seen, light)
        light, lens = found.light, SHORT_FORMS[7].with_values(astuple(found.lens)[:7])
        said.append(
            f"Lens and source are {found.lens_sigma:.0f} sigma better than a companion that is not "
            f"lensed; the start has theta_E = {found.lens.theta_E:.3f} arcsec."
        )
        told = unmodelled(found)
        if told is not None:
            return CutoutFit(*told, prepared, found, light, tuple(said))
    else:
        values, form = as_lens(start, name="start")
        lens = placed(form.with_values(values[0]), light.centre)
    lens = as_power_law(lens) if epl else lens
    search = ArcSearch(seen, light, lens, source_model.refined(), priors, FINEST[0], rough=True)
    for alternation in range(1, ALTERNATIONS + 1):
        optimum = search.run()
        _logger.info("%r", optimum)
        if alternation == ALTERNATIONS:
            break
        model_image = search.field.put_back(optimum.reconstruction.model_image)
        light = fit_lens_light(seen, light.centre, arcs=model_image, kind=kind)
        change = search.change(light)
        _logger.info("the light changes by %.2f sigma", change)
        if alternation > 1 and change < SETTLED:
            break
        search = search.following(light, optimum, FINEST[1])
    steeper = search.with_slope(optimum)
    curvature, support = steeper.curvature()
    wanted = price_of_slope(search.arcs.mask.sum())
    if epl is None and optimum.mass_model.form == SHORT_FORMS[7] and curvature.gain > wanted:
        power_law = steeper.run()
        gained = power_law.log_posterior - SLOPE_PEAK - optimum.log_posterior
        kept = gained > wanted and not power_law.demagnified
        said.append(
            f"A power law raises the log-posterior by {gained:.1f}, where {wanted:.1f} tell it "
            f"from an SIE: it is {'kept' if kept else 'not kept'}."
        )
        if kept:
            search, optimum = steeper, power_law
            curvature, support = steeper.with_slope(power_law).curvature()
    test = search.test(optimum, seed)
    beyond = search.field.psf_beyond(seen)
    if beyond > LARGEST_LOSS:
        said.append(
            f"The PSF is larger than the modelled field, and {beyond:.1%} of its flux lies beyond: "
            "the source's flux is what falls into the field."
        )
    # What no noise map knows of is in the lens's errors, too.
    texture = max(1.0, *(float(each[1]) for each in (test.excess, test.beside)))
    # Of what is held `sources` is -1: a row of zeros. Last is the slope, which an SIE has not.
    covariance = np.pad(curvature.covariance(texture), (0, 1))
    covariance = covariance[np.ix_(support.sources, support.sources)]
    size = len(optimum.mass_model.values)
    covariance = covariance[:size, :size]
    amplitudes = optimum.reconstruction.template_amplitudes
    given = 0 if seen.templates is None else len(seen.templates)
    light = with_isophote_shapes(search.light, amplitudes[given:])
    verdict, reason = judge(optimum, test, light, float(np.sqrt(covariance[0, 0])))
    return CutoutFit(
        verdict=verdict,
        reason=reason,
        prepared=prepared,
        start=found,
        light=light,
        said=tuple(said),
        field=search.field,
        arcs=search.field.cut(light.subtract(seen)),
        optimum=optimum,
        covariance=covariance,
        test=test,
        alternations=alternation,
    )
