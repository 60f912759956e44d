"""One lens system as a linear least-squares problem (paper section 3; Warren & Dye 2003)."""

import copy

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.sparse import csr_matrix

from rim_lensing.forward_model.noise_templates import template_modes
from rim_lensing.forward_model.psf_kernels import check_side, convolution_matrix
from rim_lensing.forward_model.whitening import whitening
from rim_lensing.lensing.symmetries import restore_image, standard_orientation

KERNEL_CUT = 1e-9
"""Entries of a PSF kernel below this fraction of its peak are dropped: a Gaussian's far wings would
make the response matrix several times larger and the source no better."""

DENSE_FRACTION = 0.1
"""Of the entries of f, from where dense products are the faster."""


class LinearSystem:
    """The data of one system over their noise, d = f s + n, where f = W B L and n has rms 1.

    W divides by the noise's rms. Where the noise is correlated it makes it white, too, see
    `forward_model.whitening`, and so it does where there are templates of unknown amount, see
    `forward_model.noise_templates`: W'W is the inverse of the covariance of all of it.

    Pixels are numbered row by row, so that `mean.reshape(n, n)` is the source (y, x).

    Args:
        lensing: L, sparse (m^2 o^2, n^2), from source pixels to the pixels of the PSF, see
            `RayTracer.as_matrix`.
        psf: Kernel, (k, k), k odd. Entries below KERNEL_CUT of the peak are dropped.
        image: (m, m); where the noise is infinite it may hold anything.
        noise: rms in the image's unit, (m, m); infinite where masked.
        oversampling: Pixels of the PSF per image pixel along each axis, o, see `psf.Blur`.
        noise_correlation: Of pixels by their distance, (k, k); None, they are independent.
        templates: In the image's unit, (j, m, m); None, there are none.

    Attributes:
        lensing: L as CSR, float64.
        psf: The kernel without its empty border.
        oversampling: o.
        weight: 1 / rms, (m^2,); 0 where masked.
        data: d, (m^2,); 0 where masked.
        image_side: m.
        source_side: n.
        n_data: Number of used pixels.
        whitening: Of the correlated noise over its rms; None of independent pixels.
        templates: `TemplateModes` of the noise made white; None, there are none.
        log_noise: log det C_N / 2 of the used pixels: if they are independent the sum of log rms.
        orientation: The symmetry that turns the image to its `standard_orientation`.

    Raises:
        ValueError: Shapes that do not fit together, a PSF of an even side, an L or a used pixel
            that is not finite, noise that is NaN or not positive, or no used pixel.
    """

    def __init__(
        self,
        lensing,
        psf: np.ndarray,
        image: np.ndarray,
        noise: np.ndarray,
        oversampling: int = 1,
        noise_correlation: np.ndarray | None = None,
        templates: np.ndarray | None = None,
    ):
        """Divide by the noise and transform the kernel, once."""
        image, noise = np.asarray(image, "float64"), np.asarray(noise, "float64")
        if image.ndim != 2 or image.shape[0] != image.shape[1] or noise.shape != image.shape:
            raise ValueError(
                "`image` and `noise` must be (m, m), of the same side. "
                f"Received: shapes {image.shape} and {noise.shape}"
            )
        self.image_side, self.oversampling = len(image), oversampling
        self.lensing = check_lensing(lensing, self.ray_side)
        self.source_side = round(self.lensing.shape[1] ** 0.5)
        used = np.isfinite(noise).ravel()
        if not used.any() or not np.all(noise > 0):
            raise ValueError(
                "`noise` must be positive in every used pixel, and finite in at least one. "
                f"Received: {used.sum()} finite pixels, the smallest {noise.min():.6g}"
            )
        psf = np.asarray(psf, "float64")
        if psf.ndim != 2 or psf.shape[0] != psf.shape[1]:
            raise ValueError(f"`psf` must be (k, k). Received: shape {psf.shape}")
        check_side(len(psf), self.ray_side)
        if not np.all(np.isfinite(image.ravel()[used])):
            raise ValueError(
                "`image` must be finite in every used pixel: give the others infinite noise. "
                f"Received: {np.sum(~np.isfinite(image.ravel()[used]))} NaN or infinite pixels"
            )
        self.weight = np.where(used, 1 / noise.ravel(), 0.0)
        self.data = np.where(used, image.ravel(), 0.0) * self.weight
        self.n_data = int(used.sum())
        self.log_noise = float(np.sum(np.log(noise.ravel()[used])))
        self.orientation = standard_orientation(self.data.reshape(image.shape))
        self.whitening = None
        if noise_correlation is not None:
            self.whitening = whitening(noise_correlation, used.reshape(image.shape))
            self.log_noise += 0.5 * self.whitening.log_det
        self.templates = None
        if templates is not None:
            self.templates = template_modes(templates, noise, noise_correlation)
            self.log_noise += 0.5 * self.templates.log_det
        self.data = self._whitened(self.data)
        self.psf = _without_border(psf)
        half = self.psf.shape[0] // 2
        # What wraps around falls on the padding and is cropped.
        self._padded = next_fast_len(self.ray_side + half, real=True)
        padded = np.zeros((self._padded,) * 2)
        padded[: 2 * half + 1, : 2 * half + 1] = self.psf
        # What does not depend on the lens is made once for all of them, see `with_lensing`.
        self._of_data: dict = {}
        self._spectrum = rfft2(np.roll(padded, (-half, -half), (0, 1)))

    @property
    def ray_side(self) -> int:
        """Pixels of the PSF along a side of the image, m o: `lensing` has a row for each."""
        return self.image_side * self.oversampling

    def with_lensing(self, lensing) -> "LinearSystem":
        """Return the same data behind another lens; `lensing` and errors as of the class."""
        other = copy.copy(self)
        other.lensing = check_lensing(lensing, self.ray_side)
        return other

    def without(self, source: np.ndarray) -> "LinearSystem":
        """Return the same system with the data that a source (n^2,) leaves, d - f s."""
        other = copy.copy(self)
        other.data = self.data - self.apply(source)
        return other

    def apply(self, source: np.ndarray) -> np.ndarray:
        """Return f s, (m^2,), of a source (n^2,)."""
        return self._whitened(self.weight * self.predict(source))

    def _whitened(self, data: np.ndarray) -> np.ndarray:
        """Return data over the noise's rms (m^2,) as independent numbers."""
        if self.whitening is not None:
            data = self.whitening.matrix @ data
        return data if self.templates is None else self._projected(data)

    def _projected(self, data: np.ndarray) -> np.ndarray:
        return self.templates.apply(data.reshape((self.image_side,) * 2)).ravel()

    def predict(self, source: np.ndarray) -> np.ndarray:
        """Return the noiseless image B L s, (m^2,), masked pixels too, of a source (n^2,)."""
        fine = self._filter(self.lensing @ source, self._spectrum)
        if self.oversampling == 1:
            return fine.ravel()
        return fine.reshape((self.image_side, self.oversampling) * 2).mean(axis=(1, 3)).ravel()

    def adjoint(self, data: np.ndarray) -> np.ndarray:
        """Return f' d, (n^2,), of weighted data (m^2,)."""
        if self.templates is not None:
            data = self._projected(data)
        if self.whitening is not None:
            data = self.whitening.matrix.T @ data
        return self.light_adjoint(self.weight * data)

    def light_adjoint(self, image: np.ndarray) -> np.ndarray:
        """Return L' B' i, (n^2,), of an image (m^2,): noise and mask do not enter."""
        if self.oversampling > 1:
            image = image.reshape(self.image_side, self.image_side)
            image = np.kron(image, np.full((self.oversampling,) * 2, self.oversampling**-2.0))
        return self.lensing.T @ self._filter(image, self._spectrum.conj()).ravel()

    def normal(self, source: np.ndarray) -> np.ndarray:
        """Return f'f s, (n^2,), of a source (n^2,)."""
        return self.adjoint(self.apply(source))

    def projection(self) -> np.ndarray:
        """Return f'd, (n^2,)."""
        return self.adjoint(self.data)

    def square(self) -> float:
        """Return d'd."""
        return float(self.data @ self.data)

    def chi2(self, source: np.ndarray) -> float:
        """Return |d - f s|^2 of a source (n^2,)."""
        residual = self.data - self.apply(source)
        return float(residual @ residual)

    def peak(self) -> float:
        """Return the largest brightness of a used pixel, of either sign."""
        used = self.weight > 0
        return float(np.max(np.abs(self.data[used] / self.weight[used])))

    def projected_noise(self, generator: np.random.Generator) -> np.ndarray:
        """Return f'n of noise, (n^2,), drawn as the image lies: its covariance is f'f."""
        white = generator.standard_normal((self.image_side,) * 2)
        return self.adjoint(restore_image(white, self.orientation).ravel())

    def fisher(self) -> csr_matrix:
        """Return F = f'f, sparse (n^2, n^2)."""
        return _gram(self.response())

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of f'f as it were without the blur, (n^2,)."""
        return self.unblurred().power(2).T @ self.precision()

    def response(self) -> csr_matrix:
        """Return f as a sparse matrix (m^2, n^2); its size grows with the kernel's area.

        Templates fill it: every pixel says something of how much of them there is.
        """
        if "weighted blur" not in self._of_data:
            weighted = csr_matrix(self.blur().multiply(self.weight[:, None]))
            if self.whitening is not None:
                weighted = self.whitening.matrix @ weighted
            self._of_data["weighted blur"] = weighted
        response = self._of_data["weighted blur"] @ self.lensing
        if self.templates is None:
            return response
        modes = self.templates.modes.reshape(-1, self.image_side**2)
        return csr_matrix(response.toarray() - modes.T @ (modes @ response))

    def precision(self) -> np.ndarray:
        """Return the diagonal of C_N^-1, (m^2,), without templates; independent pixels' 1 / rms^2.

        It scales conjugate gradients, and templates take little from it.
        """
        if self.whitening is None:
            return self.weight**2
        return self.weight**2 * np.asarray(self.whitening.matrix.power(2).sum(axis=0)).ravel()

    def blur(self) -> csr_matrix:
        """Return B, the zero-padded convolution with the PSF, sparse: (m^2, m^2 o^2)."""
        return convolution_matrix(self.psf, self.image_side, self.oversampling)

    def unblurred(self) -> csr_matrix:
        """Return L on the image's pixels, (m^2, n^2): the mean over the pixels of the PSF."""
        if self.oversampling == 1:
            return self.lensing
        delta = np.ones((1, 1))
        return convolution_matrix(delta, self.image_side, self.oversampling) @ self.lensing

    def _filter(self, image: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
        side = self.ray_side
        transformed = rfft2(image.reshape(side, side), (self._padded,) * 2) * spectrum
        return irfft2(transformed, (self._padded,) * 2)[:side, :side]


def _gram(response: csr_matrix) -> csr_matrix:
    """Return f'f; by dense products where f is so full that these are faster.

    Behind an image of a real PSF, whose wings reach far, it is: 17% at 25 x 25 pixels, 36% at 41 x
    41, of 64 x 64 image and source pixels. Sparse products then take 4 and 17 seconds.
    """
    if response.nnz < DENSE_FRACTION * np.prod(response.shape):
        return (response.T @ response).tocsr()
    dense = response.toarray()
    return csr_matrix(dense.T @ dense)


def check_lensing(lensing, ray_side: int) -> csr_matrix:
    """Return L as float64 CSR without stored zeros.

    Args:
        lensing: L.
        ray_side: Rays along a side of the image.

    Raises:
        ValueError: It has another number of rows, a source that is not square, or is not finite.
    """
    lensing = csr_matrix(lensing, dtype="float64", copy=True)
    source_side = round(lensing.shape[1] ** 0.5)
    if lensing.shape != (ray_side**2, source_side**2):
        raise ValueError(
            f"`lensing` must be (m^2, n^2), from the n^2 pixels of a square source to the image's, "
            f"or to its PSF's where these are finer, m^2 = {ray_side**2}. "
            f"Received: shape {lensing.shape}"
        )
    if not np.all(np.isfinite(lensing.data)):
        raise ValueError(
            "`lensing` must be finite. "
            f"Received: {np.sum(~np.isfinite(lensing.data))} NaN or infinite entries"
        )
    lensing.sum_duplicates()
    lensing.eliminate_zeros()
    return lensing


def _without_border(kernel: np.ndarray) -> np.ndarray:
    """Return the kernel with its negligible entries at 0 and its empty border cut off."""
    magnitude = np.abs(kernel)
    kernel = np.where(magnitude > KERNEL_CUT * magnitude.max(), kernel, 0.0)
    half = kernel.shape[0] // 2
    reach = max(int(np.abs(index - half).max()) for index in np.nonzero(kernel))
    return kernel[half - reach : half + reach + 1, half - reach : half + reach + 1]
