"""The ranges that systems are drawn from: one object for training, tests, CNN and MCMC."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from rim_lensing.lensing.lens_parameters import MAX_ELLIPTICITY
from rim_lensing.plain_numbers import make_fields_plain

NOISE_BINS = ((0.001, 0.01), (0.01, 0.03), (0.03, 0.1))
"""Noise rms over the peak of the lensed image: the bins in which every measure is stated."""


@dataclass(frozen=True)
class Priors:
    """Paper section 2.3, with the ranges that it leaves open. Pairs are the ends of a range.

    Mocks are drawn from the distributions named here. Searches and samplers of the lens use the
    ranges alone: there the prior is flat in theta_E, (e1, e2), x, y and (gamma1, gamma2).

    Args:
        theta_E: Einstein radius in arcsec, uniform.
        axis_ratio: q of the mass, uniform; its position angle is uniform.
        centre: Lens centre along x and y in arcsec, each uniform.
        shear: Modulus of the external shear, uniform; its angle is uniform.
        source_size: Side of the square that the galaxy fills, in arcsec, uniform.
        source_radius: Distance of the galaxy's centre from the origin in arcsec; its square is
            uniform.
        psf_sigma: Width of the Gaussian PSF in arcsec, uniform.
        noise: rms over the peak of the noiseless lensed image, uniform.
        log_noise_fraction: Fraction of systems whose noise is drawn log-uniformly instead: a RIM
            that sees little low noise in training does not learn to fit it. 0 is the paper's.
        noise_per_batch: One noise level for all systems of a batch, as in the paper's training.
        min_magnification: Systems with a smaller total magnification are drawn again.
        max_border: Systems whose image or source has more than this fraction of its peak on the
            border of its frame are drawn again: their flux would fall off.

    Raises:
        ValueError: A range that is not one, or outside what the physics allows.
    """

    theta_E: tuple[float, float] = (0.5, 2.2)
    axis_ratio: tuple[float, float] = (0.3, 1.0)
    centre: tuple[float, float] = (-0.05, 0.05)
    shear: tuple[float, float] = (0.0, 0.15)
    source_size: tuple[float, float] = (0.8, 2.6)
    source_radius: tuple[float, float] = (0.0, 0.8)
    psf_sigma: tuple[float, float] = (0.0, 0.1)
    noise: tuple[float, float] = (0.001, 0.1)
    log_noise_fraction: float = 0.0
    noise_per_batch: bool = False
    min_magnification: float = 3.0
    max_border: float = 0.02

    def __post_init__(self):
        """Make the numbers plain, and refuse ranges that cannot be drawn from."""
        make_fields_plain(self)
        for name in (field.name for field in fields(self) if isinstance(field.default, tuple)):
            value = getattr(self, name)
            if not (np.shape(value) == (2,) and -np.inf < value[0] <= value[1] < np.inf):
                raise ValueError(f"`{name}` must be (smallest, largest). Received: {name}={value}")
            if value[0] < 0 and name != "centre":
                raise ValueError(f"`{name}` must not be below 0. Received: {value}")
        for name in ("source_size", "noise"):
            if getattr(self, name)[0] == 0:
                raise ValueError(f"`{name}` must be positive. Received: {getattr(self, name)}")
        if not 0 <= self.log_noise_fraction <= 1:
            raise ValueError(
                f"`log_noise_fraction` must be from 0 to 1. Received: {self.log_noise_fraction}"
            )
        smallest_q = (1 - MAX_ELLIPTICITY) / (1 + MAX_ELLIPTICITY)
        if self.axis_ratio[0] < smallest_q or self.axis_ratio[1] > 1:
            raise ValueError(
                f"`axis_ratio` must lie within {smallest_q:.3f} to 1. Received: {self.axis_ratio}"
            )

    def draw(self, generator: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Draw candidates, before the constraints on magnification and borders.

        Returns:
            lens (count, 7); placement (count, 5): the galaxy's x, y and size in arcsec, its angle
            in radians and its parity (1 or -1); psf_sigma (count,) in arcsec; noise (count,) over
            the image's peak.
        """

        def uniform(bounds):
            return generator.uniform(*bounds, size=count)

        def angle():
            return generator.uniform(0, 2 * np.pi, size=count)

        axis_ratio, phi = uniform(self.axis_ratio), angle()
        modulus = (1 - axis_ratio) / (1 + axis_ratio)
        shear, shear_angle = uniform(self.shear), angle()
        lens = np.stack(
            [
                uniform(self.theta_E),
                modulus * np.cos(phi),
                modulus * np.sin(phi),
                uniform(self.centre),
                uniform(self.centre),
                shear * np.cos(shear_angle),
                shear * np.sin(shear_angle),
            ],
            axis=-1,
        )
        radius = np.sqrt(uniform(np.square(self.source_radius)))
        direction = angle()
        placement = np.stack(
            [
                radius * np.cos(direction),
                radius * np.sin(direction),
                uniform(self.source_size),
                angle(),
                generator.choice([-1.0, 1.0], size=count),
            ],
            axis=-1,
        )
        log_noise = np.exp(uniform(np.log(self.noise)))
        is_log = generator.uniform(size=count) < self.log_noise_fraction
        noise = np.where(is_log, log_noise, uniform(self.noise))
        return {
            "lens": lens.astype("float32"),
            "placement": placement.astype("float32"),
            "psf_sigma": uniform(self.psf_sigma).astype("float32"),
            "noise": noise.astype("float32"),
        }

    def on_field(self, factor: float) -> "Priors":
        """Return priors for a field `factor` (positive) times as wide, seen by the same telescope.

        Lens and galaxy shrink or grow with the field; the PSF stays what it is.
        """
        lengths = ("theta_E", "centre", "source_size", "source_radius")
        return replace(
            self, **{name: tuple(factor * end for end in getattr(self, name)) for name in lengths}
        )

    def with_ranges(
        self, ranges: Mapping[str, tuple[float, float]], furthest: float | None = None
    ) -> "Priors":
        """Return priors with other ranges.

        Args:
            ranges: By name, theta_E and the like.
            furthest: Of a lens's centre, in x and in y; None leaves it.
        """
        centre = {} if furthest is None else {"centre": (-furthest, furthest)}
        return replace(self, **dict(ranges), **centre)

    def to_dict(self) -> dict:
        """Return the priors as JSON can hold them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict) -> "Priors":
        """Return the priors that `to_dict` gave.

        Raises:
            ValueError: A key that is not known, or a range as in the class.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"Priors have unknown keys. Received: {unknown}")
        return cls(**values)
