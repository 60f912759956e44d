"""The recipe `sky`: what its systems are drawn from, beside the ranges of `Priors`.

Lensing has no scale of its own: a system on pixels half as wide is one twice as large, in pixels,
on the same. So all lengths are in the unit in which an image pixel is that of the preset, and what
differs between telescopes is how many image pixels the field has, and how wide one is in source
pixels. The recipe of the paper is `Priors` alone, see `mock_observations`.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.simulation.priors import Priors

SKY_PRIORS = Priors(
    centre=(-0.15, 0.15),
    shear=(0.0, 0.2),
    source_size=(0.6, 2.2),
    psf_sigma=(0.0, 0.3),
    log_noise_fraction=0.5,
)
"""On the preset's own field. A galaxy's `source_size` is that of its outline."""


@dataclass(frozen=True)
class SkyRanges:
    """What a sky has that the paper's mocks lack. Shares are of the systems; pairs are ranges.

    Args:
        image_sides: Sides of the images over that of the source grid, both in pixels: every batch
            has one of them. A field of more pixels is a sharper telescope's; lens and galaxy fill
            as much of it.
        pixel_scale: Width of an image pixel in source pixels over what the preset has, log-uniform.
        frame_width: Of the source grid over the image's, which bounds `pixel_scale`; that of
            euclid64 is 0.5.
        frame_offset: Largest distance of the galaxy from the middle of the source grid, over the
            grid's width; its square is uniform. The grid follows the source.
        slope: t of the elliptical power law, uniform; 1 is isothermal.
        psf_width: Standard deviation of the PSF's core in image pixels, the square of a uniform
            number: sharp ones are more frequent.
        psf_axis_ratio: Of the core, uniform.
        wings_share: Have wings: a part of the light, up to `largest_wings`, in a Moffat profile of
            the core's width, index 1.8 to 4.
        largest_wings: See `wings_share`.
        kernel_share: Have a PSF from files, where some are given.
        poisson_share: Have the noise of the image's own photons, too: at the peak its variance is
            up to `largest_poisson` times that of the sky.
        largest_poisson: See `poisson_share`.
        drizzled_share: Have noise that is correlated between neighbours, as that of resampled
            images, by a Gaussian of `correlation` pixels; its rms is as the noise map says.
        correlation: See `drizzled_share`.
        sky_share: Have a wrong sky, normal with the rms `wrong_sky` times that of the noise.
        wrong_sky: See `sky_share`.
        residual_share: Have what subtracting the lens light left: a core of both signs, up to
            `largest_residual` times the noise, at 0.05 to 0.35 theta_E.
        largest_residual: See `residual_share`.
        core_mask_share: Of those with a residual have it masked, and of the others as many have
            a masked core without need. Neighbours are masked as `masks.draw_masks` does.
        largest_hidden: A mask that hides more of the image's flux is left away.

    Raises:
        ValueError: A range or a share that is not one.
    """

    image_sides: tuple[float, ...] = (1.0, 1.5, 2.25)
    pixel_scale: tuple[float, float] = (0.3, 1.2)
    frame_width: tuple[float, float] = (0.3, 0.75)
    frame_offset: float = 0.2
    slope: tuple[float, float] = (0.7, 1.3)
    psf_width: tuple[float, float] = (0.0, 3.0)
    psf_axis_ratio: tuple[float, float] = (0.75, 1.0)
    wings_share: float = 0.6
    largest_wings: float = 0.6
    kernel_share: float = 0.3
    poisson_share: float = 0.4
    largest_poisson: float = 10.0
    drizzled_share: float = 0.35
    correlation: tuple[float, float] = (0.3, 0.8)
    sky_share: float = 0.5
    wrong_sky: float = 0.3
    residual_share: float = 0.4
    largest_residual: float = 30.0
    core_mask_share: float = 0.4
    largest_hidden: float = 0.4

    def __post_init__(self):
        """Refuse what cannot be drawn from."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple | list):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
                if len(value) < 1 or not all(0 <= end < np.inf for end in value):
                    raise ValueError(f"`{field.name}` must hold numbers of 0 or more: {value}")
                if list(value) != sorted(value):
                    raise ValueError(f"`{field.name}` must ascend. Received: {value}")
            elif not 0 <= value <= (1 if field.name.endswith("_share") else np.inf):
                raise ValueError(f"`{field.name}` is out of its range. Received: {value}")

    def sides(self, geometry: Geometry) -> tuple[int, ...]:
        """Return `image_sides` in pixels, beside the source grid of a preset."""
        return tuple(round(side * geometry.source_side) for side in self.image_sides)

    def ratios(self, image_side: int, geometry: Geometry) -> tuple[float, float]:
        """Return the widths of an image pixel in source pixels that frames of `frame_width` leave.

        Args:
            image_side: Of an image, pixels.
            geometry: The preset's grids.

        Raises:
            ValueError: None is left.
        """
        source_side, usual = geometry.source_side, geometry.image_pixel_scale
        usual = usual / geometry.source_pixel_scale
        narrowest, widest = (source_side / (image_side * width) for width in self.frame_width[::-1])
        low = max(self.pixel_scale[0] * usual, narrowest)
        high = min(self.pixel_scale[1] * usual, widest)
        if low > high:
            raise ValueError(
                f"Images of {image_side} pixels leave no pixel scale for sources of {source_side}: "
                f"`pixel_scale` is {self.pixel_scale} times {usual:.3g} source pixels, "
                f"`frame_width` asks for {narrowest:.3g} to {widest:.3g}"
            )
        return low, high

    def to_dict(self) -> dict:
        """Return the ranges as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


SKY_RANGES = SkyRanges()
