"""All that a likelihood needs of any number of visibilities. No Keras.

With N the Fourier sum (`uv_plane`), P the primary beam and C the noise of the visibilities V,

    chi^2 = |V - N P x|^2_C = V' C^-1 V - 2 x'd + x'W x,   d = P N' C^-1 V,   W = P N' C^-1 N P,

of the sky x = L S. N' C^-1 N is a convolution, with w(x) = sum_k w_k cos 2 pi (u_k x + v_k y) on
twice the field: an FFT applies it, exactly. So d, w and one number are kept, and what a likelihood
costs does not depend on the number of visibilities.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.linalg import eigh_tridiagonal
from scipy.ndimage import label

from rim_lensing.forward_model.uv_plane import UVPlane
from rim_lensing.lensing.grids import PixelGrid

CHUNK = 2**19
"""Visibilities that are transformed at a time: more of them take no more memory."""

ROOT_STEPS = 150
"""Of Lanczos, for a draw of noise."""


@dataclass(frozen=True, eq=False, repr=False)
class DirtyImage:
    """d and w of one interferometric observation, on one grid of pixels.

    Args:
        pixel_scale: arcsec.
        projection: d, (m, m), in 1 / flux.
        kernel: w, (2m - 1, 2m - 1), in 1 / flux^2; w(0) in its middle is the sum of weights.
        primary_beam: P, (m, m); None, 1 everywhere.
        square: V' C^-1 V.
        count: Visibilities with a weight.
        log_noise: Sum of log rms of the 2 `count` real numbers that were measured.
    """

    pixel_scale: float
    projection: np.ndarray
    kernel: np.ndarray
    primary_beam: np.ndarray | None
    square: float
    count: int
    log_noise: float

    @property
    def side(self) -> int:
        """Pixels along a side, m."""
        return len(self.projection)

    @property
    def n_data(self) -> int:
        """Real numbers that were measured: two for each visibility."""
        return 2 * self.count

    @property
    def total_weight(self) -> float:
        """Sum of the weights, w(0): one over the variance of a point source's flux."""
        return float(self.kernel[self.side - 1, self.side - 1])

    @cached_property
    def beam(self) -> np.ndarray:
        """The dirty beam: w over its peak, (2m - 1, 2m - 1)."""
        return self.kernel / self.total_weight

    @cached_property
    def beam_area(self) -> float:
        """Sum of the dirty beam in its main lobe, in pixels; of the whole beam it may be 0."""
        return float(self.beam[self._in_main_lobe].sum())

    @property
    def largest_sidelobe(self) -> float:
        """Of the dirty beam, whose peak is 1, outside of its main lobe."""
        return float(np.max(self.beam, where=~self._in_main_lobe, initial=0.0))

    def main_lobe(self, side: int) -> np.ndarray:
        """Return the main lobe of the dirty beam, cut to an odd side, with a sum of 1."""
        lobe = np.where(self._in_main_lobe, self.beam, 0.0)
        low, high = self.side - 1 - side // 2, self.side + side // 2
        lobe = lobe[low:high, low:high]
        return lobe / lobe.sum()

    @cached_property
    def _in_main_lobe(self) -> np.ndarray:
        """True where the dirty beam is positive, and connected to its peak."""
        lobes, _ = label(self.kernel > 0)
        middle = self.side - 1
        return lobes == lobes[middle, middle]

    @property
    def image(self) -> np.ndarray:
        """The naturally weighted dirty image, (m, m): d over sum of weights, in flux per beam."""
        return self.projection / self.total_weight

    @property
    def noise(self) -> float:
        """rms of the dirty image's noise (where the primary beam is 1), in flux per beam."""
        return self.total_weight**-0.5

    def per_pixel(self, projection: np.ndarray) -> np.ndarray:
        """Return d, or W x, as a dirty image in flux per pixel, (m, m).

        In flux per beam, over the area of the beam: of a large smooth source its own brightness.
        """
        return projection / (self.total_weight * self.beam_area)

    def convolved(self, sky: np.ndarray) -> np.ndarray:
        """Return W x of a sky (..., m, m) in flux per pixel."""
        m, side = self.side, self._padded_side
        beam = 1.0 if self.primary_beam is None else self.primary_beam
        transformed = rfft2(sky * beam, (side, side)) * self._spectrum
        return beam * irfft2(transformed, (side, side))[..., :m, :m]

    def chi2(self, sky: np.ndarray) -> float:
        """Return |V - N P x|^2_C of a sky (m, m) in flux per pixel."""
        return float(self.square + np.sum(sky * (self.convolved(sky) - 2 * self.projection)))

    def residual(self, sky: np.ndarray) -> np.ndarray:
        """Return the dirty image of data minus model, (m, m), in sigma: its rms is 1."""
        return (self.projection - self.convolved(sky)) * self.noise

    def as_matrix(self) -> np.ndarray:
        """Return W as a dense matrix (m^2, m^2), pixels counted row by row. For small grids."""
        i = np.arange(self.side)
        lag = i[:, None] - i[None, :] + self.side - 1
        matrix = self.kernel[lag[:, None, :, None], lag[None, :, None, :]]
        matrix = matrix.reshape(self.side**2, self.side**2)
        if self.primary_beam is None:
            return matrix
        beam = self.primary_beam.ravel()
        return beam[:, None] * matrix * beam

    def scaled(self, unit: float) -> "DirtyImage":
        """Return the same with fluxes in another unit, (so many of the old one)."""
        return replace(
            self,
            projection=self.projection * unit,
            kernel=self.kernel * unit**2,
            log_noise=self.log_noise - self.n_data * np.log(unit),
        )

    def noisier(self, factor: float) -> "DirtyImage":
        """Return that of the same visibilities if their noise were larger by a factor."""
        return replace(
            self,
            projection=self.projection / factor**2,
            kernel=self.kernel / factor**2,
            square=self.square / factor**2,
            log_noise=self.log_noise + self.n_data * np.log(factor),
        )

    def noise_of(self, white: np.ndarray) -> np.ndarray:
        """Return what noise of the visibilities adds to d, (m, m): its covariance is W.

        W^1/2 z, the root by ROOT_STEPS of Lanczos from z.

        Args:
            white: z, independent numbers of variance 1, (m, m).
        """
        return _root_times(self.convolved, white)

    def copies(self, images: np.ndarray, sky: np.ndarray) -> list["DirtyImage"]:
        """Return those of a sky (m, m) that was observed likewise, with other noise.

        What the noise adds to V'C^-1 V and no sky can explain is its mean.

        Args:
            images: Dirty images, see `per_pixel`, (copies, m, m).
            sky: Flux per pixel.
        """
        model, copies = self.convolved(sky), []
        for image in images:
            projection = image * (self.total_weight * self.beam_area)
            square = float(np.sum(sky * (2 * projection - model)) + self.n_data)
            copies.append(replace(self, projection=projection, square=square))
        return copies

    def without(self, sky: np.ndarray) -> "DirtyImage":
        """Return that of the visibilities that a sky (m, m) leaves."""
        left = self.projection - self.convolved(sky)
        return replace(self, projection=left, square=self.chi2(sky))

    @property
    def _padded_side(self) -> int:
        # What wraps around falls on the padding.
        return next_fast_len(2 * self.side - 1, real=True)

    @cached_property
    def _spectrum(self) -> np.ndarray:
        side, middle = self._padded_side, self.side - 1
        padded = np.zeros((side, side))
        padded[: 2 * middle + 1, : 2 * middle + 1] = self.kernel
        return rfft2(np.roll(padded, (-middle, -middle), (0, 1)))


def dirty_image(
    chunks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    grid: PixelGrid,
    primary_beam: np.ndarray | None = None,
) -> DirtyImage:
    """Return d and w of visibilities, by one pass over them.

    Args:
        chunks: u and v in wavelengths, complex visibilities in units of flux, and weights: one over
            the variance of the real part, and of the imaginary part; 0, not used. Each (k,).
        grid: The pixels; the origin is the phase centre.
        primary_beam: (m, m); by default 1 everywhere.

    Raises:
        ValueError: No visibility has a weight.
    """
    twice = PixelGrid(2 * grid.side - 1, grid.pixel_scale)
    projection, kernel = np.zeros((grid.side,) * 2), np.zeros((twice.side,) * 2)
    square, count, log_noise, total = 0.0, 0, 0.0, 0.0
    for u, v, visibilities, weights in _no_larger(chunks):
        used = weights > 0
        u, v, visibilities, weights = (each[used] for each in (u, v, visibilities, weights))
        if not len(weights):
            continue
        weighted = weights * visibilities
        projection += UVPlane(u, v, grid).adjoint(weighted)
        kernel += UVPlane(u, v, twice).adjoint(weights.astype("complex128"))
        square += float(np.sum(weights * np.abs(visibilities) ** 2))
        log_noise -= float(np.sum(np.log(weights)))
        total += float(np.sum(weights))
        count += len(weights)
    if not count:
        raise ValueError("`weights` must be positive for some visibility. Received: none is")
    # To the last digit, what the transform knows to its accuracy.
    kernel[grid.side - 1, grid.side - 1] = total
    if primary_beam is not None:
        projection = projection * primary_beam
    return DirtyImage(grid.pixel_scale, projection, kernel, primary_beam, square, count, log_noise)


def _no_larger(chunks):
    for chunk in chunks:
        for start in range(0, len(chunk[0]), CHUNK):
            yield tuple(np.asarray(each[start : start + CHUNK]) for each in chunk)


def _root_times(product, start: np.ndarray) -> np.ndarray:
    """Return M^1/2 z of a positive semi-definite M, (m, m), that maps (m, m) to (m, m).

    |z| V T^1/2 e_1, with M V = V T by Lanczos from z (Druskin & Knizhnerman 1989). Vectors are made
    orthogonal to all before, twice.
    """
    shape, norm = start.shape, np.linalg.norm(start)
    steps = min(ROOT_STEPS, start.size)
    basis = np.zeros((steps, start.size))
    diagonal, off_diagonal = [], []
    vector = start.ravel() / norm
    for step in range(steps):
        basis[step] = vector
        image = product(vector.reshape(shape)).ravel()
        diagonal.append(float(vector @ image))
        for _ in range(2):
            image = image - basis[: step + 1].T @ (basis[: step + 1] @ image)
        length = float(np.linalg.norm(image))
        if length <= 1e-12 * max(diagonal):
            break
        off_diagonal.append(length)
        vector = image / length
    count = len(diagonal)
    values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal[: count - 1]))
    first = vectors @ (np.sqrt(np.maximum(values, 0.0)) * vectors[0])
    return norm * (first @ basis[:count]).reshape(shape)
