"""The forward model of an interferometer: the paper's outlook, B replaced by a Fourier transform.

With the dirty beam b and the dirty image D in flux per pixel (`DirtyImage.per_pixel`), x = L S and
the primary beam P, the log-likelihood of the visibilities is, up to a constant,

    E(S) = (b(0) / sigma^2) (x'D - x'P b * (P x) / 2),

for d = D b(0) / sigma^2 and W = b b(0) / sigma^2 of `dirty_image`; sigma is the rms of D.
"""

from keras import ops

from rim_lensing.backend import gradient, linear_function, tensor
from rim_lensing.forward_model.psf import Blur
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.lensing.grids import PixelGrid


class DirtyBeam(Blur):
    """The convolution with dirty beams on twice the field, (batch, 2 m - 1, 2 m - 1): symmetric."""

    def _check(self, side: int, image_side: int) -> None:
        if side != 2 * image_side - 1:
            raise ValueError(
                f"`beam` must be (batch, 2 m - 1, 2 m - 1), m = {image_side} the pixels along a "
                f"side of the image. Received: a side of {side}"
            )


class VisibilityModel:
    """What `ForwardModel` is to images, for visibilities; methods are its.

    Args:
        lens: As `ForwardModel` takes it.
        beam: Dirty beams in flux per pixel, (batch, 2 m - 1, 2 m - 1), see `DirtyImage.per_pixel`.
        image_grid: Pixels of the sky, side m.
        source_grid: Pixels of the source, side n.
        supersampling: Rays per pixel along each axis.
        source_frame: As `ForwardModel` takes it.
        dtype: In which it computes.
        primary_beam: P, (batch, m, m); None, 1 everywhere.

    Raises:
        ValueError: Beams of another side.
    """

    def __init__(
        self,
        lens,
        beam,
        image_grid: PixelGrid,
        source_grid: PixelGrid,
        supersampling: int = 1,
        source_frame=None,
        dtype: str = "float32",
        primary_beam=None,
    ):
        """Compute what depends on lens and beam alone, once."""
        beam = tensor(beam, dtype)
        self.image_grid, self.source_grid = image_grid, source_grid
        self.ray_tracer = RayTracer(
            tensor(lens, dtype), image_grid, source_grid, supersampling, source_frame, dtype
        )
        self.blur = DirtyBeam(beam, image_grid.side, dtype)
        middle = image_grid.side - 1
        self._peak = beam[:, middle : middle + 1, middle : middle + 1]
        self._primary_beam = None if primary_beam is None else tensor(primary_beam, dtype)

    def predict(self, source):
        """Return the dirty image of a source (batch, n, n), (batch, m, m), in flux per pixel."""
        return self._dirty(self.ray_tracer.apply(source))

    def adjoint(self, image):
        """The adjoint of `predict`: (batch, m, m) to (batch, n, n)."""
        return self.ray_tracer.adjoint(self._dirty(image))

    def light_adjoint(self, image):
        """Return L' image, (batch, n, n): where light of the sky would come from."""
        return self.ray_tracer.adjoint(image)

    def log_likelihood(self, source, image, noise, whitening=None):
        """Return E, (batch,), of a source (batch, n, n).

        Args:
            source: (batch, n, n).
            image: D, (batch, m, m).
            noise: sigma, the same in all pixels, (batch, m, m) or (batch, 1, 1).
            whitening: None: the noise is that of the visibilities.
        """
        sky = self.ray_tracer.apply(source)
        both = sky * (ops.convert_to_tensor(image, sky.dtype) - 0.5 * self._dirty(sky))
        return self._precision(noise)[:, 0, 0] * ops.sum(both, axis=(1, 2))

    def log_likelihood_gradient(self, source, image, noise, whitening=None):
        """Return dE/dS by automatic differentiation: (batch, n, n); arguments as above."""
        return gradient(lambda s: ops.sum(self.log_likelihood(s, image, noise, whitening)), source)

    def projected(self, image, noise, whitening=None):
        """Return L'd of D, (batch, n, n); arguments as of `log_likelihood`."""
        return self._precision(noise) * self.ray_tracer.adjoint(image)

    def normal(self, source, noise, whitening=None):
        """Return L'W L S, (batch, n, n); arguments as of `log_likelihood`."""
        return self._precision(noise) * self.adjoint(self.ray_tracer.apply(source))

    def curvature(self, noise, whitening=None):
        """Return how well the data know each source pixel, (batch, n, n).

        What independent pixels of D would, one for each area of the beam: L' P^2 L 1 times b(0) /
        sigma^2. The row sums of L'W L are about 0 where no baseline is short.
        """
        batch, n = ops.shape(noise)[0], self.source_grid.side
        seen = self.ray_tracer.apply(ops.ones((batch, n, n), self._peak.dtype))
        if self._primary_beam is not None:
            seen = seen * self._primary_beam**2
        return self._precision(noise) * self.ray_tracer.adjoint(seen)

    def best_factor(self, source, image, noise, whitening=None):
        """Return the factor of a source that fits the data best, (batch, 1, 1); 0 of nothing."""
        axes, sky = {"axis": (1, 2), "keepdims": True}, self.ray_tracer.apply(source)
        norm = ops.sum(sky * self._dirty(sky), **axes)
        fitted = ops.sum(sky * ops.convert_to_tensor(image, sky.dtype), **axes)
        return fitted / ops.where(norm > 0, norm, 1.0)

    def _precision(self, noise):
        noise = ops.convert_to_tensor(noise, self._peak.dtype)
        return self._peak / noise[:, :1, :1] ** 2

    def _dirty(self, sky):
        """Return P b * (P x)."""
        beam = self._primary_beam
        sky = sky if beam is None else sky * beam
        # Its own adjoint: b(x) = b(-x).
        dirty = linear_function(self.blur.apply, self.blur.apply)(sky)
        return dirty if beam is None else dirty * beam
