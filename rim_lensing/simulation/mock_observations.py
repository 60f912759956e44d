"""Mock observations of lensed galaxies (paper section 2.3), drawn afresh at every call."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from rim_lensing.backend import compiled
from rim_lensing.lensing.forward_model import ForwardModel, total_magnification
from rim_lensing.lensing.geometry import Geometry
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.psf import gaussian_kernel
from rim_lensing.lensing.ray_tracing import bilinear_weights
from rim_lensing.simulation.priors import Priors

_STAMP_SUPERSAMPLING = 3
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


def place_galaxies(stamps, placement, grid: PixelGrid):
    """Put galaxy stamps on the source grid: rotated, scaled, mirrored, shifted, peak 1.

    Args:
        stamps: (batch, s, s).
        placement: (batch, 5), see `Priors.draw`.
        grid: The source grid, side n.

    Returns:
        (batch, n, n). Every pixel is the mean over 3 x 3 subpixels, so that a large stamp is not
        aliased on a coarse grid.
    """
    side = stamps.shape[-1]
    x, y = grid.coordinates(_STAMP_SUPERSAMPLING)
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
    window = _STAMP_SUPERSAMPLING
    source = ops.average_pool(fine, window, strides=window)[..., 0]
    return source / ops.maximum(ops.max(source, axis=(1, 2), keepdims=True), 1e-6)


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
        self._render = compiled(self._render_eagerly)

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
        open_slots = np.arange(batch)
        filled = {}
        for _ in range(_MAX_ROUNDS):
            # Always a full batch, so that the renderer is compiled for one shape.
            slots = np.resize(open_slots, batch)
            candidates = self.priors.draw(generator, batch)
            stamps = np.asarray(self.stamps[galaxies[slots]], dtype="float32")
            rendered = self._render(
                stamps, candidates["lens"], candidates["placement"], candidates["psf_sigma"]
            )
            rendered = {key: ops.convert_to_numpy(value) for key, value in rendered.items()}
            rendered |= {"lens": candidates["lens"], "noise_level": candidates["noise"]}
            for i in np.flatnonzero(self._meets_constraints(rendered)):
                filled.setdefault(slots[i], {key: value[i] for key, value in rendered.items()})
            open_slots = np.setdiff1d(np.arange(batch), list(filled))
            if not len(open_slots):
                break
        else:
            raise RuntimeError(
                f"After {_MAX_ROUNDS} rounds {len(open_slots)} of {batch} systems still had no "
                f"candidate that meets the constraints of {self.priors} on "
                f"{self.geometry.image_grid} and {self.geometry.source_grid}: widen the ranges."
            )
        return self._observe(generator, filled, galaxies)

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

    def _meets_constraints(self, rendered: dict) -> np.ndarray:
        return (
            (rendered["magnification"] >= self.priors.min_magnification)
            & (border_fraction(rendered["image"]) <= self.priors.max_border)
            & (border_fraction(rendered["source"]) <= self.priors.max_border)
        )

    def _observe(self, generator, filled: dict, galaxies) -> MockObservations:
        """Stack the systems in order and add the noise."""
        stacked = {
            key: np.stack([filled[slot][key] for slot in range(len(filled))]) for key in filled[0]
        }
        image = stacked.pop("image")
        if self.priors.noise_per_batch:
            stacked["noise_level"][:] = stacked["noise_level"][0]
        rms = stacked["noise_level"] * image.max(axis=(1, 2))
        noise = np.broadcast_to(rms[:, None, None], image.shape).astype("float32")
        draws = generator.standard_normal(image.shape, dtype="float32")
        return MockObservations(
            image=image + noise * draws, noise=noise, galaxy=galaxies, **stacked
        )


def border_fraction(images: np.ndarray) -> np.ndarray:
    """Brightest pixel on the border over the brightest of all, (batch,)."""
    border = np.maximum(
        images[:, [0, -1], :].max(axis=(1, 2)), images[:, :, [0, -1]].max(axis=(1, 2))
    )
    return border / images.max(axis=(1, 2))
