"""The priors on the source: s'Rs = 2 E_S is small where the source is smooth (Suyu et al. 2006).

Appendix A of Suyu et al. 2006 (MNRAS 371, 983) gives three forms: the sum over all pixels of the
squared flux (zeroth order), of the squared differences to the next pixel along x and along y
(gradient), or of the squared second differences (curvature). The last pixels of a row or column
fall back to the lower orders, which makes R positive definite: only then is there a log det R.

Along one axis the differences are D s with a triangular n x n matrix D, so that

    R = I (x) D'D + D'D (x) I = (V (x) V) diag(w_i^2 + w_j^2) (V (x) V)'

with D = U diag(w) V' its singular value decomposition: everything about R follows from D.
"""

from functools import cache

import numpy as np
from scipy.linalg import svd
from scipy.sparse import csr_matrix, diags, eye, kron, vstack

REGULARIZATIONS = ("zeroth", "gradient", "curvature")
"""The forms of the prior."""


def check_regularization(kind: str) -> str:
    """Return the name of a prior.

    Raises:
        ValueError: There is none of this name.
    """
    if kind not in REGULARIZATIONS:
        raise ValueError(f"`regularization` must be one of {REGULARIZATIONS}. Received: {kind!r}")
    return kind


@cache
def difference_matrix(kind: str, side: int) -> csr_matrix:
    """Return H, (n^2, n^2) or (2 n^2, n^2), with R = H'H: the differences that a prior punishes.

    Do not change it: it is made once.

    Args:
        kind: One of REGULARIZATIONS.
        side: n, pixels along a side of the source.
    """
    if check_regularization(kind) == "zeroth":
        return eye(side**2, format="csr")
    differences, same = csr_matrix(_differences(kind, side)), eye(side)
    return vstack([kron(same, differences), kron(differences, same)], format="csr")


@cache
def regularization_matrix(kind: str, side: int) -> csr_matrix:
    """Return R, sparse (n^2, n^2), symmetric and positive definite; arguments as above.

    Do not change it: it is made once.
    """
    differences = difference_matrix(kind, side)
    return (differences.T @ differences).tocsr()


@cache
def regularization_modes(kind: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return V (n, n) and e (n, n): R = (V (x) V) diag(e) (V (x) V)'. Do not change them.

    On a source S (n, n), R acts as V (e * (V' S V)) V', and any function of R as that function of
    e: V ((V' S V) / sqrt(e)) V' of white noise S draws a source from the prior of strength 1.
    """
    if check_regularization(kind) == "zeroth":
        return np.eye(side), np.ones((side, side))
    # The singular values of D are exact to round-off where eigenvalues of D'D are not.
    _, singular, modes = svd(_differences(kind, side))
    return np.ascontiguousarray(modes.T), singular[:, None] ** 2 + singular**2


def log_det_regularization(kind: str, side: int) -> float:
    """Return log det R; arguments as above."""
    return float(np.sum(np.log(regularization_modes(kind, side)[1])))


def _differences(kind: str, side: int) -> np.ndarray:
    """D, (n, n): differences along one axis, of lower order in the last rows."""
    if side == 1:
        return np.ones((1, 1))
    if kind == "gradient":
        return diags([1.0, -1.0], [0, 1], shape=(side, side)).toarray()
    second = diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(side, side)).toarray()
    second[-2, -1] = -1.0
    return second
