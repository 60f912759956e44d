"""How probable a lens is, given an image: the source is what the source model makes of it.

One object for optimisers and samplers (paper section 3, Algorithm 1 and figure 9): many lenses in,
one number each out, the source reconstructed anew for every lens. What goes in are the free
parameters of a `LensSupport`, which is the prior. With a RIM the likelihood is that of the data
given the RIM's source, or integrated over that source's error; with the linear inversion it is the
evidence, which integrates over all sources, and never chi^2: that falls as long as the source is
allowed to follow the noise, whatever the lens.
"""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from keras import ops

from rim_lensing.inversion.evidence import NoMaximumError, log_evidence, maximise_evidence
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.lens_fit.lens_priors import LensPriors, as_lens_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.temperature import check_temperature
from rim_lensing.lensing.ray_tracing import lensing_matrices
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.refinement import best_strength, log_marginal_likelihood
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.reconstruction.semilinear_inversion import ENGINES, SemilinearInversion
from rim_lensing.simulation.priors import Priors

SourceModel = RIMReconstructor | SemilinearInversion

STEPS = (0.4, 0.08)
"""For differences, in source pixels: L is bilinear, so chi^2 has kinks at that scale."""

_BATCHES = (1, 4, 8, 16)
"""Sizes; other numbers of lenses are filled up: RIM and rays are compiled for every size anew."""


class LensPosterior(ABC):
    """The log-posterior of the lens of one observation, for batches of lenses.

    Args:
        observation: One system; of its `lens` only the form is used.
        priors: See `LensPriors`.
        source_pixel_scale: arcsec.

    Attributes:
        support: The lenses that are allowed.
        temperature: The log-likelihood is divided by it, see `tempered`.
        evaluations: Sources that have been reconstructed so far.
        steps: Sensible differences of the free parameters, (2, f), see `STEPS`.
    """

    def __init__(
        self, observation: NormalisedObservation, priors: LensPriors, source_pixel_scale: float
    ):
        """Start counting."""
        if len(observation) != 1:
            raise ValueError(
                "A posterior is that of one system: give image (m, m). "
                f"Received: {len(observation)} systems"
            )
        priors = as_lens_priors(priors, Priors())
        self.observation, self.priors, self.evaluations = observation, priors.ranges, 0
        self.temperature = 1.0
        self.support = support = LensSupport.from_priors(
            priors.ranges, observation.form, priors.named
        )
        # Ellipticity and shear move rays by about as many arcsec as theta_E and centre do.
        self.steps = np.outer(STEPS, np.full(len(support.lower), source_pixel_scale))

    def log_posterior(self, lenses: np.ndarray) -> np.ndarray:
        """Return the log-posterior up to a constant, (k,); -inf outside of the support.

        Args:
            lenses: (k, f), the free parameters of the support.
        """
        lenses, support = self._checked(lenses), self.support
        nearest = support.nearest(lenses)
        values = self._log_likelihood(support.expand(nearest)) / self.temperature
        return np.where(support.contains(lenses), values + support.log_prior(nearest), -np.inf)

    def log_posterior_and_gradient(self, lenses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `log_posterior`, (k,), and its gradient, (k, f); 0 outside."""
        lenses, support = self._checked(lenses), self.support
        nearest = support.nearest(lenses)
        both = self._log_likelihood_and_gradient(nearest)
        values, slopes = (each / self.temperature for each in both)
        values = values + support.log_prior(nearest)
        slopes = slopes + support.log_prior_gradient(nearest)
        inside = support.contains(lenses)
        return np.where(inside, values, -np.inf), np.where(inside[:, None], slopes, 0.0)

    def at(self, lens: np.ndarray) -> NormalisedObservation:
        """Return the observation with another lens, given by its free parameters, (f,)."""
        return self.behind(self.support.expand(np.asarray(lens)[None])[0])

    def behind(self, lens: np.ndarray) -> NormalisedObservation:
        """Return the observation with another lens, (p,)."""
        return replace(self.observation, lens=np.asarray(lens, "float32")[None])

    def with_noise(self, factor: float) -> "LensPosterior":
        """Return the posterior of the same image if its noise were larger by a factor."""
        other = copy.copy(self)
        other.observation = replace(self.observation, noise=self.observation.noise * factor)
        other.evaluations = 0
        return other

    def tempered(self, temperature: float) -> "LensPosterior":
        """Return the posterior whose log-likelihood is divided by a temperature.

        Of a Gaussian all widths grow by the temperature's square root. It is for what the
        likelihood does not know: the error of the RIM's source, or that galaxies are no draw from
        the linear inversion's prior. By how much is measured on mocks like the data, such that
        intervals hold the truth as often as they say (Syring & Martin 2019).

        Raises:
            ValueError: `temperature` is less than 1, or not finite.
        """
        other = copy.copy(self)
        other.temperature, other.evaluations = check_temperature(temperature), 0
        return other

    def held_at(self, lens: np.ndarray) -> "LensPosterior":
        """Return the posterior for a chain that starts at this lens, (f,): here, the same."""
        return self

    def _checked(self, lenses: np.ndarray) -> np.ndarray:
        lenses, wanted = np.asarray(lenses, "float64"), len(self.support.lower)
        if lenses.ndim != 2 or lenses.shape[1] != wanted or not np.all(np.isfinite(lenses)):
            raise ValueError(
                f"`lenses` must be finite numbers (k, {wanted}). Received: shape {lenses.shape}, "
                f"{np.sum(~np.isfinite(lenses))} not finite"
            )
        return lenses

    def _batches(self, lenses: np.ndarray) -> Iterator[tuple[NormalisedObservation, int]]:
        """Yield the observation with every lens (k, p), some at a time, and how many to keep."""
        for start in range(0, len(lenses), _BATCHES[-1]):
            part = np.asarray(lenses[start : start + _BATCHES[-1]], "float32")
            size = min(size for size in _BATCHES if size >= len(part))
            rows = np.minimum(np.arange(size), len(part) - 1)
            self.evaluations += len(part)
            yield replace(self.observation[np.zeros(size, int)], lens=part[rows]), len(part)

    @abstractmethod
    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        """Return (k,) for lenses (k, p) inside of the support."""

    def _log_likelihood_and_gradient(self, lenses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (k,) of free parameters (k, f) and, by central differences, (k, f)."""
        shifts = np.diag(self.steps[-1])
        both = np.concatenate([lenses[:, None] + shifts, lenses[:, None] - shifts], axis=1)
        nearest = self.support.nearest(both.reshape(-1, lenses.shape[1])).reshape(both.shape)
        points = np.concatenate([lenses[:, None], nearest], axis=1)
        values = self._log_likelihood(self.support.expand(points.reshape(-1, lenses.shape[1])))
        values = values.reshape(len(lenses), -1)
        up, down = np.split(values[:, 1:], 2, axis=1)
        high, low = np.split(nearest, 2, axis=1)
        # At an edge one of the two stays behind.
        width = np.linalg.norm(high - low, axis=-1)
        return values[:, 0], (up - down) / width


class RIMLensPosterior(LensPosterior):
    """-chi^2 / 2 of the RIM's source; arguments as in `LensPosterior`, and the RIM."""

    def __init__(
        self, model: RIMReconstructor, observation: NormalisedObservation, priors: LensPriors
    ):
        """Keep the RIM."""
        super().__init__(observation, priors, model.source_grid.pixel_scale)
        self._model = model

    def residuals(self, lenses: np.ndarray) -> np.ndarray:
        """Return image minus model over noise of the used pixels, (k, pixels).

        Args:
            lenses: (k, f), the free parameters.
        """
        geometry, parts = self._model.geometry, []
        used = self.observation.mask[0]
        for part, count in self._batches(self.support.expand(lenses)):
            rays = part.deflections(geometry.image_grid, geometry.supersampling)
            model = self._model.forward_model(rays, part.psf)
            predicted = ops.convert_to_numpy(model.predict(self._model.run(part)[:, -1]))
            residual = (part.image - predicted)[:, used].astype("float64") / part.noise[:, used]
            parts.append(residual[:count])
        return np.concatenate(parts)

    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        answers = [
            self._model.log_likelihood(part)[:count] for part, count in self._batches(lenses)
        ]
        return np.concatenate(answers).astype("float64")

    def _log_likelihood_and_gradient(self, lenses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = [
            [each[:count] for each in self._model.log_likelihood_and_gradient(part)]
            for part, count in self._batches(self.support.expand(lenses))
        ]
        values, slopes = (np.concatenate(each) for each in zip(*answers, strict=True))
        return values.astype("float64"), self.support.reduce(slopes.astype("float64"))


class RefinedLensPosterior(LensPosterior):
    """The likelihood of a RIM's source, integrated over what may be wrong with it.

    A RIM's source is one estimate. Its own error is that of `refinement`, a Gaussian field of a
    fraction of its brightness, and the likelihood of a lens integrates over it. The fraction is
    found at one lens, see `held_at`, by default the first that is asked for, and then held. It
    costs five to ten times the RIM. The gradient is by central differences. Arguments are those of
    `RIMLensPosterior`.
    """

    def __init__(
        self, model: RIMReconstructor, observation: NormalisedObservation, priors: LensPriors
    ):
        """Keep the RIM."""
        super().__init__(observation, priors, model.source_grid.pixel_scale)
        self._model, self._strength = model, None

    def held_at(self, lens: np.ndarray) -> "RefinedLensPosterior":
        """Return the posterior with the fraction of the largest evidence at this lens, (f,).

        One that holds a fraction already keeps it.
        """
        if self._strength is not None:
            return self
        other = copy.copy(self)
        system, source = next(self._systems(self.support.expand(np.asarray(lens)[None])))
        other._strength = best_strength(system, source)
        return other

    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        if self._strength is None:
            self._strength = self.held_at(self.support.select(lenses[:1])[0])._strength
        return np.array(
            [log_marginal_likelihood(*one, self._strength) for one in self._systems(lenses)]
        )

    def _systems(self, lenses: np.ndarray) -> Iterator[tuple[LinearSystem, np.ndarray]]:
        """Yield the linear system of every lens, and the RIM's source behind it."""
        seen, system = self.observation, None
        for part, count in self._batches(lenses):
            sources = self._model.run(part)[:count, -1]
            geometry = self._model.geometry
            matrices = lensing_matrices(part.lens, geometry, form=part.form)[:count]
            for lensing, source in zip(matrices, sources, strict=True):
                if system is None:
                    system = LinearSystem(lensing, seen.psf[0], seen.image[0], seen.noise[0])
                yield system.with_lensing(lensing), source


class LinearLensPosterior(LensPosterior):
    """The log evidence of the linear inversion; arguments as in `LensPosterior`, and the inversion.

    Where the inversion has no strength of its own, every lens is judged at the strength of its own
    largest evidence. A lens for which a strength that is held is too weak for double precision has
    no evidence: -inf. The gradient is by central differences. A matrix-free engine's evidence is
    too rough for a posterior, and is warned of (UserWarning).
    """

    def __init__(
        self, inversion: SemilinearInversion, observation: NormalisedObservation, priors: LensPriors
    ):
        """Keep the inversion."""
        if inversion.engine != "exact":
            warnings.warn(
                "The log evidence of the matrix-free engine is known to some units, at little "
                "noise to tens, and the posterior of a lens is about one unit wide: expect rough "
                "optima, and no trustworthy chain. engine='exact' is right to the last digit, and "
                "takes seconds a lens from 96 source pixels a side on.",
                UserWarning,
                stacklevel=4,
            )
        super().__init__(observation, priors, inversion.geometry.source_pixel_scale)
        self._inversion, self._system = inversion, None

    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        seen, values = self.observation, []
        for part, count in self._batches(lenses):
            geometry = self._inversion.geometry
            for lensing in lensing_matrices(part.lens, geometry, form=part.form)[:count]:
                if self._system is None:
                    self._system = LinearSystem(lensing, seen.psf[0], seen.image[0], seen.noise[0])
                values.append(self._log_evidence(self._system.with_lensing(lensing)))
        return np.array(values)

    def with_noise(self, factor: float) -> "LinearLensPosterior":
        """See `LensPosterior.with_noise`."""
        other = super().with_noise(factor)
        other._system = None
        return other

    def _log_evidence(self, system: LinearSystem) -> float:
        engine = ENGINES[self._inversion.engine](system, self._inversion.regularization)
        if self._inversion.strength is not None:
            # The user's is in the image's own unit.
            strength = self._inversion.strength * float(self.observation.flux_unit[0]) ** 2
            try:
                return log_evidence(engine, engine.held_terms(strength))[0]
            except np.linalg.LinAlgError:
                return -np.inf
        try:
            strength = maximise_evidence(engine)
        except NoMaximumError:
            # A lens that leads no data to the source: the evidence is that of no source.
            constants = system.n_data * np.log(2 * np.pi) / 2 + system.log_noise
            return float(-0.5 * system.data @ system.data - constants)
        return log_evidence(engine, engine.terms(strength))[0]


def lens_posterior(
    source_model: SourceModel,
    observation: NormalisedObservation,
    priors: LensPriors | Priors | Mapping | None = None,
    marginal: bool = False,
) -> LensPosterior:
    """Return the posterior of an observation's lens, of the form that its `lens` has.

    Args:
        source_model: A RIM, or a linear inversion.
        observation: One system.
        priors: See `LensPriors`; the ranges are by default those that the RIM was trained on, or
            `Priors()`.
        marginal: Of a refined RIM, integrate over the error of its source.

    Raises:
        ValueError: More than one system.
        TypeError: `source_model` is neither.
    """
    if isinstance(source_model, RIMReconstructor):
        kind, default = RIMLensPosterior, source_model.priors
        if marginal and source_model.refines:
            kind = RefinedLensPosterior
    elif isinstance(source_model, SemilinearInversion):
        kind, default = LinearLensPosterior, Priors()
    else:
        raise TypeError(
            "`source_model` must be a RIMReconstructor (load_pretrained) or a SemilinearInversion. "
            f"Received: {type(source_model).__name__}"
        )
    return kind(source_model, observation, as_lens_priors(priors, default))
