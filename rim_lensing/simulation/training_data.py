"""What feeds `fit`: fresh mock observations, a function of (seed, epoch, step) alone."""

import keras
import numpy as np

from rim_lensing.simulation.mock_observations import MockSimulator


class EndlessData(keras.utils.PyDataset):
    """Endless supply of systems, cut into epochs so that training can report and be resumed.

    Args:
        batch: Systems per step.
        steps_per_epoch: Steps per epoch.
        seed: Of everything that is drawn.
        epoch: Which epoch's draws to give. Whoever trains sets it, as `TrainingRun` does: Keras's
            `fit` alone shows the same epoch again.
    """

    def __init__(self, batch: int, steps_per_epoch: int, seed: int, epoch: int = 0):
        """Keep the recipe; nothing is drawn yet."""
        super().__init__(workers=1, use_multiprocessing=False)
        self.batch, self.steps_per_epoch = batch, steps_per_epoch
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        """Steps per epoch."""
        return self.steps_per_epoch

    def generator(self, number: int) -> np.random.Generator:
        """Return the random numbers of the epoch that bear a number, such as the step's."""
        return np.random.default_rng([self.seed, self.epoch, number])


class TrainingData(EndlessData):
    """Mocks of the paper's recipe.

    Args:
        simulator: Draws the mocks.
        batch: See `EndlessData`, and so are the rest.
        steps_per_epoch: Steps per epoch.
        seed: Of everything that is drawn.
        epoch: Which epoch's draws to give.
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
        super().__init__(batch, steps_per_epoch, seed, epoch)
        self.simulator = simulator

    def __getitem__(self, step: int):
        """Return (network inputs, true sources) of one step."""
        mocks = self.simulator.draw(self.generator(step), self.batch)
        return mocks.network_inputs(), mocks.source
