"""How well a lens is known, and how far a maximum is: the curvature of its log-posterior."""

import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior


def gauss_newton_covariance(posterior: LensPosterior, lens: np.ndarray) -> np.ndarray:
    """Return T (J'J)^-1 at a lens (f,), J the residuals' derivatives, T the temperature.

    Of the free parameters, (f, f). The priors' widths bound it. The posterior must be one that is
    `least_squares`.

    The differences are the posterior's widest, which see past the kinks.
    """
    return covariance_and_gain(posterior, lens)[0]


def covariance_and_gain(posterior: LensPosterior, lens: np.ndarray) -> tuple[np.ndarray, float]:
    """Return `gauss_newton_covariance` C, and by how much the maximum is higher than here.

    Of a quadratic log-posterior with the slope g that is g'C g / 2.

    Args:
        posterior: One that is `least_squares`.
        lens: Free parameters, (f,).
    """
    support, widths = posterior.support, posterior.steps[0]
    shifts = np.diag(widths)
    both = support.nearest(np.concatenate([lens + shifts, lens - shifts]))
    up, down = np.split(posterior.residuals(both) / np.sqrt(posterior.temperature), 2)
    reach = np.linalg.norm(np.subtract(*np.split(both, 2)), axis=1)
    jacobian = (up - down) / reach[:, None]
    known = 1 / (support.upper - support.lower) ** 2
    for i, distribution in support.distributions:
        known[i] = 1 / distribution.var()
    covariance = np.linalg.inv(jacobian @ jacobian.T + np.diag(known))
    slope = -0.5 * np.sum(up**2 - down**2, axis=1) / reach
    slope += support.log_prior_gradient(lens[None])[0]
    return covariance, float(0.5 * slope @ covariance @ slope)
