"""The Bayesian evidence of a linear inversion and the strength that maximises it.

Suyu et al. 2006 (MNRAS 371, 983), equations 19 and 20, with A = F + strength R.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import brentq

from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import log_det_regularization, regularization_modes

_STEP = np.log(1.5)
_TOLERANCE = 1e-10
_MIN_PARAMETERS = 0.01


def check_strength(strength: float) -> None:
    """Raise ValueError unless a strength is a positive number."""
    if not (np.isfinite(strength) and strength > 0):
        raise ValueError(f"`strength` must be a positive number. Received: {strength}")


@dataclass(frozen=True)
class EvidenceTerms:
    """What the evidence at one strength is made of. The errors of the exact engine are 0.

    Args:
        strength: lambda.
        chi2: |d - f s|^2 of the most probable source s.
        prior_norm: s'Rs, twice the E_S of Suyu et al.
        log_det: log det A.
        log_det_error: Its standard error.
    """

    strength: float
    chi2: float
    prior_norm: float
    log_det: float
    log_det_error: float


@dataclass(frozen=True)
class SearchTerms(EvidenceTerms):
    """`EvidenceTerms`, and what says whether the strength is to grow or to shrink.

    Args:
        effective_parameters: Number of parameters that the data determine, N_s - lambda tr(A^-1 R).
        effective_parameters_error: Its standard error.
    """

    effective_parameters: float
    effective_parameters_error: float


class Engine(Protocol):
    """Inverts one system under one form of the prior, at any strength."""

    system: LinearSystem
    regularization: str

    def mean(self, strength: float) -> np.ndarray:
        """Return the most probable source A^-1 f' d, (n^2,)."""

    def terms(self, strength: float) -> SearchTerms:
        """Return what the evidence is made of; at neighbouring strengths it costs little more."""

    def held_terms(self, strength: float) -> EvidenceTerms:
        """Return what the evidence is made of at a strength that no search goes on from."""

    def standard_deviation(self, strength: float) -> np.ndarray:
        """Return each source pixel's standard deviation, the root of A^-1's diagonal, (n^2,)."""

    def covariance(self, strength: float, weights: np.ndarray) -> np.ndarray:
        """Return W A^-1 W', (k, k), the posterior covariance of sums W s, for W (k, n^2)."""


def log_evidence(engine: Engine, terms: EvidenceTerms) -> tuple[float, float]:
    """Return log P(data | lens, PSF, strength, form of the prior) and its standard error.

    Suyu et al. 2006, equation 19, with every constant. It is the logarithm of a density per unit of
    flux in each used pixel: only differences at the same image, mask and unit mean anything.
    """
    system, strength = engine.system, terms.strength
    value = (
        -0.5 * (terms.chi2 + strength * terms.prior_norm)
        - 0.5 * terms.log_det
        + 0.5 * system.source_side**2 * np.log(strength)
        + 0.5 * log_det_regularization(engine.regularization, system.source_side)
        - 0.5 * system.n_data * np.log(2 * np.pi)
        - system.log_noise
    )
    return float(value), 0.5 * terms.log_det_error


class NoMaximumError(ValueError):
    """The evidence grows up to an infinite strength of the prior."""


def maximise_evidence(engine: Engine) -> float:
    """Return the strength at which the evidence is largest.

    There lambda s'Rs = N_s - lambda tr(A^-1 R) (Suyu et al. 2006, equation 20): the source is as
    rough as the number of parameters that the data determine allows. Towards lambda = 0 the left
    side vanishes and the right one does not, so that the evidence falls. The search climbs from a
    guess to the nearest maximum and then solves this equation to ten digits of log lambda.

    Raises:
        NoMaximumError: The evidence grows until there is less than a hundredth of an effective
            parameter: the lens leads nothing of the data to the source, or the data are noise.
    """

    def slope(log_strength: float) -> float:
        """Twice the derivative of the log evidence with respect to the log of the strength."""
        terms = engine.terms(float(np.exp(log_strength)))
        if terms.effective_parameters < _MIN_PARAMETERS:
            raise NoMaximumError(
                "The evidence has no maximum: it grows until the prior leaves nothing to the data "
                f"(strength {terms.strength:.3g}). No part of the data looks like an image of a "
                "source behind this lens: look at the lens, the noise and the mask, or give "
                "`strength`."
            )
        return terms.effective_parameters - terms.strength * terms.prior_norm

    here = np.log(_guess(engine))
    direction = 1.0 if slope(here) > 0 else -1.0
    there = here + direction * _STEP
    while direction * slope(there) > 0:
        here, there = there, there + direction * _STEP
    return float(np.exp(brentq(slope, here, there, xtol=_TOLERANCE)))


def _guess(engine: Engine) -> float:
    """Return a strength to start from: lambda = effective parameters / s'Rs of a typical galaxy.

    That is a Gaussian as bright as the image and a twelfth of the source grid wide, with a tenth as
    many effective parameters as data.
    """
    system, side = engine.system, engine.system.source_side
    peak = system.peak()
    profile = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side / 12)) ** 2)
    modes, eigenvalues = regularization_modes(engine.regularization, side)
    galaxy = modes.T @ (peak * np.outer(profile, profile)) @ modes
    return 0.1 * system.n_data / np.sum(eigenvalues * galaxy**2)
