"""The priors on the source: s'Rs = 2 E_S is small where the source is smooth (Suyu et al. 2006).

Appendix A of Suyu et al. 2006 (MNRAS 371, 983) gives three forms: the sum over all pixels of the
squared flux (zeroth order), of the squared differences to the next pixel along x and along y
(gradient), or of the squared second differences (curvature). Here the sums of differences run over
the whole plane, in which the source is 0 outside of its grid, as L takes it to be:

    gradient, along x:   sum_i (s_{i+1} - s_i)^2,                 i = 0 ... n,    s_0 = s_{n+1} = 0
    curvature, along x:  sum_i (s_{i-1} - 2 s_i + s_{i+1})^2,     i = 0 ... n+1,  likewise

So all borders are alike, and the evidence of a system is that of its mirror image. R is positive
definite, without which there is no log det R: a source without differences is 0 everywhere. The
appendix ties the last row and column alone, by lower orders there, and leaves the first ones free.
Other forms that treat all borders alike do worse on galaxies that end before the grid does
(benchmarks/README.md, Borders); a source that does not wants a larger grid.

Along one axis the differences are D s with D (n + 1, n) or (n + 2, n), so that

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
    """Return H with R = H'H: the differences that a prior punishes, a row each, (terms, n^2).

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
    _, singular, modes = svd(_differences(kind, side), full_matrices=False)
    return np.ascontiguousarray(modes.T), singular[:, None] ** 2 + singular**2


def log_det_regularization(kind: str, side: int) -> float:
    """Return log det R; arguments as above."""
    return float(np.sum(np.log(regularization_modes(kind, side)[1])))


def _differences(kind: str, side: int) -> np.ndarray:
    """D, (n + order, n): all differences along one axis that have a pixel of the grid in them."""
    stencil = {"gradient": [1.0, -1.0], "curvature": [1.0, -2.0, 1.0]}[kind]
    below = -np.arange(len(stencil))
    return diags(stencil, below, shape=(side + len(stencil) - 1, side)).toarray()
