"""Convolution with large kernels on a CPU: overlap-save in small tiles, by Fourier transforms.

An 11 x 11 convolution of many channels is bound by its multiply-adds. In a tile of N pixels that
overlap by the kernel's side it becomes one matrix product over the channels for each of the
N (N / 2 + 1) wave numbers; the transforms of the small tiles are matrix products, too. (One FFT of
the whole image needs as many products, with spectra of the kernels that do not fit into memory.)
"""

import functools

import numpy as np
from keras import ops

TILE = 32
"""Pixels of a tile's side, with what overlaps."""


@functools.lru_cache(maxsize=8)
def _fourier(tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(-2 pi i y v / N), (N, N), and its first N / 2 + 1 columns, (N, F)."""
    pixel = np.arange(tile)
    waves = np.exp(-2j * np.pi * np.outer(pixel, pixel) / tile)
    return waves, waves[:, : tile // 2 + 1]


def _of_complex(matrix: np.ndarray) -> np.ndarray:
    """Return the real matrix that does to [real part, imaginary part] what `matrix` does."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]).astype("float32")


def kernel_spectrum(kernel, tile: int = TILE):
    """Transform a kernel, once for as many convolutions as wanted.

    Args:
        kernel: (k, k, channels in, channels out), k odd and below `tile`.
        tile: N, even.

    Returns:
        (3, F, N, channels in, channels out), F = N / 2 + 1 wave numbers along x and N along y: the
        real part R of the spectrum, I - R and R + I, which three products make a complex one of
        (Gauss).
    """
    side, _, inputs, outputs = kernel.shape
    full, half = (waves[:side].conj() for waves in _fourier(tile))
    along_x = np.concatenate([half.real, half.imag], axis=1).T.astype("float32")
    wide = ops.reshape(ops.transpose(kernel, (1, 0, 2, 3)), (side, -1))
    parts = ops.reshape(ops.matmul(along_x, wide), (2, tile // 2 + 1, side, inputs * outputs))
    parts = ops.concatenate([parts[0], parts[1]], axis=1)
    parts = ops.matmul(_of_complex(full.T), parts)
    shape = (tile // 2 + 1, tile, inputs, outputs)
    real, imaginary = (ops.reshape(part, shape) for part in ops.split(parts, 2, axis=1))
    return ops.stack([real, imaginary - real, real + imaginary])


def convolve(images, spectrum, side: int):
    """Convolve as `keras.ops.conv` does with stride 1 and padding "same" (a correlation).

    Args:
        images: (batch, n, n, channels in).
        spectrum: Of the kernel, see `kernel_spectrum`.
        side: k, of the kernel, in pixels.

    Returns:
        (batch, n, n, channels out).
    """
    n = images.shape[1]
    half, tile, _, outputs = spectrum.shape[1:]
    valid = tile - side + 1
    tiles = -(-n // valid)
    spectra = _tile_spectra(images, side, tile, tiles)
    real, imaginary = spectra[:, 0], spectra[:, 1]
    common = ops.matmul(real + imaginary, spectrum[0])
    real, imaginary = (
        common - ops.matmul(imaginary, spectrum[2]),
        common + ops.matmul(real, spectrum[1]),
    )
    product = ops.concatenate([real, imaginary], axis=1)
    product = ops.reshape(product, (half, 2 * tile, -1))
    waves, _ = _fourier(tile)
    along_y = _of_complex(waves[:valid].conj() / tile)
    product = ops.reshape(ops.matmul(along_y, product), (half, 2, valid, -1, tiles, tiles, outputs))
    # A real signal's other half of the wave numbers is the conjugate of this one.
    counted = np.full(half, 2.0)
    counted[[0, -1]] = 1
    inverse = (waves[:valid, :half].conj() * counted / tile).astype("complex64")
    along_x = np.stack([inverse.real, -inverse.imag], axis=2)
    result = ops.einsum("fqybtsc,xfq->btysxc", product, along_x)
    result = ops.reshape(result, (-1, tiles * valid, tiles * valid, outputs))
    return result[:, :n, :n]


def _tile_spectra(images, side: int, tile: int, tiles: int):
    """Return the spectra of overlapping tiles, (F, 2, N, batch * tiles^2, channels)."""
    n, channels = images.shape[1], images.shape[3]
    valid, before = tile - side + 1, (side - 1) // 2
    after = (tiles - 1) * valid + tile - n - before
    padded = ops.pad(images, ((0, 0), (before, after), (before, after), (0, 0)))
    pixels = (np.arange(tiles)[:, None] * valid + np.arange(tile)).ravel()
    cut = ops.take(ops.take(padded, pixels, axis=1), pixels, axis=2)
    cut = ops.reshape(cut, (-1, tiles, tile, tiles, tile, channels))
    full, half = _fourier(tile)
    along_x = np.stack([half.real, half.imag], axis=2).astype("float32")
    spectra = ops.einsum("btysxc,xfq->fqybtsc", cut, along_x)
    spectra = ops.reshape(spectra, (tile // 2 + 1, 2 * tile, -1))
    spectra = ops.matmul(_of_complex(full), spectra)
    return ops.reshape(spectra, (tile // 2 + 1, 2, tile, -1, channels))
