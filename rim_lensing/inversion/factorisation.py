"""Cholesky factors of A = F + strength R, for one F and R and many strengths.

`SparseCholesky` is CHOLMOD as cvxopt ships it, the fastest of what installs from the package index
(benchmarks/README.md, Factorisations). cvxopt is under the GPL, so it is an extra of this package
(`pip install rim_lensing[sparse]`) and not a requirement; `DenseCholesky` is LAPACK.
"""

import importlib.util

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix, issparse, triu

_NOT_POSITIVE_DEFINITE = (
    "A = F + strength R is not positive definite to double precision at strength={strength:.4g}: "
    "the data leave a part of the source free, and the prior is too weak to fix it. Give a larger "
    "strength (or None: it is found), a source grid with fewer pixels, or the zeroth-order prior, "
    "whose R is the best conditioned."
)


def factorisation(fisher: csr_matrix | np.ndarray, regularization: csr_matrix):
    """Return the fastest installed factorisation of F + strength R.

    CHOLMOD if there is cvxopt, and F is sparse.
    """
    sparse = issparse(fisher) and importlib.util.find_spec("cvxopt")
    kind = SparseCholesky if sparse else DenseCholesky
    return kind(fisher, regularization)


def inverse_diagonal(fisher, regularization, strength: float) -> np.ndarray:
    """Return the diagonal of A^-1, (n^2,), with LAPACK: L^-1 is dense, however sparse L is.

    Raises:
        numpy.linalg.LinAlgError: A is not positive definite to double precision.
    """
    inverse, _ = lapack.dtrtri(_dense_factor(fisher, regularization, strength), lower=1)
    return np.einsum("ij,ij->j", inverse, inverse)


class DenseCholesky:
    """Dense factors with LAPACK: 8 n^4 bytes for n^2 source pixels, and n^6 / 3 operations each.

    Args:
        fisher: F, (n^2, n^2), symmetric, sparse or an array.
        regularization: R, sparse, positive definite.
    """

    def __init__(self, fisher, regularization):
        """Keep both matrices; the factor is made by `factorise`."""
        self._matrices = fisher, regularization

    def factorise(self, strength: float) -> None:
        """Factorise A; the other methods are about this strength from now on.

        Raises:
            numpy.linalg.LinAlgError: A is not positive definite to double precision.
        """
        fisher, regularization = self._matrices
        self._factor = _dense_factor(fisher, regularization, strength)

    def log_det(self) -> float:
        """Return log det A."""
        return 2 * float(np.sum(np.log(np.diag(self._factor))))

    def solve(self, right_side: np.ndarray) -> np.ndarray:
        """Return A^-1 b, (n^2,)."""
        return lapack.dpotrs(self._factor, right_side, lower=1)[0].ravel()


class SparseCholesky:
    """Supernodal sparse factors with CHOLMOD; the fill-reducing ordering is found once.

    Chen, Davis, Hager & Rajamanickam (2008), ACM Trans. Math. Softw. 35, 22. Arguments and methods
    are those of `DenseCholesky`.
    """

    def __init__(self, fisher, regularization):
        """Bring both matrices to one sparsity pattern and find the ordering.

        Raises:
            ImportError: cvxopt is not installed.
        """
        from cvxopt import cholmod, matrix, spmatrix

        self._cholmod, self._matrix = cholmod, matrix
        self._size = fisher.shape[0]
        # Rows of the upper triangle are columns of the lower one. The complex sum has the pattern
        # of both, and holds both.
        both = triu(csr_matrix(fisher) + 1j * csr_matrix(regularization), format="csr")
        both.sort_indices()
        self._values = both.data.real.copy(), both.data.imag.copy()
        columns = np.repeat(np.arange(self._size), np.diff(both.indptr))
        rows = both.indices.astype(columns.dtype)
        self._a = spmatrix(0.0, matrix(rows), matrix(columns), both.shape)
        # Supernodal LL' for every matrix: `cholmod.diag` takes nothing else.
        cholmod.options["supernodal"] = 2
        self._factor = cholmod.symbolic(self._a, uplo="L")

    def factorise(self, strength: float) -> None:
        """See `DenseCholesky.factorise`."""
        fisher, regularization = self._values
        self._a.V = self._matrix(fisher + strength * regularization)
        try:
            self._cholmod.numeric(self._a, self._factor)
        except ArithmeticError as error:
            raise np.linalg.LinAlgError(_NOT_POSITIVE_DEFINITE.format(strength=strength)) from error

    def log_det(self) -> float:
        """See `DenseCholesky.log_det`."""
        return 2 * float(np.sum(np.log(np.array(self._cholmod.diag(self._factor)))))

    def solve(self, right_side: np.ndarray) -> np.ndarray:
        """See `DenseCholesky.solve`."""
        solution = self._matrix(right_side)
        self._cholmod.solve(self._factor, solution)
        return np.array(solution).ravel()


def _dense_factor(fisher, regularization, strength: float) -> np.ndarray:
    """Return L of A = L L', zero above its diagonal."""
    matrix = (strength * regularization).toarray(order="F")
    matrix += fisher.toarray() if issparse(fisher) else fisher
    factor, info = lapack.dpotrf(matrix, lower=1, clean=1, overwrite_a=1)
    if info:
        raise np.linalg.LinAlgError(_NOT_POSITIVE_DEFINITE.format(strength=strength))
    return factor
