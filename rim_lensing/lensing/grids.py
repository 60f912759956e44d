"""Square pixel grids on the sky (DESIGN section 2)."""

from dataclasses import dataclass, replace

import numpy as np

from rim_lensing.plain_numbers import make_fields_plain


@dataclass(frozen=True)
class PixelGrid:
    """A square grid of square pixels, centred on the origin unless told otherwise.

    Pixel i of n lies (i - (n - 1) / 2) * pixel_scale from the grid's centre; the row index grows
    with +y and the column index with +x.

    Args:
        side: Number of pixels along a side.
        pixel_scale: Width of a pixel in arcsec.
        centre: (x, y) of the middle of the grid, in arcsec.

    Raises:
        ValueError: `side` is not a positive integer, `pixel_scale` is not positive and finite, or
            `centre` is not two finite numbers.
    """

    side: int
    pixel_scale: float
    centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        """Make the numbers plain, and refuse grids that have no pixels."""
        make_fields_plain(self)
        if not isinstance(self.side, int) or self.side < 1:
            raise ValueError(f"`side` must be a positive integer. Received: side={self.side}")
        if not (np.isfinite(self.pixel_scale) and self.pixel_scale > 0):
            raise ValueError(
                "`pixel_scale` must be a positive number of arcsec. "
                f"Received: pixel_scale={self.pixel_scale}"
            )
        if np.shape(self.centre) != (2,) or not np.all(np.isfinite(self.centre)):
            raise ValueError(f"`centre` must be (x, y) in arcsec. Received: centre={self.centre}")

    def __str__(self) -> str:
        """Return the grid in words."""
        where = "" if self.centre == (0.0, 0.0) else " around ({:.3g}, {:.3g})".format(*self.centre)
        return f"{self.side} x {self.side} of {self.pixel_scale:.4g} arcsec{where}"

    @property
    def width(self) -> float:
        """Width of the whole grid in arcsec, from pixel edge to pixel edge."""
        return self.side * self.pixel_scale

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Edges (left, right, bottom, top) in arcsec, as matplotlib's `imshow` wants them."""
        half, (x, y) = self.width / 2, self.centre
        return (x - half, x + half, y - half, y + half)

    def finer(self, factor: int) -> "PixelGrid":
        """Return the same field in pixels `factor` times as fine."""
        return replace(self, side=self.side * factor, pixel_scale=self.pixel_scale / factor)

    def axis(self, supersampling: int = 1) -> np.ndarray:
        """(Sub)pixel centres along one axis, from the grid's centre, (side * supersampling,)."""
        count = self.side * supersampling
        return (np.arange(count) - (count - 1) / 2) * (self.pixel_scale / supersampling)

    def coordinates(self, supersampling: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (x, y) of the (sub)pixel centres, each (rows, columns), in arcsec."""
        axis = self.axis(supersampling)
        x, y = np.meshgrid(axis + self.centre[0], axis + self.centre[1])
        return x, y
