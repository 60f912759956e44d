"""How well a lens is known, and how far a maximum is: the curvature of its log-posterior."""

from dataclasses import dataclass

import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior
from rim_lensing.lens_fit.lens_support import LensSupport


@dataclass(frozen=True)
class LensCurvature:
    """A log-posterior around a lens as a quadratic function of its free parameters.

    Args:
        information: J'J, J the derivatives of the residuals, (f, f).
        known: What priors know of each parameter, as inverse variances, (f,).
        slope: Of the log-posterior, (f,).
    """

    information: np.ndarray
    known: np.ndarray
    slope: np.ndarray

    def covariance(self, temperature: float = 1.0) -> np.ndarray:
        """Return (J'J / T + known)^-1, (f, f).

        Args:
            temperature: By what the log-likelihood is divided.
        """
        return np.linalg.inv(self.information / temperature + np.diag(self.known))

    @property
    def gain(self) -> float:
        """By how much the quadratic function is higher at its maximum: g'C g / 2, g the slope."""
        return float(0.5 * self.slope @ self.covariance() @ self.slope)


def lens_curvature(posterior: LensPosterior, lens: np.ndarray) -> LensCurvature:
    """Return the curvature at a lens (f,) of a posterior that is `least_squares` (Gauss-Newton).

    The differences are the posterior's widest, which see past the kinks.
    """
    support, widths = posterior.support, posterior.steps[0]
    shifts = np.diag(widths)
    both = support.nearest(np.concatenate([lens + shifts, lens - shifts]))
    up, down = np.split(posterior.residuals(both) / np.sqrt(posterior.temperature), 2)
    reach = np.linalg.norm(np.subtract(*np.split(both, 2)), axis=1)
    jacobian = (up - down) / reach[:, None]
    slope = -0.5 * np.sum(up**2 - down**2, axis=1) / reach
    slope += support.log_prior_gradient(lens[None])[0]
    return LensCurvature(jacobian @ jacobian.T, known_by_priors(support), slope)


def gauss_newton_covariance(posterior: LensPosterior, lens: np.ndarray) -> np.ndarray:
    """Return the covariance of the free parameters (f, f) by `lens_curvature` at a lens (f,)."""
    return lens_curvature(posterior, lens).covariance()


def known_by_priors(support: LensSupport) -> np.ndarray:
    """Return what priors know of each free parameter, as inverse variances, (f,).

    Those of the priors that are distributions; of the others, and of those that have no variance,
    as wide as their range, so that one of which the data say nothing stays where it is.
    """
    known = 1 / (support.upper - support.lower) ** 2
    for i, distribution in support.distributions:
        low, high = distribution.ppf([0.16, 0.84])
        variance = getattr(distribution, "var", lambda: np.nan)()
        known[i] = 1 / (variance if np.isfinite(variance) else 0.25 * (high - low) ** 2)
    return known
