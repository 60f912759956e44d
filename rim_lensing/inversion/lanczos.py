"""Quadratic forms z' f(K) z of a large symmetric matrix K, for many functions f from one run.

Golub & Meurant 2010, "Matrices, Moments and Quadrature": k steps of Lanczos from z give a
tridiagonal matrix whose eigenvalues and first eigenvector components are the nodes and weights of
a Gauss rule for the spectral measure of z. K enters by products alone, and every f(x) =
g(x + lambda) comes from the same rule. For a positive semi-definite K a second rule, of Radau's
form with a node at 0, errs to the other side when all even derivatives of f have one sign, as those
of log(x + lambda) and (x + lambda)^-p: the truth lies between the two.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh_tridiagonal

_ROUND_OFF = 1e-14
"""Eigenvalues this far below the largest one cannot be told from 0 in double precision."""


class LanczosQuadrature:
    """Gauss and Gauss-Radau rules for the spectral measure of one vector, longer on request.

    The vectors are not orthogonalised again: that repeats converged nodes and shares their weight
    among the copies, and leaves the sums as they are (Strakos & Greenbaum 1992).

    Args:
        product: x to K x, with K symmetric and positive semi-definite.
        start: z, (size,).
    """

    def __init__(self, product: Callable[[np.ndarray], np.ndarray], start: np.ndarray):
        """Begin with no step done."""
        self._product = product
        self._norm = float(np.linalg.norm(start))
        self._vector = start / self._norm if self._norm else start
        self._previous = np.zeros_like(start)
        self._diagonal: list[float] = []
        self._off_diagonal: list[float] = []
        self._rules: tuple[tuple[np.ndarray, np.ndarray], ...] | None = None

    def __len__(self) -> int:
        """Number of steps done."""
        return len(self._diagonal)

    @property
    def exhausted(self) -> bool:
        """The vectors span an invariant subspace: the Gauss rule is exact."""
        if not self._norm:
            return True
        scale = max(self._diagonal, default=0.0)
        return bool(self._diagonal) and self._off_diagonal[-1] <= _ROUND_OFF * scale

    def extend(self, steps: int) -> None:
        """Do up to `steps` more steps."""
        self._rules = None
        for _ in range(steps):
            if self.exhausted:
                return
            residual = self._product(self._vector)
            if self._off_diagonal:
                residual -= self._off_diagonal[-1] * self._previous
            projection = float(self._vector @ residual)
            residual -= projection * self._vector
            norm = float(np.linalg.norm(residual))
            # Both lists grow together: an interrupt between steps leaves a valid run.
            self._previous, self._vector = self._vector, residual / norm if norm else residual
            self._diagonal.append(projection)
            self._off_diagonal.append(norm)

    def bracket(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return z' f(K) z by the Gauss and by the Radau rule, (2,); equal where exhausted."""
        if not self._norm:
            return np.zeros(2)
        if self._rules is None:
            gauss = self._rule(np.array(self._diagonal))
            radau = gauss if self.exhausted else self._rule(self._radau_diagonal())
            self._rules = gauss, radau
        return np.array([weights @ function(nodes) for nodes, weights in self._rules])

    def _rule(self, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nodes, vectors = eigh_tridiagonal(diagonal, np.array(self._off_diagonal[:-1]))
        return np.maximum(nodes, 0.0), (self._norm * vectors[0]) ** 2

    def _radau_diagonal(self) -> np.ndarray:
        """Return the diagonal with its last entry such that the smallest eigenvalue is 0."""
        diagonal = np.array(self._diagonal)
        # A hair below 0, so that round-off leaves the pivots positive.
        shift = _ROUND_OFF * diagonal.max()
        pivot, last = diagonal[0] + shift, 0.0
        for j in range(1, len(diagonal)):
            last = self._off_diagonal[j - 1] ** 2 / max(pivot, shift)
            pivot = diagonal[j] + shift - last
        diagonal[-1] = last - shift
        return diagonal
