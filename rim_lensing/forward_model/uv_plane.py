"""From the sky to the uv plane and back: the matrix N of an interferometer. No Keras.

A visibility at the baseline (u, v), in wavelengths, is

    V(u, v) = sum_j I_j exp(-2 pi i (u x_j + v y_j)),

I_j the flux of pixel j at (x_j, y_j), radians from the phase centre: the sum over the pixel centres
(a field of arcseconds has no w term). Sums over many visibilities are non-uniform fast Fourier
transforms of ducc0, an extra of this package (`pip install rim_lensing[visibilities]`).
"""

import numpy as np

from rim_lensing.lensing.grids import PixelGrid

ARCSEC = np.pi / 648000
"""In radians."""

ACCURACY = 1e-10
"""Relative, of the transforms. From 1e-8 to 1e-10 they take a quarter longer."""


class UVPlane:
    """N of a set of baselines: the flux of pixels (m, m) to complex visibilities (k,).

    Args:
        u: (k,) wavelengths, along x.
        v: (k,) wavelengths, along y.
        grid: The pixels; the origin is the phase centre.
        threads: That ducc0 runs; 0, as many as there are cores.

    Raises:
        ValueError: `u` and `v` are not finite numbers (k,).
        ImportError: ducc0 is not installed.
    """

    def __init__(self, u: np.ndarray, v: np.ndarray, grid: PixelGrid, threads: int = 0):
        """Bring the baselines to phases per pixel."""
        u, v = np.asarray(u, "float64"), np.asarray(v, "float64")
        if u.ndim != 1 or u.shape != v.shape or not (np.isfinite(u).all() and np.isfinite(v).all()):
            raise ValueError(
                "`u` and `v` must be finite numbers of wavelengths, (k,). "
                f"Received: shapes {u.shape} and {v.shape}"
            )
        self.grid = grid
        self._nufft, self._threads = _nufft(), threads
        per_pixel = 2 * np.pi * ARCSEC * grid.pixel_scale
        self._phases = per_pixel * np.stack([v, u], axis=1)
        # The transforms count pixels from -floor(m / 2); their pixel 0 is not where x and y are.
        x, y = grid.centre
        half = 0.5 * grid.pixel_scale * (1 - grid.side % 2)
        self._shift = np.exp(-2j * np.pi * ARCSEC * (u * (x + half) + v * (y + half)))

    def apply(self, sky: np.ndarray) -> np.ndarray:
        """Return the visibilities (k,) of the flux per pixel, (m, m)."""
        sky = np.ascontiguousarray(sky, "complex128")
        if sky.shape != (self.grid.side,) * 2:
            raise ValueError(f"`sky` must be {self.grid}. Received: shape {sky.shape}")
        visibilities = self._nufft.u2nu(
            grid=sky,
            coord=self._phases,
            forward=True,
            epsilon=ACCURACY,
            nthreads=self._threads,
        )
        return visibilities * self._shift

    def adjoint(self, visibilities: np.ndarray) -> np.ndarray:
        """Return Re N^H V, (m, m): <N s, V> = <s, N' V>, the real part of the scalar product."""
        sky = self._nufft.nu2u(
            points=np.asarray(visibilities) * self._shift.conj(),
            coord=self._phases,
            forward=False,
            epsilon=ACCURACY,
            nthreads=self._threads,
            out=np.zeros((self.grid.side,) * 2, "complex128"),
        )
        return sky.real

    def as_matrix(self) -> np.ndarray:
        """Return N as a dense complex matrix (k, m^2), pixels counted row by row, by its sum."""
        x, y = (each.ravel() * ARCSEC for each in self.grid.coordinates())
        v, u = (self._phases / (2 * np.pi * ARCSEC * self.grid.pixel_scale)).T
        return np.exp(-2j * np.pi * (np.outer(u, x) + np.outer(v, y)))


def _nufft():
    try:
        from ducc0 import nufft
    except ImportError as error:
        raise ImportError(
            "Visibilities take ducc0: pip install 'rim_lensing[visibilities]'"
        ) from error
    return nufft
