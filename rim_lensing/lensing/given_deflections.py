"""A lens by its deflection angles, as maps that any other package made. No Keras here."""

import numpy as np

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_components import Parameter


class GivenDeflections:
    """The form of `Deflections`: the array is the maps themselves, and has no parameters."""

    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def __repr__(self) -> str:
        """Return a word for it."""
        return "given deflections"

    def __eq__(self, other: object) -> bool:
        """Return whether the other is given deflections, too."""
        return isinstance(other, GivenDeflections)

    def __hash__(self) -> int:
        """Return one number."""
        return hash(GivenDeflections)

    def check(self, array: np.ndarray) -> None:
        """Raise ValueError for maps that are not finite."""
        if not np.all(np.isfinite(array)):
            raise ValueError(
                "`Deflections` must be finite. "
                f"Received: {np.sum(~np.isfinite(array))} NaN or infinite values"
            )

    def on_rays(self, maps, grid: PixelGrid, supersampling: int = 1):
        """Return the maps; of fewer rays than they have, the mean over every pixel.

        Raises:
            ValueError: They are not those of this grid's rays.
        """
        from keras import ops

        rays, given = grid.side * supersampling, maps.shape[-1]
        if given == rays:
            return maps
        if supersampling > 1 or given % rays:
            raise ValueError(
                "`Deflections` must be maps on the rays of the image: a ray in the centre of every "
                f"pixel, or of every {supersampling} x {supersampling} parts of it where the model "
                f"has supersampling={supersampling}: {rays} x {rays}. "
                f"Received: {given} x {given}"
            )
        parts = given // rays
        blocks = ops.reshape(maps, (-1, 2, rays, parts, rays, parts))
        return ops.mean(blocks, axis=(3, 5))


GIVEN = GivenDeflections()
"""The one form of given deflections."""


class Deflections:
    """A lens by its deflection angles on the rays of the image, from any other package.

    Args:
        alpha_x: (m s, m s), or (batch, m s, m s) for a batch of systems: along the columns, in
            arcsec, at the centre of every pixel of the image, or of every one of its s x s parts
            if s x s rays are shot per pixel: by the source model (`network.config.supersampling`),
            or because the PSF is oversampled (`Observation`'s `ray_oversampling`).
            Row i and column j are of the position ((j - (m s - 1) / 2), (i - (m s - 1) / 2)) times
            the ray's spacing.
        alpha_y: Likewise, along the rows.

    Raises:
        ValueError: Maps that are not square or not alike, or not finite.

    Example:
        >>> x, y = model.image_grid.coordinates()
        >>> lens = rl.Deflections(*LensModel(["SIE"]).alpha(x, y, kwargs_lens))
        >>> model.reconstruct(image, noise=0.01, psf=0.07, lens=lens)
    """

    form = GIVEN

    def __init__(self, alpha_x, alpha_y):
        """Check the maps."""
        alpha_x, alpha_y = (np.asarray(each, "float64") for each in (alpha_x, alpha_y))
        shape = alpha_x.shape
        if alpha_y.shape != shape or len(shape) not in (2, 3) or shape[-1] != shape[-2]:
            raise ValueError(
                "`alpha_x` and `alpha_y` must be square maps of one shape, (rows, columns) or "
                f"(batch, rows, columns). Received: shapes {shape} and {alpha_y.shape}"
            )
        self.maps = np.stack([alpha_x, alpha_y], axis=-3).reshape(-1, 2, *shape[-2:])
        GIVEN.check(self.maps)

    def __repr__(self) -> str:
        """Return one line."""
        systems, _, rows, columns = self.maps.shape
        return f"Deflections({systems} system(s), {rows} x {columns} rays)"
