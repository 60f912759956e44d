"""Correlated noise in a likelihood: chi^2 = x' C_uu^-1 x over the used pixels u.

Noise is sigma g, where g has variance 1 and the same correlation C everywhere, and x is image minus
model over sigma. W makes g white: W'W is C_uu^-1 by the approximation of Vecchia (1988; Katzfuss &
Guinness 2021). Row by row, every used pixel is predicted from the used ones before it (above, and
to the left) that are no more than REACH rows and columns away, and W g is what is left over, in
standard deviations of the prediction. So a border or a mask costs no approximation of its own: a
pixel is predicted from what is there. log det C_uu is the sum of the logarithms of the prediction's
variances.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.sparse import csr_matrix

REACH = 5
"""Rows and columns of the pixels that predict. With correlations of 0.35 to the next pixel and 0.15
along diagonals chi^2 of 24 x 24 pixels of noise is that of dense algebra to 0.05% (rms; 3 pixels:
0.3%); with powers that go down to SMALLEST_POWER to 0.6%. Of m x m pixels it is 24/m of that."""

SMALLEST_POWER = 0.1
"""Of the mean: smaller powers in the spectrum of a correlation are set to that. A measured one has
powers of any size by chance, negative ones too. And where noise is next to nothing the likelihood
would trust the finest structure of PSF and model above all else."""

_SPECTRUM_SIDE = 64
_LARGEST_TABLE = 2**22


@dataclass(frozen=True)
class Whitening:
    """W of one image.

    Args:
        rows: Weights of the K pixels of WINDOW around every pixel, (m, m, K); 0 where either of the
            two is masked.
        log_det: log det C_uu.
    """

    rows: np.ndarray
    log_det: float

    @cached_property
    def matrix(self) -> csr_matrix:
        """W, (m^2, m^2), pixels counted row by row; rows and columns of masked pixels are 0."""
        side = self.rows.shape[0]
        inside, number = _neighbours(side)
        kept = inside & (self.rows != 0)
        pixel = np.broadcast_to(np.arange(side**2).reshape(side, side, 1), kept.shape)
        return csr_matrix((self.rows[kept], (pixel[kept], number[kept])), shape=(side**2, side**2))

    @cached_property
    def weights(self) -> np.ndarray:
        """Rows of W and of W', as `pixel_noise` takes them, (2, m, m, K + REACH) float32.

        By whole rows of pixels: those of W around a pixel from REACH above it to its own, those of
        W', from the pixels that it predicts, from its own to REACH below.
        """
        rows = np.pad(self.rows, ((0, 0), (0, 0), (0, REACH)))
        columns, side = np.zeros_like(rows), len(rows)
        for k, (down, right) in enumerate(WINDOW):
            predicted = _overlap(side, down), _overlap(side, right)
            predicting = _overlap(side, -down), _overlap(side, -right)
            columns[(*predicting, -1 - k)] = rows[(*predicted, k)]
        return np.stack([rows, columns]).astype("float32")

    def whiten(self, values: np.ndarray) -> np.ndarray:
        """Return W x of maps (..., m, m)."""
        flat = np.reshape(values, (-1, self.rows.shape[0] ** 2))
        return (self.matrix @ flat.T).T.reshape(np.shape(values))


WINDOW = np.array(
    [(row, column) for row in range(-REACH, 1) for column in range(-REACH, REACH + 1)]
)[:-REACH]
"""Offsets (rows, columns) of the pixels that predict one, and last its own."""


def whitening(correlation: np.ndarray, used: np.ndarray) -> Whitening:
    """Return W for noise of a correlation.

    Args:
        correlation: C by distance, (k, k), 1 in the middle; see `positive_definite`.
        used: True where a pixel is, (m, m).
    """
    correlation = np.ascontiguousarray(correlation, "float64")
    used = np.ascontiguousarray(used, bool)
    return _whitening(correlation.tobytes(), len(correlation), used.tobytes(), len(used))


def positive_definite(correlation: np.ndarray) -> np.ndarray:
    """Return the correlation whose power is nowhere below SMALLEST_POWER of its mean.

    Args:
        correlation: (k, k), 1 in the middle, 0 beyond.

    Returns:
        (n, n), 1 in the middle, n odd: to the distances that `WINDOW` needs, or to those given.
        Where all powers are larger it is what was given.
    """
    reach = len(correlation) // 2
    side = max(_SPECTRUM_SIDE, 2 * len(correlation))
    middle = side // 2
    spread = np.zeros((side, side))
    spread[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] = correlation
    power = np.fft.fft2(np.fft.ifftshift(spread)).real
    if power.min() < SMALLEST_POWER:
        spread = np.fft.fftshift(np.fft.ifft2(np.maximum(power, SMALLEST_POWER)).real)
        spread /= spread[middle, middle]
    reach = max(reach, 2 * REACH)
    return spread[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]


@lru_cache(maxsize=16)
def _whitening(correlation: bytes, k: int, used: bytes, side: int) -> Whitening:
    correlation = positive_definite(np.frombuffer(correlation).reshape(k, k))
    used = np.frombuffer(used, bool).reshape(side, side)
    inside, number = _neighbours(side)
    there = (inside & used.ravel()[number])[..., :-1]
    # What there is to predict from differs at borders and masks alone: once for each pattern.
    packed = np.packbits(there.reshape(side**2, -1), axis=1)
    _, first, pattern = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    predicting, variance = _predictions(correlation, there.reshape(side**2, -1)[first])
    rows = np.concatenate([-predicting, np.ones((len(first), 1))], axis=1)
    rows = (rows / np.sqrt(variance)[:, None])[pattern.ravel()].reshape(side, side, -1)
    rows = rows * used[..., None]
    log_det = np.log(variance)[pattern.ravel()][used.ravel()].sum()
    return Whitening(rows, float(log_det))


def _predictions(correlation: np.ndarray, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how a pixel is best predicted from those of a pattern, and the error's variance.

    Args:
        correlation: C by distance, (n, n).
        patterns: Which pixels of WINDOW before the last are there, (patterns, K - 1).

    Returns:
        Weights C_pp^-1 c_p, (patterns, K - 1), 0 where there is no pixel; and 1 - c_p' C_pp^-1 c_p.
    """
    reach, before = len(correlation) // 2, WINDOW[:-1]
    pairs = before[:, None] - before[None]
    between = correlation[reach + pairs[..., 0], reach + pairs[..., 1]]
    to_pixel = correlation[reach + before[:, 0], reach + before[:, 1]]
    weights = []
    for some in np.array_split(patterns, 1 + len(patterns) * len(before) ** 2 // _LARGEST_TABLE):
        both = some[:, :, None] & some[:, None, :]
        matrices = np.where(both, between, np.eye(len(before)))
        weights.append(np.linalg.solve(matrices, np.where(some, to_pixel, 0.0)[..., None])[..., 0])
    weights = np.concatenate(weights)
    return weights, 1 - weights @ to_pixel


def _neighbours(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels of WINDOW lie on the image, and their numbers, (m, m, K)."""
    row = np.arange(side)[:, None, None] + WINDOW[:, 0]
    column = np.arange(side)[None, :, None] + WINDOW[:, 1]
    inside = (row >= 0) & (column >= 0) & (column < side)
    return inside, np.where(inside, row * side + column, 0)


def _overlap(side: int, offset: int) -> slice:
    """Return the pixels along an axis that have another at an offset."""
    return slice(max(0, -offset), side - max(0, offset))
