"""The matrix-free engine: sources of 192 x 192 pixels and more, whatever the width of the PSF.

A = F + lambda R is never formed. The posterior mean comes from conjugate gradients; their
preconditioner is the diagonal of A without the PSF, L'D L + lambda R, with D the diagonal of W'W.
The evidence comes from Lanczos runs on F in the modes of the prior, K = R^-1/2 F R^-1/2, where
lambda is a mere shift: one run per probe serves every strength.
What else was tried, and the figures: benchmarks/README.md, Matrix-free.
"""

import warnings

import numpy as np
from tqdm.auto import tqdm

from rim_lensing.inversion.conjugate_gradients import conjugate_gradients
from rim_lensing.inversion.evidence import SearchTerms, check_strength
from rim_lensing.inversion.lanczos import LanczosQuadrature
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import (
    log_det_regularization,
    regularization_matrix,
    regularization_modes,
)
from rim_lensing.lensing.symmetries import restore_image

MEAN_TOLERANCE = 0.01
"""Each pixel of `mean` is about this near to the solution, in its own standard deviations."""

_SAMPLE_TOLERANCE = 0.01
_VARIANCE_TOLERANCE = 0.1
_FIRST_STEPS, _GROWTH = 50, 1.25
_EFFECTIVE_ACCURACY, _DATA_ACCURACY = 0.01, 0.1
_BAR_DELAY = 2.0


class MatrixFreeEngine:
    """Posterior mean, evidence and pixel errors without a matrix of n^2 x n^2.

    log det A and the number of effective parameters are traces of functions of K: the mean over
    random signs z of z' f(K) z (Hutchinson 1990; Ubaru, Chen & Saad 2017). Their stated errors hold
    the scatter over the probes and the width of the bracket that the finite Lanczos runs leave. The
    probes are drawn once, so that the evidence is a smooth function of the strength, and the same
    for systems that differ in the lens alone: their errors are common to a large part. They turn
    with the image: one system and its mirror image have the same evidence, errors and all.

    Args:
        system: The data, the lens and the PSF.
        regularization: One of REGULARIZATIONS.
        probes: Number of random vectors; the errors fall as one over its root.
        samples: Draws from the posterior for `standard_deviation`.
        max_iterations: Of conjugate gradients, and Lanczos steps of one vector.
        seed: The same seed gives the same answers.

    Attributes:
        standard_deviation_error: Standard error of each pixel of `standard_deviation`, as a
            fraction of it: (2 samples)^-1/2.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        system: LinearSystem,
        regularization: str,
        probes: int = 8,
        samples: int = 100,
        max_iterations: int = 3000,
        seed: int = 0,
    ):
        """Draw the probes; no product with F yet."""
        _check_count("probes", probes, least=2)
        _check_count("samples", samples, least=1)
        _check_count("max_iterations", max_iterations, least=1)
        self.system, self.regularization = system, regularization
        self.samples, self.max_iterations, self.seed = samples, max_iterations, seed
        self.standard_deviation_error = (2 * samples) ** -0.5
        side = system.source_side
        self._modes, eigenvalues = regularization_modes(regularization, side)
        self._prior_scale = 1 / np.sqrt(eigenvalues)
        self._prior = regularization_matrix(regularization, side)
        self._log_det_prior = log_det_regularization(regularization, side)
        self._diagonal = system.diagonal()
        self._projection = system.projection()
        self._data_run = LanczosQuadrature(self._whitened, self._to_modes(self._projection))
        # Signs in the modes of the prior: K is nearer to diagonal there than among pixels.
        generator = np.random.default_rng(seed)
        self._probe_runs = [
            LanczosQuadrature(self._whitened, self._turned(generator.choice([-1.0, 1.0], side**2)))
            for _ in range(probes)
        ]
        self._terms: dict[float, SearchTerms] = {}

    def mean(self, strength: float) -> np.ndarray:
        """Return the most probable source A^-1 f' d, (n^2,), to MEAN_TOLERANCE.

        Raises:
            ValueError: The strength is not a positive number.
            RuntimeError: Conjugate gradients do not converge.
        """
        return self._solver(strength)(self._projection, MEAN_TOLERANCE)

    def terms(self, strength: float) -> SearchTerms:
        """Return what the evidence is made of; the same strength always gives the same answer.

        The runs grow until their brackets are narrower than the scatter over the probes. A smaller
        strength takes longer runs; what has been done is kept for the next strength.

        Warns:
            UserWarning: `max_iterations` steps leave a bracket wider than that.

        Raises:
            ValueError: The strength is not a positive number.
        """
        check_strength(strength)
        if strength not in self._terms:
            self._terms[strength] = self._evaluate(strength)
        return self._terms[strength]

    def held_terms(self, strength: float) -> SearchTerms:
        """Return `terms`: the runs that give log det A give the effective parameters, too."""
        return self.terms(strength)

    def strength_error(self, strength: float) -> float:
        """Return the standard error of log(strength), at the strength of the largest evidence.

        That strength solves lambda s'Rs = effective parameters: the error of the right side, over
        the derivative of the difference with respect to log lambda.
        """
        terms = self.terms(strength)
        rise = np.mean(
            [run.bracket(lambda x: strength * x / (x + strength) ** 2) for run in self._probe_runs]
        )
        rise += self._data_run.bracket(lambda x: strength * (x - strength) / (x + strength) ** 3)[0]
        return float(terms.effective_parameters_error / abs(rise))

    def standard_deviation(self, strength: float) -> np.ndarray:
        """Return the standard deviation of each source pixel, (n^2,).

        It is the rms of draws from the posterior without its mean, A^-1 (f' e1 + (lambda R)^1/2 e2)
        with white noise e1 and e2, whose covariance is A^-1. Each pixel's relative standard error
        is `standard_deviation_error`. Raises as `mean`.
        """
        solve = self._solver(strength)
        generator = np.random.default_rng([self.seed, 1])
        system, side = self.system, self.system.source_side
        tolerance = _SAMPLE_TOLERANCE * side
        squares = np.zeros_like(self._projection)
        for _ in tqdm(range(self.samples), "posterior draws", leave=False, delay=_BAR_DELAY):
            noise = system.projected_noise(generator)
            modes = self._turned(generator.standard_normal(side**2)).reshape(side, side)
            rough = self._modes @ (modes / self._prior_scale) @ self._modes.T
            squares += solve(noise + np.sqrt(strength) * rough.ravel(), tolerance) ** 2
        return np.sqrt(squares / self.samples)

    def covariance(self, strength: float, weights: np.ndarray) -> np.ndarray:
        """Return W A^-1 W', (k, k), for W (k, n^2), by a solve for each row; raises as `mean`.

        Conjugate gradients that end |x - x_k|_A from x = A^-1 w leave w'x_k short of the variance
        w'A^-1 w by the square of that. They end at a tenth of a standard deviation that is no more
        than the true one, (w'y)^2 / (y'A y) for any y (Cauchy and Schwarz): 1% of the variance.
        """
        solve, product = self._solver(strength), self._product(strength)
        diagonal = self._diagonal + strength * self._prior.diagonal()
        columns = []
        for row in weights:
            guess = row / diagonal
            norm = guess @ product(guess)
            least = abs(row @ guess) / np.sqrt(norm) if norm > 0 else 0.0
            columns.append(solve(row, _VARIANCE_TOLERANCE * least))
        found = weights @ np.stack(columns, axis=1)
        return 0.5 * (found + found.T)

    def _product(self, strength: float):
        """Return s to A s."""
        prior = strength * self._prior
        return lambda source: self.system.normal(source) + prior @ source

    def _solver(self, strength: float):
        """Return (b, tolerance) to A^-1 b."""
        check_strength(strength)
        product = self._product(strength)
        diagonal = self._diagonal + strength * self._prior.diagonal()

        def solve(right_side, tolerance):
            return conjugate_gradients(
                product, right_side, lambda b: b / diagonal, tolerance, self.max_iterations
            )

        return solve

    def _evaluate(self, strength: float) -> SearchTerms:
        log_det, effective = self._brackets(
            self._probe_runs,
            (lambda x: np.log1p(x / strength), lambda x: x / (x + strength)),
            _probe_limits,
        )
        # d'f s and lambda s'Rs, by the one run from f' d: its length costs little.
        fitted, roughness = self._brackets(
            [self._data_run],
            (lambda x: 1 / (x + strength), lambda x: strength / (x + strength) ** 2),
            lambda _: _DATA_ACCURACY * _probe_limits([log_det, effective]),
        )
        strength_prior = len(self._projection) * np.log(strength) + self._log_det_prior
        return SearchTerms(
            strength=strength,
            chi2=float(self.system.square() - fitted.mean() - roughness.mean()),
            prior_norm=float(roughness.mean() / strength),
            log_det=float(log_det.mean() + strength_prior),
            log_det_error=_error(log_det),
            effective_parameters=float(effective.mean()),
            effective_parameters_error=_error(effective),
        )

    def _brackets(self, runs, functions, limits) -> list[np.ndarray]:
        """Lengthen the runs until the mean brackets of the functions are narrow enough.

        Args:
            runs: `LanczosQuadrature`s.
            functions: Of the eigenvalues of K.
            limits: From the brackets to the half-width allowed to each.

        Returns:
            For each function, (runs, 2).
        """
        done = max(map(len, runs))
        with tqdm(desc="Lanczos steps", leave=False, delay=_BAR_DELAY) as bar:
            while True:
                if done:
                    brackets = [np.array([run.bracket(f) for run in runs]) for f in functions]
                    widths = np.array([_half_width(bracket) for bracket in brackets])
                    if np.all(widths <= limits(brackets)):
                        return brackets
                if done == self.max_iterations:
                    warnings.warn(
                        f"After {done} Lanczos steps the terms of the evidence are less certain "
                        f"than their scatter, by up to {widths.max():.3g}. At a larger strength "
                        "they are better known.",
                        UserWarning,
                        stacklevel=4,
                    )
                    return brackets
                steps = max(_FIRST_STEPS, round(_GROWTH * done)) - done
                done = min(done + steps, self.max_iterations)
                for run in runs:
                    run.extend(done - len(run))
                    bar.update(steps)

    def _whitened(self, modes: np.ndarray) -> np.ndarray:
        """Return K x = R^-1/2 F R^-1/2 x in the modes of the prior, (n^2,)."""
        side = self.system.source_side
        spectrum = self._prior_scale * modes.reshape(side, side)
        source = (self._modes @ spectrum @ self._modes.T).ravel()
        return self._to_modes(self.system.normal(source))

    def _turned(self, modes: np.ndarray) -> np.ndarray:
        """Return a random vector (n^2,) in the modes of the prior, turned as the image lies."""
        side = self.system.source_side
        source = self._modes @ modes.reshape(side, side) @ self._modes.T
        turned = restore_image(source, self.system.orientation)
        return (self._modes.T @ turned @ self._modes).ravel()

    def _to_modes(self, source: np.ndarray) -> np.ndarray:
        """Return R^-1/2 s in the modes of the prior, (n^2,)."""
        side = self.system.source_side
        spectrum = self._modes.T @ source.reshape(side, side) @ self._modes
        return (self._prior_scale * spectrum).ravel()


def _scatter(brackets: np.ndarray) -> float:
    """Return the standard error of the mean over the runs, of brackets (runs, 2)."""
    return float(brackets.mean(axis=1).std(ddof=1) / np.sqrt(len(brackets)))


def _probe_limits(brackets: list[np.ndarray]) -> np.ndarray:
    """Return what suffices for log det A and effective parameters: their scatter, 1% of these.

    The strength follows the effective parameters: a percent of them moves it by about a percent.
    """
    log_det, effective = brackets
    enough = _EFFECTIVE_ACCURACY * effective.mean()
    return np.array([_scatter(log_det), max(_scatter(effective), enough)])


def _half_width(brackets: np.ndarray) -> float:
    """Return half the distance between the mean Gauss and the mean Radau value."""
    return float(abs(np.diff(brackets.mean(axis=0))[0]) / 2)


def _error(brackets: np.ndarray) -> float:
    """Return the scatter, and the rms of a number that lies anywhere in the mean bracket."""
    return float(np.hypot(_scatter(brackets), _half_width(brackets) / np.sqrt(3)))


def _check_count(name: str, value: int, least: int) -> None:
    if int(value) != value or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {value}")
