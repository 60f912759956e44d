"""Mocks closer to what telescopes see: the recipe `sky`.

Beside `mock_observations`, the paper's: the data are not made with the reconstruction's own L (the
true source has pixels half as wide, goes on beyond the source grid, and many rays are shot for
every image pixel), and lens, galaxy, PSF, noise and blemishes are those of `ranges`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from keras import ops

from rim_lensing.backend import compiled
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.galaxies.stamps import OUTSKIRTS_MARGIN
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.mock_observations import (
    MockObservations,
    border_fraction,
    fill_batch,
    place_galaxies,
    stacked,
)
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.sky.blemishes import contamination, noise_deviates, noise_map
from rim_lensing.simulation.sky.psf_shapes import draw_kernel, draw_psf
from rim_lensing.simulation.sky.ranges import SKY_PRIORS, SKY_RANGES, SkyRanges

FINE = 2
"""Pixels of the true source per pixel of the network's, along each axis."""

_MARGIN_PIXELS = (
    8  # source pixels that the true source goes on for on either side of the source grid
)
_RAY_SPACING = 0.8  # source pixels, at most
_MAX_PEAK_RATIO = 3.6
"""A source whose peak is so many times the image's brightest 3 x 3 pixels is a point to a network
with flux_scale="image", whose own limit is 4."""


@dataclass
class SkyObservations(MockObservations):
    """Mocks of the recipe `sky`; the noise is infinite where masked, lenses are (batch, 8).

    Args:
        source_frame: Where the source grid lies, (batch, 3), see `RayTracer`.
        pixel_ratio: Width of an image pixel in source pixels, (batch,).
        psf_kind: "Gaussian", "wings" or "file", (batch,).
        noise_kind: "white", "Poisson", "drizzled" or "both", (batch,).
    """

    source_frame: np.ndarray
    pixel_ratio: np.ndarray
    psf_kind: np.ndarray
    noise_kind: np.ndarray

    def network_inputs(self) -> dict[str, np.ndarray]:
        """Return what a RIM takes."""
        return super().network_inputs() | {"source_frame": self.source_frame}


class SkySimulator:
    """Draws mocks of the recipe `sky`.

    Args:
        stamps: Galaxies in linear flux with outskirts, (count, s, s), see `stamps.Outskirts`.
        geometry: The preset's grids and PSF side; a RIMConfig is one.
        ranges: What systems are drawn from.
        priors: The same, of lens, galaxy and noise; on the preset's own field.
        kernels: PSFs from files, see `psf_shapes.read_kernels`.

    Attributes:
        image_sides: That images have, in pixels.

    Raises:
        ValueError: `stamps` is not (count, s, s), or images of some side leave no pixel scale.
    """

    def __init__(
        self,
        stamps: np.ndarray,
        geometry: Geometry,
        ranges: SkyRanges = SKY_RANGES,
        priors: Priors = SKY_PRIORS,
        kernels: Sequence[np.ndarray] = (),
    ):
        """Check; the renderer of an image side is compiled when it is first needed."""
        if np.ndim(stamps) != 3 or len(stamps) == 0 or stamps.shape[1] != stamps.shape[2]:
            raise ValueError(
                "`stamps` must be (count, side, side) with at least one galaxy. "
                f"Received: shape {np.shape(stamps)}"
            )
        self.image_sides = ranges.sides(geometry)
        for side in self.image_sides:
            ranges.ratios(side, geometry)
        self.stamps, self.geometry, self.ranges = stamps, geometry, ranges
        self.priors, self.kernels = priors, list(kernels)

    def image_grid(self, side: int) -> PixelGrid:
        """Return the grid of images of so many pixels."""
        return PixelGrid(side, self.geometry.image_pixel_scale)

    def candidate(self, generator: np.random.Generator, image_side: int) -> dict:
        """Draw the parameters of one system, before the constraints; arrays (1, ...), float32.

        Those whose arcs would not fit the image by far are not even candidates.

        Returns:
            lens (1, 8); placement (1, 5) as of `place_galaxies`, on the preset's source grid;
            source_frame (1, 3); pixel_ratio, noise_level (1,); psf (1, k, k); psf_kind (1,).
        """
        geometry, ranges = self.geometry, self.ranges
        while not self._fits(drawn := self.priors.draw(generator, 1)):
            pass
        field = image_side / geometry.image_side
        lens = np.append(drawn["lens"], [[generator.uniform(*ranges.slope)]], axis=1)
        lens[:, [0, 3, 4]] *= field
        ratio = np.exp(generator.uniform(*np.log(ranges.ratios(image_side, geometry))))
        scale = geometry.image_pixel_scale / ratio
        # The source grid lies around the galaxy, not quite in the middle.
        distance = ranges.frame_offset * np.sqrt(generator.uniform()) * geometry.source_side
        direction = generator.uniform(0, 2 * np.pi)
        offset = distance * np.array([np.cos(direction), np.sin(direction)])
        placement = drawn["placement"].astype("float64")
        centre = field * placement[0, :2] - offset * scale
        placement[0, :2] = offset * geometry.source_pixel_scale
        placement[0, 2] *= OUTSKIRTS_MARGIN
        from_file = bool(self.kernels) and generator.uniform() < ranges.kernel_share
        side = min(geometry.psf_side, image_side - 1 + image_side % 2)
        if from_file:
            psf, kind = draw_kernel(generator, self.kernels, side), "file"
        else:
            psf, has_wings = draw_psf(generator, ranges, side)
            kind = "wings" if has_wings else "Gaussian"
        numbers = {
            "lens": lens,
            "placement": placement,
            "source_frame": np.array([[*centre, scale]]),
            "pixel_ratio": np.array([ratio]),
            "noise_level": drawn["noise"],
            "psf": psf[None],
        }
        numbers = {name: value.astype("float32") for name, value in numbers.items()}
        return numbers | {"psf_kind": np.array([kind])}

    def _fits(self, drawn: dict) -> bool:
        """Return whether arcs of theta_E + |beta| + the galaxy's radius end within the image."""
        x, y, size = drawn["placement"][0, :3]
        reach = drawn["lens"][0, 0] + np.hypot(x, y) + size / 4
        return bool(reach < 0.45 * self.geometry.image_grid.width)

    def render(self, stamps: np.ndarray, systems: dict, image_side: int) -> dict[str, np.ndarray]:
        """Return image without noise, source and magnification of systems, and their parameters.

        Args:
            stamps: Their galaxies, (batch, s, s).
            systems: Parameters, as of `candidate`, (batch, ...).
            image_side: Of the images.
        """
        render = _compiled_renderer(_grids(self.geometry), self.ranges, image_side)
        rendered = render(
            np.asarray(stamps, "float32"),
            *(systems[name] for name in ("lens", "placement", "source_frame", "psf")),
        )
        return systems | {key: ops.convert_to_numpy(value) for key, value in rendered.items()}

    def meets_constraints(self, rendered: dict[str, np.ndarray]) -> np.ndarray:
        """Return which systems of `render` are usable, (batch,).

        They are magnified as the priors ask for; no frame has more on its border than the priors
        allow, or than the noise hides: outskirts have no end; and the source is no point.
        """
        image, source = rendered["image"], rendered["source"]
        hidden = np.maximum(self.priors.max_border, rendered["noise_level"])
        peak = image.max(axis=(1, 2))
        source_border = border_fraction(source) * source.max(axis=(1, 2)) / np.maximum(peak, 1e-9)
        return (
            (rendered["magnification"] >= self.priors.min_magnification)
            & (border_fraction(image) <= hidden)
            & (source_border <= hidden)
            & (source.max(axis=(1, 2)) <= _MAX_PEAK_RATIO * rendered["brightest"])
        )

    def observe(
        self, rendered: dict[str, np.ndarray], generators: Sequence, galaxies
    ) -> SkyObservations:
        """Add noise and blemishes, each system's from its generator."""
        images, noises, kinds = [], [], []
        grid = self.image_grid(rendered["image"].shape[1])
        for i, generator in enumerate(generators):
            clean = rendered["image"][i].astype("float64")
            rms = float(rendered["noise_level"][i]) * clean.max()
            sigma, is_poisson = noise_map(generator, self.ranges, clean, rms)
            deviates, is_drizzled = noise_deviates(generator, self.ranges, grid.side)
            added, mask = contamination(generator, self.ranges, rendered["lens"][i], grid)
            if clean[~mask].sum() > self.ranges.largest_hidden * clean.sum():
                mask = np.ones_like(mask)
            images.append(clean + sigma * deviates + rms * added)
            noises.append(np.where(mask, sigma, np.inf))
            kinds.append([["white", "drizzled"], ["Poisson", "both"]][is_poisson][is_drizzled])
        kept = ("source", "psf", "lens", "noise_level", "magnification")
        more = ("source_frame", "pixel_ratio", "psf_kind")
        return SkyObservations(
            image=np.array(images, "float32"),
            noise=np.array(noises, "float32"),
            galaxy=np.asarray(galaxies),
            noise_kind=np.array(kinds),
            **{name: rendered[name] for name in kept + more},
        )

    def draw(
        self, generator: np.random.Generator, batch: int, image_side: int, galaxies=None
    ) -> SkyObservations:
        """Draw a batch of systems that meet the constraints.

        Args:
            generator: The only source of randomness: the same state gives the same systems.
            batch: How many.
            image_side: Of the images, one of `image_sides`.
            galaxies: Indices (batch,) of the galaxies to use, in order; by default at random.

        Raises:
            RuntimeError: The constraints are so tight that hardly any candidate meets them.
        """
        if galaxies is None:
            galaxies = generator.integers(len(self.stamps), size=batch)

        def attempt(slots: np.ndarray) -> tuple[dict, np.ndarray]:
            systems = stacked([self.candidate(generator, image_side) for _ in slots])
            rendered = self.render(self.stamps[galaxies[slots]], systems, image_side)
            return rendered, self.meets_constraints(rendered)

        kept = fill_batch(batch, attempt, f"{self.priors} and {self.ranges}")
        return self.observe(kept, [generator] * batch, galaxies)


def _grids(geometry: Geometry) -> Geometry:
    """Return the Geometry alone of what may be a RIMConfig."""
    return Geometry(**{field.name: getattr(geometry, field.name) for field in fields(Geometry)})


@lru_cache(maxsize=16)
def _compiled_renderer(geometry: Geometry, ranges: SkyRanges, image_side: int):
    """Return what makes noiseless systems; compiling takes longer than many of its systems."""
    grid = PixelGrid(image_side, geometry.image_pixel_scale)
    fine = PixelGrid(
        FINE * (geometry.source_side + 2 * _MARGIN_PIXELS), geometry.source_pixel_scale / FINE
    )
    coarsest = ranges.ratios(image_side, geometry)[1]
    supersampling = int(np.ceil(coarsest / _RAY_SPACING))
    margin = FINE * _MARGIN_PIXELS

    def render(stamps, lens, placement, source_frame, psf):
        source = place_galaxies(stamps, placement, fine, supersampling=2)
        seen = source[:, margin:-margin, margin:-margin, None]
        seen = ops.average_pool(seen, FINE, strides=FINE, data_format="channels_last")[..., 0]
        peak = ops.max(seen, axis=(1, 2), keepdims=True)
        peak = ops.where(peak > 0, peak, 1.0)
        source, seen = source / peak, seen / peak
        fine_frame = ops.concatenate([source_frame[:, :2], source_frame[:, 2:] / FINE], axis=1)
        model = ForwardModel(lens, psf, grid, fine, supersampling, fine_frame)
        unblurred = model.ray_tracer.apply(source)
        image = model.blur.apply(unblurred)
        brightest = ops.average_pool(image[..., None], 3, strides=1, data_format="channels_last")
        # Areas of a pixel of the image and of the true source.
        areas = grid.pixel_scale**2, fine_frame[:, 2] ** 2
        return {
            "source": seen,
            "image": image,
            "brightest": ops.max(brightest, axis=(1, 2, 3)),
            "magnification": ops.sum(unblurred, axis=(1, 2))
            * areas[0]
            / (ops.sum(source, axis=(1, 2)) * areas[1]),
        }

    return compiled(render, fused=True)
