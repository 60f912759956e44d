"""How well a lens is known: the curvature of its log-posterior."""

import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior


def gauss_newton_covariance(posterior: LensPosterior, lens: np.ndarray) -> np.ndarray:
    """Return T (J'J)^-1 at a lens (f,), J the residuals' derivatives, T the temperature.

    Of the free parameters, (f, f). The priors' widths bound it. The posterior must be one that is
    `least_squares`.

    The differences are the posterior's widest, which see past the kinks.
    """
    support, widths = posterior.support, posterior.steps[0]
    shifts = np.diag(widths)
    both = support.nearest(np.concatenate([lens + shifts, lens - shifts]))
    up, down = np.split(posterior.residuals(both), 2)
    reach = np.linalg.norm(np.subtract(*np.split(both, 2)), axis=1)
    jacobian = (up - down) / reach[:, None] / np.sqrt(posterior.temperature)
    known = 1 / (support.upper - support.lower) ** 2
    for i, distribution in support.distributions:
        known[i] = 1 / distribution.var()
    return np.linalg.inv(jacobian @ jacobian.T + np.diag(known))
