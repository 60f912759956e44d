"""The lensing distortion matrix L (paper section 2.2), as a linear operator that is never stored.

L is bilinear: a ray that lands at source position beta = theta - alpha takes the four source
pixels around it, and pixels outside the source grid count as zero. Its indices and weights depend
on the lens alone; they are computed once and reused by every `apply` and `adjoint`.
"""

from functools import lru_cache

import numpy as np
from keras import ops
from scipy.sparse import csr_matrix

from rim_lensing.backend import compiled, tensor
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import Form, deflections_on_rays


def bilinear_weights(x, y, grid: PixelGrid):
    """Return which pixels of `grid` each point takes, and with which weights.

    Args:
        x: (batch, points), arcsec.
        y: (batch, points), arcsec.
        grid: The grid interpolated on; a point more than a pixel outside of it takes nothing.

    Returns:
        (indices, weights), each (batch, points, 4): indices into the flattened grid, int32, and
        weights, which are differentiable in x and y.
    """
    n, (centre_x, centre_y) = grid.side, grid.centre
    column = ops.clip((x - centre_x) / grid.pixel_scale + (n - 1) / 2, -1.0, float(n))
    row = ops.clip((y - centre_y) / grid.pixel_scale + (n - 1) / 2, -1.0, float(n))
    left, low = ops.floor(column), ops.floor(row)
    fraction_x, fraction_y = column - left, row - low
    indices, weights = [], []
    for step_y, weight_y in ((0, 1 - fraction_y), (1, fraction_y)):
        for step_x, weight_x in ((0, 1 - fraction_x), (1, fraction_x)):
            i, j = ops.cast(low, "int32") + step_y, ops.cast(left, "int32") + step_x
            inside = (i >= 0) & (i < n) & (j >= 0) & (j < n)
            weights.append(weight_y * weight_x * ops.cast(inside, x.dtype))
            indices.append(ops.clip(i, 0, n - 1) * n + ops.clip(j, 0, n - 1))
    return ops.stack(indices, axis=-1), ops.stack(weights, axis=-1)


class RayTracer:
    """L for a batch of lenses: source (batch, n, n) to unblurred image (batch, m, m).

    Args:
        lens: Deflections of the rays, (batch, 2, m s, m s), see `MassModel.on_rays`; or, in short,
            (batch, 7) or (batch, 8) lens parameters, see `lens_parameters`.
        image_grid: Rays are shot at its pixel centres.
        source_grid: Where the source lives.
        supersampling: Shoot this many rays squared per image pixel, and average.
        source_frame: Where the source grid lies, lens by lens: (batch, 3), the x and y of its
            centre and the width of its pixels, in arcsec. By default around the origin, with the
            pixels of `source_grid`.
        dtype: In which it computes, whatever Keras is set to: "float32" or "float64".

    Raises:
        ValueError: `supersampling` is not a positive integer.
    """

    def __init__(
        self,
        lens,
        image_grid: PixelGrid,
        source_grid: PixelGrid,
        supersampling: int = 1,
        source_frame=None,
        dtype: str = "float32",
    ):
        """Shoot the rays."""
        if int(supersampling) != supersampling or supersampling < 1:
            raise ValueError(
                "`supersampling` must be a positive integer. "
                f"Received: supersampling={supersampling}"
            )
        supersampling = int(supersampling)
        lens = tensor(lens, dtype)
        self.image_grid, self.source_grid = image_grid, source_grid
        alpha = deflections_on_rays(lens, image_grid, supersampling, dtype)
        theta = np.stack(image_grid.coordinates(supersampling))
        beta = _by_pixel(ops.cast(theta, lens.dtype) - alpha, image_grid.side, supersampling)
        if source_frame is not None:
            frame = ops.cast(source_frame, lens.dtype)[:, :, None]
            beta = (beta - frame[:, :2]) * (source_grid.pixel_scale / frame[:, 2:])
        self.batch = ops.shape(lens)[0]
        local, weights = bilinear_weights(beta[:, 0], beta[:, 1], source_grid)
        # One row per image pixel: all the source pixels that all its rays take.
        shape = (-1, image_grid.side**2, 4 * supersampling**2)
        offset = ops.arange(self.batch, dtype="int32") * source_grid.side**2
        self._indices = ops.reshape(local, shape) + offset[:, None, None]
        self._weights = ops.reshape(weights, shape) / supersampling**2

    def apply(self, source):
        """Return L source: (batch, n, n) to (batch, m, m), the same unit (surface brightness).

        Raises:
            ValueError: `source` does not have the shape of the source grids.
        """
        source = self._checked("source", source, self.source_grid)
        taken = ops.take(ops.reshape(source, (-1,)), self._indices, axis=0)
        image = ops.sum(taken * self._weights, axis=-1)
        return ops.reshape(image, (-1, self.image_grid.side, self.image_grid.side))

    def adjoint(self, image):
        """Return L' image: (batch, m, m) to (batch, n, n), such that <L s, d> = <s, L' d>.

        Raises:
            ValueError: `image` does not have the shape of the image grids.
        """
        image = self._checked("image", image, self.image_grid)
        given = ops.reshape(image, (-1, self.image_grid.side**2, 1)) * self._weights
        n = self.source_grid.side
        source = ops.segment_sum(
            ops.reshape(given, (-1,)),
            ops.reshape(self._indices, (-1,)),
            num_segments=self.batch * n * n,
        )
        return ops.reshape(source, (-1, n, n))

    def as_matrix(self) -> list[csr_matrix]:
        """Return L as scipy CSR matrices (image pixels, source pixels), one per system."""
        return _sparse_matrices(self._indices, self._weights, self.source_grid.side)

    def _checked(self, name: str, value, grid: PixelGrid):
        """Return the value as a tensor; a wrong shape would be read as other pixels unnoticed."""
        value = ops.convert_to_tensor(value, dtype=self._weights.dtype)
        batch = self.batch if isinstance(self.batch, int) else "batch"
        wanted, received = (batch, grid.side, grid.side), tuple(value.shape)
        # In a compiled graph the batch may be unknown.
        if len(received) != 3 or any(
            isinstance(n, int) and isinstance(k, int) and n != k
            for n, k in zip(wanted, received, strict=True)
        ):
            raise ValueError(
                f"`{name}` must have the shape (batch, y, x) = {wanted}. Received: shape {received}"
            )
        return value


def lensing_matrices(
    lens, geometry: Geometry, source_frame=None, form: Form | None = None
) -> list[csr_matrix]:
    """Return what `RayTracer.as_matrix` does, from a graph that is compiled for every batch size.

    A ray tracer is some 300 small operations. One by one they cost more than their arithmetic.

    Args:
        lens: (batch, p), or as `RayTracer` takes it.
        geometry: Of the grids, and of the rays.
        source_frame: As of `RayTracer`.
        form: Which reads the lens; by default as `RayTracer` does.

    Raises:
        ValueError: `lens` has another shape.
    """
    lens = np.asarray(lens, "float32")
    if source_frame is not None:
        source_frame = np.asarray(source_frame, "float32")
    traced = _compiled_rays(geometry, form)(lens, source_frame)
    return _sparse_matrices(*traced, geometry.source_side)


@lru_cache(maxsize=8)
def _compiled_rays(geometry: Geometry, form: Form | None):
    def rays(lens, source_frame):
        if form is not None:
            lens = form.on_rays(lens, geometry.image_grid, geometry.supersampling)
        grids = geometry.image_grid, geometry.source_grid
        tracer = RayTracer(lens, *grids, geometry.supersampling, source_frame)
        return tracer._indices, tracer._weights

    return compiled(rays)


def _sparse_matrices(indices, weights, source_side: int) -> list[csr_matrix]:
    indices, weights = ops.convert_to_numpy(indices), ops.convert_to_numpy(weights)
    batch, pixels, entries = weights.shape
    rows, n2 = np.repeat(np.arange(pixels), entries), source_side**2
    return [
        csr_matrix((weights[i].ravel(), (rows, indices[i].ravel() - i * n2)), shape=(pixels, n2))
        for i in range(batch)
    ]


def _by_pixel(maps, side: int, supersampling: int):
    """Return maps of rays (batch, 2, m s, m s) as (batch, 2, m^2 s^2), pixel by pixel."""
    if supersampling > 1:
        maps = ops.reshape(maps, (-1, 2, *(side, supersampling) * 2))
        maps = ops.transpose(maps, (0, 1, 2, 4, 3, 5))
    return ops.reshape(maps, (-1, 2, (side * supersampling) ** 2))
