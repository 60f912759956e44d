"""What feeds `fit`: fresh mock observations, a function of (seed, epoch, step) alone."""

import keras
import numpy as np

from rim_lensing.simulation.mock_observations import MockSimulator


class TrainingData(keras.utils.PyDataset):
    """Endless supply of mocks, cut into epochs so that training can report and be resumed.

    Args:
        simulator: Draws the mocks.
        batch: Systems per step.
        steps_per_epoch: Steps per epoch.
        seed: Of everything that is drawn.
        epoch: Which epoch's draws to give. Whoever trains sets it, as `TrainingRun` does: Keras's
            `fit` alone shows the same epoch again.
    """

    def __init__(
        self,
        simulator: MockSimulator,
        batch: int,
        steps_per_epoch: int,
        seed: int,
        epoch: int = 0,
    ):
        """Keep the recipe; nothing is drawn yet."""
        super().__init__(workers=1, use_multiprocessing=False)
        self.simulator, self.batch = simulator, batch
        self.steps_per_epoch, self.seed, self.epoch = steps_per_epoch, seed, epoch

    def __len__(self) -> int:
        """Steps per epoch."""
        return self.steps_per_epoch

    def __getitem__(self, step: int):
        """Return (network inputs, true sources) of one step."""
        generator = np.random.default_rng([self.seed, self.epoch, step])
        mocks = self.simulator.draw(generator, self.batch)
        return mocks.network_inputs(), mocks.source
