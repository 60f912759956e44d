"""Linear amplitudes of light profiles: none is negative, but that of the sky may be."""

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

_RIDGE = 1e-10
"""Of the normal equations' diagonal: profiles that are hardly different are no failure."""


@dataclass(frozen=True)
class NormalEquations:
    """What least squares need to know of columns and data: sums may be added up by patch.

    Args:
        matrix: Weighted products of columns with each other, (n, n).
        right: Weighted products of columns with the data, (n,).
        data: Weighted sum of the data's squares.
    """

    matrix: np.ndarray
    right: np.ndarray
    data: float

    @classmethod
    def of(cls, columns: np.ndarray, data: np.ndarray, weight: np.ndarray) -> "NormalEquations":
        """Return those of columns (n, ...) and data (...), weighted by 1 / sigma^2 (...)."""
        flat, weight = columns.reshape(len(columns), -1), weight.ravel()
        weighted = flat * weight
        return cls(
            weighted @ flat.T,
            weighted @ data.ravel(),
            float(weight @ data.ravel().astype(float) ** 2),
        )

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        """Return those of both data sets together."""
        return NormalEquations(
            self.matrix + other.matrix, self.right + other.right, self.data + other.data
        )

    def solve(self, free: int = 0) -> np.ndarray:
        """Return the amplitudes of least chi^2, (n,).

        Args:
            free: Of the last so many columns the amplitude may have any sign; at most 1.
        """
        matrix, right = self.matrix, self.right
        amplitudes = np.zeros(len(right))
        n = len(right) - free
        if free:
            # The sky is eliminated, which leaves the problem of the others without it.
            across, own = matrix[:n, n], matrix[n, n]
            own = own if own > 0 else 1.0
            right = right[:n] - across * (self.right[n] / own)
            matrix = matrix[:n, :n] - np.outer(across, across) / own
        amplitudes[:n] = _non_negative(matrix, right)
        if free:
            amplitudes[n] = (self.right[n] - across @ amplitudes[:n]) / own
        return amplitudes

    def chi2(self, amplitudes: np.ndarray) -> float:
        """Return the weighted sum of squares that amplitudes leave."""
        return float(
            self.data - 2 * self.right @ amplitudes + amplitudes @ self.matrix @ amplitudes
        )

    def covariance(self, amplitudes: np.ndarray, free: int = 0) -> np.ndarray:
        """Return that of the amplitudes which are not held at 0; 0 for these, (n, n)."""
        active = np.flatnonzero(amplitudes > 0)
        if free:
            active = np.union1d(active, len(amplitudes) - 1)
        covariance = np.zeros_like(self.matrix)
        part = self.matrix[np.ix_(active, active)]
        scale = np.sqrt(np.where(part.diagonal() > 0, part.diagonal(), 1))
        scaled = part / np.outer(scale, scale) + _RIDGE * np.eye(len(active))
        covariance[np.ix_(active, active)] = np.linalg.inv(scaled) / np.outer(scale, scale)
        return covariance


def sum_of(equations: Iterable[NormalEquations]) -> NormalEquations:
    """Return those of several data sets together."""
    return functools.reduce(operator.add, equations)


def _non_negative(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the amplitudes >= 0 of least x' matrix x - 2 right' x."""
    scale = np.sqrt(np.maximum(matrix.diagonal(), 0))
    scale = np.where(scale > 0, scale, np.inf)
    upper = cholesky(matrix / np.outer(scale, scale) + _RIDGE * np.eye(len(scale)))
    solution, _ = nnls(upper, solve_triangular(upper, right / scale, trans="T"))
    return solution / scale
