"""Visibilities of one system as a linear least-squares problem: only f'f and f'd are ever made."""

import copy

import numpy as np
from scipy.sparse import csr_matrix

from rim_lensing.forward_model.dirty_image import DirtyImage
from rim_lensing.inversion.linear_system import check_lensing
from rim_lensing.lensing.symmetries import restore_image, standard_orientation


class VisibilitySystem:
    """The visibilities of one system over their noise, d = f s + n, where f = C^-1/2 N P L.

    What an inversion needs of them is f'f = L'W L and f'd, see `dirty_image`: what it costs does
    not depend on their number. Methods are those of `LinearSystem`.

    Args:
        lensing: L, sparse (m^2, n^2), see `RayTracer.as_matrix`.
        dirty: d and W on the pixels of L's rows.

    Attributes:
        lensing: L as CSR, float64.
        dirty: As given.
        image_side: m.
        source_side: n.
        n_data: Real numbers that were measured, two for each visibility.
        log_noise: Sum of the logarithms of their rms.
        orientation: The symmetry that turns the dirty image to its `standard_orientation`.

    Raises:
        ValueError: An L of another shape, or one that is not finite.
    """

    def __init__(self, lensing, dirty: DirtyImage):
        """Keep both."""
        self.dirty, self.image_side = dirty, dirty.side
        self.lensing = check_lensing(lensing, self.image_side)
        self.source_side = round(self.lensing.shape[1] ** 0.5)
        self.n_data, self.log_noise = dirty.n_data, dirty.log_noise
        self.orientation = standard_orientation(dirty.projection)

    def with_lensing(self, lensing) -> "VisibilitySystem":
        """Return the same data behind another lens; `lensing` and errors as of the class."""
        other = copy.copy(self)
        other.lensing = check_lensing(lensing, self.image_side)
        return other

    def without(self, source: np.ndarray) -> "VisibilitySystem":
        """Return the same system with the data that a source (n^2,) leaves, d - f s."""
        other = copy.copy(self)
        other.dirty = self.dirty.without(self.sky(source))
        return other

    def sky(self, source: np.ndarray) -> np.ndarray:
        """Return L s, (m, m), of a source (n^2,)."""
        return (self.lensing @ source).reshape((self.image_side,) * 2)

    def predict(self, source: np.ndarray) -> np.ndarray:
        """Return the dirty image of a source (n^2,), (m^2,), see `DirtyImage.per_pixel`."""
        return self.dirty.per_pixel(self.dirty.convolved(self.sky(source))).ravel()

    def light_adjoint(self, image: np.ndarray) -> np.ndarray:
        """Return L' i, (n^2,), of an image (m^2,): where its light would come from."""
        return self.lensing.T @ image

    def normal(self, source: np.ndarray) -> np.ndarray:
        """Return f'f s, (n^2,), of a source (n^2,)."""
        return self.lensing.T @ self.dirty.convolved(self.sky(source)).ravel()

    def projection(self) -> np.ndarray:
        """Return f'd, (n^2,)."""
        return self.lensing.T @ self.dirty.projection.ravel()

    def square(self) -> float:
        """Return d'd."""
        return self.dirty.square

    def chi2(self, source: np.ndarray) -> float:
        """Return |d - f s|^2 of a source (n^2,)."""
        return self.dirty.chi2(self.sky(source))

    def peak(self) -> float:
        """Return the largest brightness of the dirty image, of either sign, in flux per pixel."""
        return float(np.abs(self.dirty.per_pixel(self.dirty.projection)).max())

    def fisher(self) -> np.ndarray:
        """Return F = f'f, a full matrix (n^2, n^2).

        A row of image pixels at a time: their rows of W times L, and then L' times that.
        """
        m, kernel = self.image_side, self.dirty.kernel
        lensing = self.lensing
        if self.dirty.primary_beam is not None:
            lensing = csr_matrix(lensing.multiply(self.dirty.primary_beam.reshape(-1, 1)))
        transposed = lensing.T.tocsr()
        fisher = np.zeros((lensing.shape[1],) * 2)
        column = np.arange(m)
        across = column[:, None] - column[None, :] + m - 1
        for row in range(m):
            lags = kernel[row - np.arange(m) + m - 1]
            block = lags[:, across].transpose(1, 0, 2).reshape(m, m * m)
            weighted = (transposed @ block.T).T
            fisher += transposed[:, row * m : (row + 1) * m] @ weighted
        return fisher

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of f'f as it were if the beam had no width, (n^2,)."""
        beam = self.dirty.primary_beam
        weight = 1.0 if beam is None else beam.ravel() ** 2
        return self.dirty.total_weight * (
            self.lensing.power(2).T @ np.broadcast_to(weight, self.image_side**2)
        )

    def projected_noise(self, generator: np.random.Generator) -> np.ndarray:
        """Return f'n of noise, (n^2,), drawn as the dirty image lies: its covariance is f'f.

        See `DirtyImage.noise_of`.
        """
        white = generator.standard_normal((self.image_side,) * 2)
        return self.lensing.T @ self.dirty.noise_of(restore_image(white, self.orientation)).ravel()
