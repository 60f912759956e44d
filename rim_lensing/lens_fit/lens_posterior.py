"""How probable a lens is, given an image: the source is what the source model makes of it.

One object for optimisers and samplers (paper section 3, Algorithm 1 and figure 9): many lenses in,
one number each out, the source reconstructed anew for every lens. What goes in are the free
parameters of a `LensSupport`, which is the prior. The likelihood is the source model's own, see
`LensLikelihood`.
"""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rim_lensing.lens_fit.lens_priors import LensPriors, as_lens_priors
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lens_fit.temperature import check_temperature
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.source_model import SourceModel, check_source_model
from rim_lensing.simulation.priors import Priors

STEPS = (0.4, 0.08)
"""For differences, in source pixels: L is bilinear, so chi^2 has kinks at that scale."""


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
        differentiable: Its gradient is exact; of others it is by differences.
        least_squares: It has `residuals`.
    """

    differentiable = least_squares = False

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
        other.observation = self.observation.with_noise(factor)
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


class SourceModelPosterior(LensPosterior):
    """That of a source model's likelihood: the model, and the arguments of `LensPosterior`."""

    def __init__(
        self, source_model: SourceModel, observation: NormalisedObservation, priors: LensPriors
    ):
        """Ask the model for its likelihood."""
        super().__init__(observation, priors, source_model.source_grid.pixel_scale)
        self._source_model = source_model
        self._likelihood = source_model.lens_likelihood(observation)

    @property
    def differentiable(self) -> bool:
        """See `LensLikelihood`."""
        return self._likelihood.differentiable

    @property
    def least_squares(self) -> bool:
        """See `LensLikelihood`."""
        return self._likelihood.least_squares

    @property
    def caveat(self) -> str:
        """See `LensLikelihood`."""
        return self._likelihood.caveat

    def with_noise(self, factor: float) -> "SourceModelPosterior":
        """See `LensPosterior.with_noise`."""
        other = super().with_noise(factor)
        other._likelihood = self._source_model.lens_likelihood(other.observation)
        return other

    def held_at(self, lens: np.ndarray) -> "SourceModelPosterior":
        """Return the posterior for a chain that starts at this lens, (f,).

        See `LensLikelihood.held_at`.
        """
        held = self._likelihood.held_at(self.support.expand(np.asarray(lens)[None])[0])
        if held is self._likelihood:
            return self
        other = copy.copy(self)
        other._likelihood = held
        return other

    def residuals(self, lenses: np.ndarray) -> np.ndarray:
        """Return image minus model over noise of the used pixels, (k, pixels), made white.

        Args:
            lenses: (k, f), the free parameters.
        """
        self.evaluations += len(lenses)
        return self._likelihood.residuals(self.support.expand(lenses))

    def _log_likelihood(self, lenses: np.ndarray) -> np.ndarray:
        self.evaluations += len(lenses)
        return self._likelihood.values(lenses)

    def _log_likelihood_and_gradient(self, lenses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.differentiable:
            return super()._log_likelihood_and_gradient(lenses)
        self.evaluations += len(lenses)
        values, slopes = self._likelihood.values_and_gradients(self.support.expand(lenses))
        return values, self.support.reduce(slopes)


def lens_posterior(
    source_model: SourceModel,
    observation: NormalisedObservation,
    priors: LensPriors | Priors | Mapping | None = None,
) -> LensPosterior:
    """Return the posterior of an observation's lens, of the form that its `lens` has.

    Args:
        source_model: A RIM, a linear inversion, or another; a search climbs the posterior of its
            `search_model`.
        observation: One system.
        priors: See `LensPriors`; the ranges are by default those that the source model was trained
            on, or `Priors()`.

    Raises:
        ValueError: More than one system.
        TypeError: `source_model` is no `SourceModel`.

    Warns:
        UserWarning: The likelihood has a `caveat`.
    """
    check_source_model(source_model)
    priors = as_lens_priors(priors, source_model.priors or Priors())
    posterior = SourceModelPosterior(source_model, observation, priors)
    if posterior.caveat:
        warnings.warn(posterior.caveat, UserWarning, stacklevel=3)
    return posterior
