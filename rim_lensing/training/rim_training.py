"""Training of the RIM (paper section 2.4): its recipe, and how it is measured on the way."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from rim_lensing import figures, metrics
from rim_lensing.backend import float32_defaults
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.networks.losses import FinalRMSError, UnrolledRMSError
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.training_data import TrainingData
from rim_lensing.training.training_run import Recipe, float32_twin, train

_PICTURED_SYSTEMS = 5

COMPACT_RECIPE = Recipe(
    steps=4000, batch=8, learning_rate=1e-3, schedule="cosine", clip=0.3, steps_per_epoch=100
)
"""For the compact presets: what 2 CPU cores do in some hours."""

_PAPER_PRESET = "paper192"


def recipe_of(preset: str) -> Recipe:
    """Return how the preset of this name is trained by default: `paper192` as in the paper."""
    return Recipe() if preset == _PAPER_PRESET else COMPACT_RECIPE


def training_priors(preset: str) -> Priors:
    """Return what the preset of this name is trained on: quiet systems more often than the paper's.

    `paper192`: the paper's own, one noise level per batch.
    """
    if preset == _PAPER_PRESET:
        return Priors(noise_per_batch=True)
    return Priors(log_noise_fraction=0.5)


def predict_image(model: RIM, mocks: MockObservations, source: np.ndarray) -> np.ndarray:
    """Return the noiseless images (batch, m, m) of sources (batch, n, n) under mocks' lenses."""
    config = model.config
    forward = ForwardModel(
        mocks.lens,
        mocks.psf,
        config.image_grid,
        config.source_grid,
        config.supersampling,
        mocks.network_inputs().get("source_frame"),
    )
    return keras.ops.convert_to_numpy(forward.predict(source))


def evaluate(model: RIM, mocks: MockObservations, batch: int = 16):
    """Reconstruct mocks and measure the last step.

    Returns:
        (summary, sources (systems, n, n), model images (systems, m, m)); the summary is that of
        `metrics.summarise`.
    """
    measures, sources, images = _measure(model, mocks, batch)
    return metrics.summarise(*measures), sources, images


def _measure(model: RIM, mocks: MockObservations, batch: int):
    """Return what `metrics.summarise` takes, sources and model images."""
    with float32_defaults():
        sources = model.predict(mocks.network_inputs(), batch_size=batch, verbose=0)[:, -1]
    images = predict_image(model, mocks, sources)
    measures = (
        metrics.rms_error(sources, mocks.source),
        metrics.flux_error(sources, mocks.source),
        metrics.chi2_per_pixel(mocks.image - images, mocks.noise),
        metrics.chi2_significance(mocks.image - images, mocks.noise),
        mocks.noise_level,
    )
    return measures, sources, images


def train_rim(
    model: RIM,
    recipe: Recipe,
    data: TrainingData,
    development: Sequence[MockObservations],
    description: dict,
    directory: Path,
) -> RIM:
    """Train, or resume, and write the finished weights to `directory`/rim.weights.h5.

    Args:
        model: A built RIM.
        recipe: How.
        data: From what.
        development: On what it is measured after every epoch: parts, each of its own image side.
        description: What identifies the run (JSON); a run in `directory` that was started with
            another one is not continued.
        directory: Made if missing.

    Returns:
        The trained model.

    Raises:
        FileExistsError: `directory` holds a finished run, or one of another description.
    """
    directory = Path(directory)

    scale = model.config.image_pixel_scale
    twins = [float32_twin(model).on_image_grid(part.image.shape[1], scale) for part in development]

    def measure(model, epoch):
        parts = []
        for twin, mocks in zip(twins, development, strict=True):
            twin.set_weights(model.get_weights())
            measures, sources, images = _measure(twin, mocks, batch=16)
            parts.append(measures)
            side = f"_{len(images[0])}" if len(twins) > 1 else ""
            path = directory / "pictures" / f"epoch_{epoch:05d}{side}.png"
            _draw(path, mocks, sources, images)
        return metrics.summarise(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    train(
        model,
        recipe,
        data,
        measure,
        description,
        directory / "rim.weights.h5",
        UnrolledRMSError.from_rim_config(model.config),
        (FinalRMSError(),),
    )
    return model


def _draw(path: Path, mocks: MockObservations, sources: np.ndarray, images: np.ndarray):
    few = slice(0, _PICTURED_SYSTEMS)
    figure = figures.mock_reconstructions(
        mocks.image[few], mocks.noise[few], images[few], mocks.source[few], sources[few]
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=60)
