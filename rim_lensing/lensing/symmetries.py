"""The eight symmetries of the square pixel grid, and what they do to the lens parameters.

A mirrored or turned image is the image of a lens with mirrored or turned parameters: exactly, since
pixels go to pixels. One simulated system serves as eight.
"""

import numpy as np

SYMMETRIES = 8
"""Number k of a symmetry: 1 mirrors x, 2 mirrors y, 4 swaps x and y; sums do so in that order."""

_CONJUGATE = np.diag([1.0, -1.0])
_SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])


def transform_image(image: np.ndarray, symmetry: int) -> np.ndarray:
    """Return the images (..., y, x) under a symmetry.

    Raises:
        ValueError: There is no symmetry of this number.
    """
    _check(symmetry)
    if symmetry & 1:
        image = image[..., :, ::-1]
    if symmetry & 2:
        image = image[..., ::-1, :]
    return np.swapaxes(image, -1, -2) if symmetry & 4 else image


def restore_image(image: np.ndarray, symmetry: int) -> np.ndarray:
    """Return the images (..., y, x) that `transform_image` made into these.

    Raises:
        ValueError: There is no symmetry of this number.
    """
    _check(symmetry)
    # A mirror of x before the axes are swapped is one of y after it.
    return transform_image(image, {5: 6, 6: 5}.get(symmetry, symmetry))


def standard_orientation(image: np.ndarray) -> int:
    """Return the symmetry that turns an image to where the others of its eight turn to, too.

    Its light then lies furthest along 2x + y. What is drawn at random for an image turned so, and
    turned back by `restore_image`, is drawn alike for the image however it is turned.

    Args:
        image: (n, n).
    """
    axis = np.arange(len(image)) - (len(image) - 1) / 2
    ramp = 2 * axis + axis[:, None]
    return int(np.argmax([np.sum(ramp * transform_image(image, k)) for k in range(SYMMETRIES)]))


def lens_matrix(symmetry: int) -> np.ndarray:
    """Return the matrix M (7, 7) that the parameters follow: transformed lens = lens @ M.T.

    M is a signed permutation: the inverse is lens @ M, variances transform with M**2. The centre
    (x, y) is a vector; ellipticity and shear have spin 2.

    Raises:
        ValueError: There is no symmetry of this number.
    """
    _check(symmetry)
    vector, spin_2 = np.eye(2), np.eye(2)
    if symmetry & 1:
        vector, spin_2 = -_CONJUGATE @ vector, _CONJUGATE @ spin_2
    if symmetry & 2:
        vector, spin_2 = _CONJUGATE @ vector, _CONJUGATE @ spin_2
    if symmetry & 4:
        vector, spin_2 = _SWAP @ vector, -_CONJUGATE @ spin_2
    matrix = np.zeros((7, 7), "float32")
    matrix[0, 0] = 1.0
    matrix[1:3, 1:3] = matrix[5:7, 5:7] = spin_2
    matrix[3:5, 3:5] = vector
    return matrix


def _check(symmetry: int) -> None:
    if not 0 <= symmetry < SYMMETRIES:
        raise ValueError(f"`symmetry` must be in 0 to {SYMMETRIES - 1}. Received: {symmetry}")
