"""The forward model and its likelihood: equations 5, 6 and 7 of the paper."""

import numpy as np
from keras import ops

from rim_lensing.backend import gradient, tensor
from rim_lensing.forward_model.pixel_noise import PixelNoise
from rim_lensing.forward_model.psf import Blur
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.lensing.grids import PixelGrid


class ForwardModel:
    """image = B L source for a batch of systems, differentiable in source and lens.

    Args:
        lens: Deflections (batch, 2, m o s, m o s) or, in short, (batch, 7 or 8): see `RayTracer`.
        kernel: (batch, k, k) PSF images, or (1, k, k) for all; see `psf.gaussian_kernel` and
            `psf.check_kernel`.
        image_grid: Pixels of the telescope image, side m.
        source_grid: Pixels of the source, side n.
        supersampling: Rays per pixel of the PSF along each axis, s.
        source_frame: Where the source grid lies, lens by lens, (batch, 3), see `RayTracer`.
        dtype: In which it computes, likewise.
        oversampling: Pixels of the PSF per image pixel along each axis, o: rays are shot and
            blurred on these, and averaged over the image's pixels, see `Blur`.

    Raises:
        ValueError: A number of kernels that is neither 1 nor that of the lenses; see `RayTracer`
            and `Blur`.
    """

    def __init__(
        self,
        lens,
        kernel,
        image_grid: PixelGrid,
        source_grid: PixelGrid,
        supersampling: int = 1,
        source_frame=None,
        dtype: str = "float32",
        oversampling: int = 1,
    ):
        """Compute what depends on lens and PSF alone, once."""
        lens, kernel = tensor(lens, dtype), tensor(kernel, dtype)
        lenses, kernels = lens.shape[0], kernel.shape[0]
        if None not in (lenses, kernels) and kernels not in (1, lenses):
            raise ValueError(
                "`kernel` must be one for all lenses, or one each. "
                f"Received: {kernels} kernels, {lenses} lenses"
            )
        self.image_grid, self.source_grid = image_grid, source_grid
        rays = image_grid.finer(oversampling)
        self.ray_tracer = RayTracer(lens, rays, source_grid, supersampling, source_frame, dtype)
        self.blur = Blur(kernel, image_grid.side, dtype, oversampling)

    def predict(self, source):
        """Equation 5: the noiseless image (batch, m, m) of a source (batch, n, n), same unit."""
        return self.blur.apply(self.ray_tracer.apply(source))

    def adjoint(self, image):
        """The adjoint of `predict`: (batch, m, m) to (batch, n, n)."""
        return self.ray_tracer.adjoint(self.blur.adjoint(image))

    def light_adjoint(self, image):
        """Return what `adjoint` does: where light of the image would come from."""
        return self.adjoint(image)

    def log_likelihood(self, source, image, noise, whitening=None):
        """Equation 6 up to its constant: -1/2 r'C_N^-1 r with r = image - B L source.

        Where pixels are independent, -1/2 sum(r^2 / noise^2).

        Args:
            source: (batch, n, n).
            image: The observation, (batch, m, m); where masked it may hold anything, even NaN.
            noise: rms of the noise, (batch, m, m) or (batch, 1, 1); infinite where masked.
            whitening: Of correlated noise, see `PixelNoise`.

        Returns:
            (batch,).

        Raises:
            ValueError: Another shape; a row of numbers would be taken for those of the columns.
        """
        predicted = self.predict(source)
        image = ops.convert_to_tensor(image, dtype=predicted.dtype)
        noise = ops.convert_to_tensor(noise, dtype=predicted.dtype)
        side = self.image_grid.side
        if image.shape[1:] != (side, side) or noise.shape[1:] not in ((side, side), (1, 1)):
            raise ValueError(
                f"`image` must be (batch, {side}, {side}), and `noise` that or (batch, 1, 1). "
                f"Received: shapes {tuple(image.shape)} and {tuple(noise.shape)}"
            )
        residual = ops.where(ops.isfinite(noise), image - predicted, 0.0)
        residual = PixelNoise(noise, whitening).normalised(residual)
        return -0.5 * ops.sum(residual**2, axis=(1, 2))

    def log_likelihood_gradient(self, source, image, noise, whitening=None):
        """Equation 7, by automatic differentiation: (batch, n, n); arguments as above."""
        return gradient(lambda s: ops.sum(self.log_likelihood(s, image, noise, whitening)), source)

    def projected(self, image, noise, whitening=None):
        """Return L'B' C_N^-1 image, (batch, n, n); arguments as of `log_likelihood`."""
        return self.adjoint(PixelNoise(noise, whitening).weighted(image))

    def normal(self, source, noise, whitening=None):
        """Return L'B' C_N^-1 B L source, (batch, n, n); arguments as of `log_likelihood`."""
        return self.projected(self.predict(source), noise, whitening)

    def curvature(self, noise, whitening=None):
        """Return how well the data know each source pixel, (batch, n, n).

        The row sums of L'B' C_N^-1 B L, at least 0; arguments as of `log_likelihood`.
        """
        batch, n = ops.shape(noise)[0], self.source_grid.side
        ones = ops.ones((batch, n, n), "float32")
        return ops.maximum(self.normal(ones, noise, whitening), 0.0)

    def best_factor(self, source, image, noise, whitening=None):
        """Return the factor of a source that fits the data best, (batch, 1, 1); 0 of nothing.

        Arguments as of `log_likelihood`; the image is 0 where masked.
        """
        axes = {"axis": (1, 2), "keepdims": True}
        # Over the noise before they are squared: 1 / noise^2 alone may leave float32.
        pixels = PixelNoise(noise, whitening)
        data, predicted = pixels.normalised(image), pixels.normalised(self.predict(source))
        norm = ops.sum(predicted**2, **axes)
        return ops.sum(predicted * data, **axes) / ops.where(norm > 0, norm, 1.0)

    def as_matrix(self) -> list[np.ndarray]:
        """Return B L as dense numpy arrays (image pixels, source pixels), one per system.

        Meant for small grids: memory grows as m^2 n^2. The factors' own `as_matrix` are sparse.
        """
        rays, blurs = self.ray_tracer.as_matrix(), self.blur.as_matrix()
        if len(blurs) == 1:
            blurs = blurs * len(rays)
        return [(blur @ ray).toarray() for blur, ray in zip(blurs, rays, strict=True)]


def total_magnification(source, image, source_grid: PixelGrid, image_grid: PixelGrid):
    """Flux of the lensed image over flux of the source, per system.

    Args:
        source: (batch, n, n), surface brightness.
        image: L source, (batch, m, m), noiseless; blurring changes nothing but the border's loss.
        source_grid: Pixels of `source`.
        image_grid: Pixels of `image`.

    Returns:
        (batch,). A source without flux has magnification 0.
    """
    image_flux = ops.sum(image, axis=(1, 2)) * image_grid.pixel_scale**2
    source_flux = ops.sum(source, axis=(1, 2)) * source_grid.pixel_scale**2
    return image_flux / ops.where(source_flux == 0, 1.0, source_flux)
