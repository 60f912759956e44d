"""Configurations of the lens CNN, as data."""

from dataclasses import dataclass

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.networks.presets import named


@dataclass(frozen=True)
class LensCNNConfig(Geometry):
    """Everything that defines a lens CNN but its weights. The defaults are `euclid64`.

    The grids are those of `Geometry`; the network sees image and PSF alone, the source grid is that
    of the simulated systems.

    Args:
        stem_kernel: Kernel size of the first convolution in pixels.
        channels: Of every stage.
        strides: Of every stage's first convolution; their product divides the image side.
        blocks: Residual blocks of every stage.
        dense: Units of the layer before the outputs.
        dropout: Fraction of the channels, and of the dense units, that is dropped.
        location: The seven parameters' means over the priors, in their own units.
        spread: Their standard deviations.

    Raises:
        ValueError: Values that do not fit together.
    """

    image_side: int = 64
    image_pixel_scale: float = 0.1
    source_side: int = 64
    source_pixel_scale: float = 0.05
    psf_side: int = 25
    stem_kernel: int = 5
    channels: tuple[int, ...] = (32, 64, 96, 128)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    dense: int = 256
    dropout: float = 0.03
    location: tuple[float, ...] = (1.35, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    spread: tuple[float, ...] = (0.49, 0.196, 0.196, 0.029, 0.029, 0.061, 0.061)

    def __post_init__(self):
        """Refuse what cannot be built."""
        super().__post_init__()
        if not len(self.channels) == len(self.strides) == len(self.blocks) > 0:
            raise ValueError(
                "`channels`, `strides` and `blocks` must be equally many. Received: "
                f"{self.channels}, {self.strides}, {self.blocks}"
            )
        counts = (*self.channels, self.dense, *(blocks + 1 for blocks in self.blocks))
        if any(int(count) != count or count < 1 for count in counts):
            raise ValueError(
                "`channels` and `dense` must be positive integers, `blocks` integers from 0 on. "
                f"Received: {self.channels}, {self.dense}, {self.blocks}"
            )
        side = self.image_side
        for stride in self.strides:
            if stride < 1 or side % stride:
                raise ValueError(
                    "The product of `strides` must divide `image_side`. Received: "
                    f"strides={self.strides}, image_side={self.image_side}"
                )
            side //= stride
        if self.stem_kernel < self.strides[0]:
            raise ValueError(
                "`stem_kernel` must not be smaller than the first stride, or pixels are skipped. "
                f"Received: {self.stem_kernel}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: {self.dropout}")
        if not len(self.location) == len(self.spread) == 7 or min(self.spread) <= 0:
            raise ValueError(
                "`location` and `spread` must have 7 numbers, spreads positive. Received: "
                f"{self.location}, {self.spread}"
            )

    @property
    def dropout_units(self) -> int:
        """Random numbers that decide what is dropped in one pass, see `LensCNN`."""
        of_blocks = sum(c * b for c, b in zip(self.channels, self.blocks, strict=True))
        return of_blocks + self.dense


LENS_CNN_PRESETS = {
    "euclid64": LensCNNConfig(),
    "hst192": LensCNNConfig(
        image_side=192,
        image_pixel_scale=0.04,
        source_side=192,
        source_pixel_scale=3.0 / 192,
        psf_side=49,
        channels=(24, 32, 64, 96, 128),
        strides=(3, 2, 2, 2, 2),
        blocks=(0, 0, 1, 1, 1),
    ),
    "tiny16": LensCNNConfig(
        image_side=16,
        image_pixel_scale=0.3,
        source_side=16,
        source_pixel_scale=0.15,
        psf_side=5,
        channels=(4, 8),
        strides=(2, 2),
        blocks=(0, 1),
        dense=16,
    ),
}
"""By name, the grids of the RIM's presets: Euclid VIS; the paper's; one for tests."""


def get_lens_cnn_preset(name: str) -> LensCNNConfig:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; the message has the nearest name and the list.
    """
    return named(name, LENS_CNN_PRESETS)
