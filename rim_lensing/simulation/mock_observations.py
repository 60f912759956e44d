"""Mock observations of lensed galaxies (paper section 2.3), drawn afresh at every call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from keras import ops

from rim_lensing.backend import compiled
from rim_lensing.forward_model.forward_model import ForwardModel, total_magnification
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.forward_model.ray_tracing import bilinear_weights
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.priors import Priors

STAMP_SUPERSAMPLING = 3
_MAX_ROUNDS = 200


@dataclass
class MockObservations:
    """A batch of simulated systems; the source's peak is 1. All arrays are float32.

    Args:
        source: The truth, (batch, n, n).
        image: The observation with noise, (batch, m, m).
        noise: rms of the noise, (batch, m, m).
        psf: Kernels, (batch, k, k).
        lens: (batch, 7).
        noise_level: rms over the peak of the noiseless image, (batch,).
        magnification: Total magnification, (batch,).
        galaxy: Index of each system's galaxy in the pool, (batch,).
    """

    source: np.ndarray
    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    lens: np.ndarray
    noise_level: np.ndarray
    magnification: np.ndarray
    galaxy: np.ndarray

    def network_inputs(self) -> dict[str, np.ndarray]:
        """Return what a RIM takes."""
        return {"image": self.image, "noise": self.noise, "psf": self.psf, "lens": self.lens}


def concatenate(parts: Sequence[MockObservations]) -> MockObservations:
    """Return the systems of all parts, in order."""
    kind = type(parts[0])
    return kind(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(kind)
        }
    )


def place_galaxies(stamps, placement, grid: PixelGrid, supersampling: int = STAMP_SUPERSAMPLING):
    """Put galaxy stamps on the source grid: rotated, scaled, mirrored, shifted, peak 1.

    Args:
        stamps: (batch, s, s).
        placement: (batch, 5), see `Priors.draw`.
        grid: The source grid, side n.
        supersampling: Every pixel is the mean over so many samples squared, which lessens the
            aliasing of a large stamp on a coarse grid.

    Returns:
        (batch, n, n).
    """
    side = stamps.shape[-1]
    x, y = grid.coordinates(supersampling)
    x0, y0, size, angle, parity = (placement[:, i, None, None] for i in range(5))
    dx, dy = (x[None] - x0) * (side / size), (y[None] - y0) * (side / size)
    u = parity * (ops.cos(angle) * dx + ops.sin(angle) * dy)
    v = ops.cos(angle) * dy - ops.sin(angle) * dx
    points = u.shape[1] * u.shape[2]
    indices, weights = bilinear_weights(
        ops.reshape(u, (-1, points)), ops.reshape(v, (-1, points)), PixelGrid(side, 1.0)
    )
    offset = ops.arange(ops.shape(stamps)[0], dtype="int32") * side**2
    taken = ops.take(ops.reshape(stamps, (-1,)), indices + offset[:, None, None], axis=0)
    fine = ops.reshape(ops.sum(taken * weights, axis=-1), (-1, *u.shape[1:], 1))
    # Strides said outright: Keras 3.15 expands the default twice under JAX.
    source = ops.average_pool(
        fine, supersampling, strides=supersampling, data_format="channels_last"
    )[..., 0]
    peak = ops.max(source, axis=(1, 2), keepdims=True)
    return source / ops.where(peak > 0, peak, 1.0)


class SystemRenderer:
    """Makes noiseless systems of drawn parameters, and says which of them meet the constraints.

    Args:
        priors: Whose constraints on magnification and borders hold.
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
    """

    def __init__(self, priors: Priors, geometry: Geometry):
        """Compile; it happens again for every batch of a new size."""
        self.priors, self.geometry = priors, geometry
        self._render = compiled(self._render_eagerly, fused=True)

    def render(self, stamps: np.ndarray, parameters: dict) -> dict[str, np.ndarray]:
        """Return source, psf, image without noise, magnification, lens and noise_level.

        Args:
            stamps: Galaxies, (batch, s, s).
            parameters: Of the systems, as `Priors.draw` gives them.
        """
        rendered = self._render(
            np.asarray(stamps, dtype="float32"),
            *(parameters[name] for name in ("lens", "placement", "psf_sigma")),
        )
        rendered = {key: ops.convert_to_numpy(value) for key, value in rendered.items()}
        return rendered | {"lens": parameters["lens"], "noise_level": parameters["noise"]}

    def meets_constraints(self, rendered: dict[str, np.ndarray]) -> np.ndarray:
        """Return which of the systems of `render` meet the constraints, (batch,)."""
        return (
            (rendered["magnification"] >= self.priors.min_magnification)
            & (border_fraction(rendered["image"]) <= self.priors.max_border)
            & (border_fraction(rendered["source"]) <= self.priors.max_border)
        )

    def _render_eagerly(self, stamps, lens, placement, psf_sigma):
        geometry = self.geometry
        source = place_galaxies(stamps, placement, geometry.source_grid)
        psf = gaussian_kernel(psf_sigma, geometry.psf_side, geometry.image_pixel_scale)
        model = ForwardModel(
            lens, psf, geometry.image_grid, geometry.source_grid, geometry.supersampling
        )
        unblurred = model.ray_tracer.apply(source)
        return {
            "source": source,
            "psf": psf,
            "image": model.blur.apply(unblurred),
            "magnification": total_magnification(
                source, unblurred, geometry.source_grid, geometry.image_grid
            ),
        }


def observe(rendered: dict[str, np.ndarray], draws: np.ndarray, galaxies) -> MockObservations:
    """Add the noise to systems of `SystemRenderer.render`.

    Args:
        rendered: The systems.
        draws: Gaussian deviates of unit variance, (batch, m, m) float32.
        galaxies: Index of each system's galaxy, (batch,).
    """
    image = rendered["image"]
    rms = rendered["noise_level"] * image.max(axis=(1, 2))
    noise = np.broadcast_to(rms[:, None, None], image.shape).astype("float32")
    kept = {key: value for key, value in rendered.items() if key != "image"}
    return MockObservations(image=image + noise * draws, noise=noise, galaxy=galaxies, **kept)


class MockSimulator:
    """Draws mock observations of the galaxies of a pool.

    Args:
        stamps: Galaxies, (count, s, s), any peak.
        priors: Ranges and constraints.
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.

    Raises:
        ValueError: `stamps` is empty or not (count, s, s).
    """

    def __init__(self, stamps: np.ndarray, priors: Priors, geometry: Geometry):
        """Compile the renderer."""
        if np.ndim(stamps) != 3 or len(stamps) == 0 or stamps.shape[1] != stamps.shape[2]:
            raise ValueError(
                "`stamps` must be (count, side, side) with at least one galaxy. "
                f"Received: shape {np.shape(stamps)}"
            )
        self.stamps, self.priors, self.geometry = stamps, priors, geometry
        self._renderer = SystemRenderer(priors, geometry)

    def draw(self, generator: np.random.Generator, batch: int, galaxies=None) -> MockObservations:
        """Draw a batch of systems that meet the constraints of the priors.

        Args:
            generator: The only source of randomness: the same state gives the same systems.
            batch: How many.
            galaxies: Indices (batch,) of the galaxies to use, in order; by default at random.

        Raises:
            RuntimeError: The constraints are so tight that hardly any candidate meets them.
        """
        if galaxies is None:
            galaxies = generator.integers(len(self.stamps), size=batch)

        def attempt(slots: np.ndarray) -> tuple[dict, np.ndarray]:
            candidates = self.priors.draw(generator, batch)
            rendered = self._renderer.render(self.stamps[galaxies[slots]], candidates)
            return rendered, self._renderer.meets_constraints(rendered)

        grids = f"{self.geometry.image_grid} and {self.geometry.source_grid}"
        kept = fill_batch(batch, attempt, f"{self.priors} on {grids}")
        if self.priors.noise_per_batch:
            kept["noise_level"][:] = kept["noise_level"][0]
        draws = generator.standard_normal(kept["image"].shape, dtype="float32")
        return observe(kept, draws, galaxies)


def fill_batch(
    batch: int, attempt: Callable[[np.ndarray], tuple[dict, np.ndarray]], constraints: str
) -> dict[str, np.ndarray]:
    """Return a batch of systems that meet constraints, as arrays (batch, ...) by name.

    Args:
        batch: How many.
        attempt: Takes the slots (batch,) that candidates are for; returns candidates as arrays
            (batch, ...) by name, and which of them meet the constraints, (batch,).
        constraints: In words.

    Raises:
        RuntimeError: They are so tight that hardly any candidate meets them.
    """
    open_slots, filled = np.arange(batch), {}
    for _ in range(_MAX_ROUNDS):
        # Always a full batch, so that the renderer is compiled for one shape.
        slots = np.resize(open_slots, batch)
        rendered, good = attempt(slots)
        for i in np.flatnonzero(good):
            filled.setdefault(slots[i], {key: value[[i]] for key, value in rendered.items()})
        open_slots = np.setdiff1d(np.arange(batch), list(filled))
        if not len(open_slots):
            return stacked([filled[slot] for slot in range(batch)])
    raise RuntimeError(
        f"After {_MAX_ROUNDS} rounds {len(open_slots)} of {batch} systems still had no candidate "
        f"that meets the constraints of {constraints}: widen the ranges."
    )


def stacked(systems: Sequence[dict]) -> dict[str, np.ndarray]:
    """Return the systems, each a dictionary of arrays (1, ...), as one."""
    return {key: np.concatenate([system[key] for system in systems]) for key in systems[0]}


def border_fraction(images: np.ndarray) -> np.ndarray:
    """Brightest pixel on the border over the brightest of all, (batch,)."""
    border = np.maximum(
        images[:, [0, -1], :].max(axis=(1, 2)), images[:, :, [0, -1]].max(axis=(1, 2))
    )
    return border / images.max(axis=(1, 2))
