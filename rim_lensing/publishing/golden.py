"""What a published model answers to two mock systems, kept to be compared with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.lens_fit.lens_predictor import LensPredictor
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors

_SYSTEMS, _SEED = 2, 20190101


def write_golden(
    model: RIMReconstructor | LensPredictor, path: Path, answer: Callable[..., dict]
) -> None:
    """Write the inputs and outputs of two systems, whose galaxies are procedural: nobody's data.

    Args:
        model: Which answers.
        path: Of the .npz file.
        answer: Takes the model and the network inputs of mocks; returns those of them that it
            takes, and its outputs, as arrays by name: `sources`, `lenses`.
    """
    generator = np.random.default_rng(_SEED)
    stamps = draw_procedural_galaxies(_SYSTEMS, generator)
    simulator = MockSimulator(stamps, Priors(), model.network.config)
    mocks = simulator.draw(generator, _SYSTEMS, galaxies=np.arange(_SYSTEMS))
    np.savez_compressed(path, **answer(model, mocks.network_inputs()))


def sources(model: RIMReconstructor, inputs: dict) -> dict:
    """Return image, noise, psf and lens, and the source."""
    return inputs | {"source": model.reconstruct(**inputs).source.astype("float32")}


def lenses(model: LensPredictor, inputs: dict) -> dict:
    """Return image, noise and psf, and the predicted lens and its standard deviation, std."""
    inputs = {name: value for name, value in inputs.items() if name != "lens"}
    lens, std = model.predict(**inputs)
    return inputs | {"lens": lens, "std": std}
