"""What feeds the lens CNN's `fit`: mock images and their lenses."""

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image
from rim_lensing.simulation.masks import draw_masks
from rim_lensing.simulation.mock_observations import SystemRenderer
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.training_data import EndlessData

_CANDIDATES = 64
_MAX_FRUITLESS_ROUNDS = 50


class LensTrainingData(EndlessData):
    """Endless supply of images and lenses, a function of (seed, epoch, step) alone.

    A simulated system costs more than a training step on it. So every epoch draws fresh systems,
    an eighth of its images, and shows each under all eight symmetries of the grid, every time with
    fresh noise and a fresh mask; no later epoch sees it again.

    Args:
        stamps: Galaxies, (count, s, s), any peak.
        priors: Ranges and constraints of the systems.
        geometry: Grids and PSF side.
        batch: Images per step.
        steps_per_epoch: Steps per epoch; together with `batch` a multiple of 8 images.
        dropout_units: Random numbers that the network takes for its dropout.
        seed: Of everything that is drawn.
        epoch: Which epoch's draws to give, see `EndlessData`.

    Raises:
        ValueError: The images of an epoch are no multiple of 8.
    """

    def __init__(
        self,
        stamps: np.ndarray,
        priors: Priors,
        geometry: Geometry,
        batch: int,
        steps_per_epoch: int,
        dropout_units: int,
        seed: int,
        epoch: int = 0,
    ):
        """Keep the recipe; nothing is drawn yet."""
        super().__init__(batch, steps_per_epoch, seed, epoch)
        if priors.noise_per_batch:
            raise ValueError("`priors` must have noise_per_batch=False: every system has its own")
        if batch * steps_per_epoch % SYMMETRIES:
            raise ValueError(
                f"The images of an epoch must be a multiple of {SYMMETRIES}. Received: {batch} a "
                f"step, {steps_per_epoch} steps"
            )
        self.stamps, self.priors, self.geometry = stamps, priors, geometry
        self.dropout_units = dropout_units
        self._renderer = SystemRenderer(priors, geometry)
        self._drawn_epoch, self._systems, self._order = None, {}, None

    def __getitem__(self, step: int):
        """Return (network inputs, true lenses (batch, 7)) of one step."""
        if self._drawn_epoch != self.epoch:
            self._draw_systems()
        chosen = self._order[step * self.batch : (step + 1) * self.batch]
        systems, symmetries = chosen // SYMMETRIES, chosen % SYMMETRIES
        noiseless, lens = self._systems["image"][systems], self._systems["lens"][systems]
        for k in range(SYMMETRIES):
            turned = symmetries == k
            noiseless[turned] = transform_image(noiseless[turned], k)
            lens[turned] = lens[turned] @ lens_matrix(k).T
        generator = self.generator(step + 1)
        rms = self._systems["rms"][systems]
        image = noiseless + rms * generator.standard_normal(noiseless.shape, dtype="float32")
        mask = draw_masks(generator, len(image), self.geometry.image_grid)
        inputs = {
            "image": image,
            "noise": np.where(mask, rms, np.float32(np.inf)),
            # Gaussian kernels look the same under all symmetries.
            "psf": self._systems["psf"][systems],
            "dropout": generator.random((len(image), self.dropout_units), dtype="float32"),
        }
        return inputs, lens

    def _draw_systems(self):
        """Draw the epoch's systems, and the order in which their eight views are shown."""
        generator = self.generator(0)
        count = self.batch * self.steps_per_epoch // SYMMETRIES
        kept, rounds = [], 0
        while sum(len(part["lens"]) for part in kept) < count:
            galaxies = generator.integers(len(self.stamps), size=_CANDIDATES)
            candidates = self.priors.draw(generator, _CANDIDATES)
            rendered = self._renderer.render(self.stamps[galaxies], candidates)
            good = self._renderer.meets_constraints(rendered)
            kept.append(
                {name: rendered[name][good] for name in ("image", "noise_level", "psf", "lens")}
            )
            rounds += 1
            if rounds >= _MAX_FRUITLESS_ROUNDS and not any(len(part["lens"]) for part in kept):
                raise RuntimeError(
                    f"None of {rounds * _CANDIDATES} candidates meets the constraints of "
                    f"{self.priors} on {self.geometry.image_grid} and "
                    f"{self.geometry.source_grid}: widen the ranges."
                )
        systems = {name: np.concatenate([part[name] for part in kept])[:count] for name in kept[0]}
        rms = systems.pop("noise_level") * systems["image"].max(axis=(1, 2))
        self._systems = systems | {"rms": rms[:, None, None]}
        self._order = generator.permutation(SYMMETRIES * count)
        self._drawn_epoch = self.epoch
