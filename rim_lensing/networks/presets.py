"""Configurations of the RIM, as data (DESIGN sections 3 and 9)."""

import difflib
from dataclasses import dataclass, replace
from typing import TypeVar

from rim_lensing.forward_model.geometry import Geometry

Preset = TypeVar("Preset", bound=Geometry)

_CHOICES = {
    "state_input": ("logit", "source", "both"),
    "likelihood_input": ("raw", "variance", "asinh", "preconditioned"),
    "flux_scale": ("unit", "image"),
    "first_update": ("random", "zero"),
    "initial_source": ("dark", "inverted"),
    "loss_weights": ("equal", "later"),
}


@dataclass(frozen=True)
class RIMConfig(Geometry):
    """Everything that defines a RIM but its weights. The defaults are the paper's (`paper192`).

    The grids are those of `Geometry`.

    Args:
        steps: T, the number of updates.
        channels: Of the embedding, the first ConvGRU, the transposed convolution, the second
            ConvGRU.
        kernel_sizes: Of the same four and of the output layer, in pixels.
        stride: Between the source's pixels and those of the first ConvGRU: what the embedding
            strides over, and the transposed convolution makes up for.
        block: The second ConvGRU sees blocks of this many pixels squared as one pixel of more
            channels, and the output layer takes them apart again (sub-pixel convolution, Shi et
            al. 2016): the same resolution for about 1 / block^2 of the cost. 1: the paper's.
        state_input: How the cell is told its state. "logit": eta (the paper's). "source": S =
            sigmoid(eta). "both".
        likelihood_input: What the cell is told about the likelihood E. "raw": the paper's dE/d eta.
            "variance": that over the mean of 1 / noise^2 (masked pixels count as 0).
            "asinh": asinh(dE/d eta). "preconditioned": dE/dS over the row sums of its curvature,
            its significance, and the curvature (`rim_cell.preconditioned_gradient`).
        skip: The second ConvGRU also sees the cell's inputs at full resolution.
        flux_scale: "unit": sources have peak 1 in the image's unit (the paper's). "image": the
            scale is estimated from the image, see `flux_scale.estimate_flux_scale`.
        first_update: What a network does before training. "random": its output layer is Keras's own
            (the paper's). "zero": it leaves the source as it is. Some random ones, of wide networks
            and of those with blocks, pushed all of the source, or some pixels of every block, to
            where the sigmoid is flat, and never came back.
        initial_source: Where the RIM begins. "dark": 1e-4 everywhere (the paper's). "inverted":
            near the semilinear inversion, see `initial_source.inverted`.
        loss_weights: Of the T outputs in the cost: "equal", or "later" (growing linearly).
        flux_weight: What |flux error| counts in the cost, against 1 of the rms error. The rms error
            hardly notices a faint haze over all of the sky, and the flux does. 0: the paper's.

    Raises:
        ValueError: An option that does not exist, or values that do not fit together.
    """

    steps: int = 10
    channels: tuple[int, int, int, int] = (32, 128, 32, 128)
    kernel_sizes: tuple[int, int, int, int, int] = (11, 11, 11, 11, 11)
    stride: int = 2
    block: int = 1
    state_input: str = "logit"
    likelihood_input: str = "raw"
    skip: bool = False
    flux_scale: str = "unit"
    first_update: str = "random"
    initial_source: str = "dark"
    loss_weights: str = "equal"
    flux_weight: float = 0.0

    def __post_init__(self):
        """Refuse what cannot be built."""
        super().__post_init__()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"`{name}` must be one of {choices}. Received: {getattr(self, name)!r}"
                )
        if not 0 <= self.flux_weight < float("inf"):
            raise ValueError(
                f"`flux_weight` must be 0 or positive. Received: flux_weight={self.flux_weight}"
            )
        if len(self.channels) != 4 or len(self.kernel_sizes) != 5:
            raise ValueError(
                "`channels` must be four numbers and `kernel_sizes` five. "
                f"Received: {self.channels}, {self.kernel_sizes}"
            )
        counts = {"steps": (self.steps,), "stride": (self.stride,), "block": (self.block,)}
        counts |= {"channels": self.channels, "kernel_sizes": self.kernel_sizes}
        for name, values in counts.items():
            if any(int(value) != value or value < 1 for value in values):
                raise ValueError(f"`{name}` must be positive integers. Received: {values}")
        if self.source_side % self.stride:
            raise ValueError(
                f"`source_side` must be a multiple of the stride {self.stride}. "
                f"Received: source_side={self.source_side}"
            )
        if self.stride % self.block:
            raise ValueError(
                f"`block` must divide the stride {self.stride}. Received: block={self.block}"
            )

    @property
    def input_maps(self) -> int:
        """How many maps the cell is given: of the state, and of the likelihood."""
        states = 2 if self.state_input == "both" else 1
        return states + (3 if self.likelihood_input == "preconditioned" else 1)

    @property
    def multiply_adds(self) -> int:
        """Those of the convolutions of all T steps, forward, for one system."""
        c, k, n = self.channels, self.kernel_sizes, self.source_side
        low, blocks = (n // self.stride) ** 2, (n // self.block) ** 2
        wide = c[2] + (self.input_maps * self.block**2 if self.skip else 0)
        per_step = (
            k[0] ** 2 * self.input_maps * c[0] * low
            + 3 * k[1] ** 2 * (c[0] + c[1]) * c[1] * low
            + k[2] ** 2 * c[1] * c[2] * low
            + 3 * k[3] ** 2 * (wide + c[3]) * c[3] * blocks
            + k[4] ** 2 * c[3] * n**2
        )
        return self.steps * per_step


_COMPACT = RIMConfig(
    image_side=64,
    image_pixel_scale=0.1,
    source_side=64,
    source_pixel_scale=0.05,
    psf_side=25,
    steps=8,
    channels=(32, 48, 16, 32),
    kernel_sizes=(7, 5, 5, 3, 3),
    stride=4,
    state_input="both",
    likelihood_input="preconditioned",
    skip=True,
    flux_scale="image",
    first_update="zero",
    loss_weights="later",
    flux_weight=0.1,
)

PRESETS = {
    "paper192": RIMConfig(),
    "hst192": replace(
        _COMPACT,
        image_side=192,
        image_pixel_scale=0.04,
        source_side=192,
        source_pixel_scale=3.0 / 192,
        psf_side=49,
        channels=(32, 64, 32, 32),
        kernel_sizes=(11, 5, 5, 3, 3),
        initial_source="inverted",
        # At the same cost blocks of 4 x 4 with twice the channels learn much less of the detail
        # (train/ablation.py --preset hst192).
        stride=8,
        block=2,
    ),
    "euclid64": _COMPACT,
    "tiny16": replace(
        _COMPACT,
        image_side=16,
        image_pixel_scale=0.3,
        source_side=16,
        source_pixel_scale=0.15,
        psf_side=5,
        steps=3,
        channels=(4, 4, 4, 4),
        kernel_sizes=(3, 3, 3, 3, 3),
        # Tests look at new networks, too.
        first_update="random",
    ),
}
"""By name: the paper's network; its grids with a compact one; Euclid VIS; one for tests."""


def get_preset(name: str) -> RIMConfig:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; the message has the nearest name and the list.
    """
    return named(name, PRESETS)


def named(name: str, presets: dict[str, Preset]) -> Preset:
    """Return the one of the presets that has this name; errors as `get_preset`."""
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no preset {name!r}.{hint} Presets: {', '.join(presets)}")
    return presets[name]
