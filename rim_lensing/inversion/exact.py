"""The exact engine: sparse or dense Cholesky factors (Warren & Dye 2003; Suyu et al. 2006)."""

import numpy as np
from numpy.polynomial import Chebyshev

from rim_lensing.inversion.evidence import EvidenceTerms, SearchTerms, check_strength
from rim_lensing.inversion.factorisation import factorisation, inverse_diagonal
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import regularization_matrix

_PANEL_WIDTH, _PANEL_NODES = np.log(10.0), 12


class ExactEngine:
    """Posterior mean, evidence and pixel errors to round-off.

    log det A, chi^2 and s'Rs are functions of log lambda that are analytic up to +-i pi off the
    real axis (where lambda meets a negative eigenvalue), so that values at twelve Chebyshev nodes
    fix each of them over a decade to about 1e-9 of its size, and the derivative too: lambda tr(A^-1
    R) = d log det A / d log lambda, where the trace itself needs a full inverse. `terms` makes such
    a panel when it is first asked for a strength of that decade: twelve factorisations serve the
    whole search for the best strength.

    Args:
        system: The data, the lens and the PSF.
        regularization: One of REGULARIZATIONS.
    """

    def __init__(self, system: LinearSystem, regularization: str):
        """Form F and f' d, and find the ordering of the factorisation."""
        self.system, self.regularization = system, regularization
        self._projection = system.projection()
        self._prior = regularization_matrix(regularization, system.source_side)
        self._fisher = system.fisher()
        self._factor = factorisation(self._fisher, self._prior)
        self._panels: dict[int, tuple[Chebyshev, ...]] = {}
        self._first: float | None = None
        self._factorised: float | None = None

    def mean(self, strength: float) -> np.ndarray:
        """Return the most probable source, (n^2,).

        Raises:
            ValueError: The strength is not a positive number.
            numpy.linalg.LinAlgError: A is not positive definite to double precision.
        """
        self._factorise(strength)
        return self._factor.solve(self._projection)

    def covariance(self, strength: float, weights: np.ndarray) -> np.ndarray:
        """Return W A^-1 W', (k, k), for W (k, n^2); raises as `mean`."""
        self._factorise(strength)
        return weights @ np.stack([self._factor.solve(row) for row in weights], axis=1)

    def _factorise(self, strength: float) -> None:
        """Factorise A, unless it was A at this strength that came last."""
        check_strength(strength)
        if strength != self._factorised:
            self._factorised = None
            self._factor.factorise(strength)
            self._factorised = strength

    def held_terms(self, strength: float) -> EvidenceTerms:
        """Return what the evidence is made of, from one factorisation; raises as `mean`."""
        log_det, chi2, prior_norm = self._values(strength)
        return EvidenceTerms(strength, float(chi2), float(prior_norm), log_det, log_det_error=0.0)

    def terms(self, strength: float) -> SearchTerms:
        """Return what the evidence is made of; raises as `mean`."""
        check_strength(strength)
        here = np.log(strength)
        if self._first is None:
            self._first = here
        decade = round((here - self._first) / _PANEL_WIDTH)
        if decade not in self._panels:
            self._panels[decade] = self._panel(self._first + decade * _PANEL_WIDTH)
        log_det, chi2, prior_norm, free_parameters = (
            float(function(here)) for function in self._panels[decade]
        )
        return SearchTerms(
            strength=strength,
            chi2=chi2,
            prior_norm=prior_norm,
            log_det=log_det,
            log_det_error=0.0,
            effective_parameters=len(self._projection) - free_parameters,
            effective_parameters_error=0.0,
        )

    def standard_deviation(self, strength: float) -> np.ndarray:
        """Return the square root of the diagonal of A^-1, (n^2,); raises as `mean`."""
        check_strength(strength)
        return np.sqrt(inverse_diagonal(self._fisher, self._prior, strength))

    def _panel(self, centre: float) -> tuple[Chebyshev, ...]:
        """Return log det A, chi^2, s'Rs and lambda tr(A^-1 R) as functions of log lambda."""
        nodes = Chebyshev.basis(_PANEL_NODES).roots()
        domain = centre + 0.5 * _PANEL_WIDTH * np.array([-1.0, 1.0])
        log_strengths = centre + 0.5 * _PANEL_WIDTH * nodes
        values = np.transpose([self._values(strength) for strength in np.exp(log_strengths)])
        # As many nodes as coefficients: the fit is the interpolant.
        log_det, chi2, prior_norm = (
            Chebyshev.fit(log_strengths, value, _PANEL_NODES - 1, domain) for value in values
        )
        return log_det, chi2, prior_norm, log_det.deriv()

    def _values(self, strength: float) -> tuple[float, float, float]:
        """Return log det A, chi^2 and s'Rs."""
        mean = self.mean(strength)
        chi2 = self.system.chi2(mean)
        return self._factor.log_det(), chi2, mean @ (self._prior @ mean)
