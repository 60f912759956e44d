"""The grids of an observation and of the source behind it."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Self

from rim_lensing.forward_model.psf_kernels import largest_side
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.plain_numbers import make_fields_plain


@dataclass(frozen=True)
class Geometry:
    """Sizes and scales of everything that is pixelated. The defaults are the paper's.

    Args:
        image_side: Pixels along a side of the telescope image.
        image_pixel_scale: arcsec.
        source_side: Pixels along a side of the source.
        source_pixel_scale: arcsec.
        psf_side: Pixels along a side of the PSF kernels in training and in the SavedModel.
        supersampling: Rays per image pixel along each axis.
        source_centre: (x, y) of the middle of the source grid, in arcsec.

    Raises:
        ValueError: A grid that is not one, a PSF that is even or larger than the image, or no rays.
    """

    image_side: int = 192
    image_pixel_scale: float = 0.04
    source_side: int = 192
    source_pixel_scale: float = 3.0 / 192
    psf_side: int = 49
    supersampling: int = 1
    source_centre: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        """Make the numbers plain, and refuse what cannot be built."""
        make_fields_plain(self)
        PixelGrid(self.image_side, self.image_pixel_scale)
        PixelGrid(self.source_side, self.source_pixel_scale, self.source_centre)
        if self.psf_side not in range(1, self.image_side + 1, 2):
            raise ValueError(
                "`psf_side` must be odd and not larger than the image. "
                f"Received: psf_side={self.psf_side}"
            )
        if self.supersampling < 1 or int(self.supersampling) != self.supersampling:
            raise ValueError(
                f"`supersampling` must be a positive integer. Received: {self.supersampling}"
            )

    @property
    def image_grid(self) -> PixelGrid:
        """Pixels of the telescope image."""
        return PixelGrid(self.image_side, self.image_pixel_scale)

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels of the source."""
        return PixelGrid(self.source_side, self.source_pixel_scale, self.source_centre)

    def on_image_grid(self, side: int, pixel_scale: float) -> Self:
        """Return the same source grid for images of `side` pixels, `pixel_scale` arcsec wide."""
        return replace(
            self,
            image_side=side,
            image_pixel_scale=pixel_scale,
            psf_side=min(self.psf_side, largest_side(side)),
        )

    def on_source_grid(self, pixel_scale: float, centre: tuple[float, float]) -> Self:
        """Return as many source pixels of another width, in arcsec, around another (x, y)."""
        return replace(self, source_pixel_scale=pixel_scale, source_centre=tuple(centre))

    def on_field(self, source_side: int) -> Self:
        """Return a smaller or larger field of the same pixels.

        Args:
            source_side: Of the new source grid, in pixels; the image grid keeps its proportion.

        Raises:
            ValueError: The image grid would not be whole pixels wide, or nothing would be left.
        """
        if source_side < 1 or self.image_side * source_side % self.source_side:
            raise ValueError(
                f"A field of {source_side} source pixels does not leave a whole number of the "
                f"{self.image_side} image pixels that belong to {self.source_side} source pixels"
            )
        image_side = self.image_side * source_side // self.source_side
        return replace(
            self,
            source_side=source_side,
            image_side=image_side,
            psf_side=min(self.psf_side, largest_side(image_side)),
        )

    def to_dict(self) -> dict:
        """Return all fields, a subclass's too, as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            # Files and runs of before grids could lie elsewhere stay what they are.
            if (name, value) != ("source_centre", (0.0, 0.0))
        }

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """Return the configuration that `to_dict` gave.

        Raises:
            ValueError: A key that is not known.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"A {cls.__name__} has unknown keys. Received: {unknown}")
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )


class OnGeometry:
    """What works on the grids of its `geometry`."""

    geometry: Geometry

    @property
    def image_grid(self) -> PixelGrid:
        """The pixels that images must have."""
        return self.geometry.image_grid

    @property
    def source_grid(self) -> PixelGrid:
        """The pixels of the sources."""
        return self.geometry.source_grid

    @property
    def psf_side(self) -> int:
        """Gaussian kernels have at least this many pixels a side."""
        return self.geometry.psf_side
