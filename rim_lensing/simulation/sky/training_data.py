"""What feeds `fit` with the recipe `sky`: one telescope after the other, a function of the step."""

import numpy as np

from rim_lensing.simulation.mock_observations import MockObservations, MockSimulator
from rim_lensing.simulation.sky.simulator import SkySimulator
from rim_lensing.simulation.training_data import EndlessData

_USUAL_NOISE, _ERROR_EXPONENT = 0.03, 0.4
"""The median rms error of reconstructions goes with the noise to about this power, from 0.31% at
0.1-1% of noise to 0.95% at 3-10% (docs/training.md)."""


def cost_weights(noise_level: np.ndarray) -> np.ndarray:
    """Return what systems count, (batch,): one over what the noise allows; 1 at 3% of noise."""
    return (_USUAL_NOISE / noise_level) ** _ERROR_EXPONENT


class SkyTrainingData(EndlessData):
    """Endless supply of mocks of the recipe `sky`, cut into epochs as `EndlessData` is.

    Step by step the image side goes through the simulator's.

    Args:
        simulator: Draws the mocks.
        batch: Systems per step.
        steps_per_epoch: Steps per epoch.
        seed: Of everything that is drawn.
        paper: Draws those of every third step instead, if given: mocks of the paper's recipe.
        epoch: Which epoch's draws to give, see `EndlessData`.
    """

    shapes_vary = True

    def __init__(
        self,
        simulator: SkySimulator,
        batch: int,
        steps_per_epoch: int,
        seed: int,
        paper: MockSimulator | None = None,
        epoch: int = 0,
    ):
        """Keep the recipe; nothing is drawn yet."""
        super().__init__(batch, steps_per_epoch, seed, epoch)
        self.simulator, self.paper = simulator, paper

    def __getitem__(self, step: int):
        """Return (network inputs, true sources, weights in the cost) of one step."""
        mocks = self._draw(self.generator(step), step)
        inputs = mocks.network_inputs()
        if "source_frame" not in inputs:
            inputs |= preset_frame(self.simulator, len(mocks.lens), inputs["lens"])
        return inputs, mocks.source, cost_weights(mocks.noise_level)

    def _draw(self, generator: np.random.Generator, step: int) -> MockObservations:
        if self.paper is not None and step % 3 == 2:
            return self.paper.draw(generator, self.batch)
        sides = self.simulator.image_sides
        number = step if self.paper is None else 2 * (step // 3) + step % 3
        return self.simulator.draw(generator, self.batch, sides[number % len(sides)])


def preset_frame(simulator: SkySimulator, batch: int, lens: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs by which a mock of the paper's recipe is one of the recipe `sky`."""
    scale = simulator.geometry.source_pixel_scale
    frame = np.tile(np.array([0.0, 0.0, scale], "float32"), (batch, 1))
    isothermal = np.ones((batch, 1), "float32")
    return {"source_frame": frame, "lens": np.append(lens, isothermal, axis=1)}
