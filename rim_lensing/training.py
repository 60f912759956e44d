"""Training of the RIM (paper section 2.4): recipe, checkpoints, validation, resuming."""

import csv
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from rim_lensing import figures, metrics
from rim_lensing.lensing.forward_model import ForwardModel
from rim_lensing.networks.losses import FinalRMSError, UnrolledRMSError
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.training_data import TrainingData

_PICTURED_SYSTEMS = 5


@dataclass(frozen=True)
class Recipe:
    """How a RIM is trained. The defaults are the paper's.

    Args:
        steps: Optimiser steps.
        batch: Systems per step.
        learning_rate: Of Adam, at the start.
        schedule: "exponential": times 0.96 every 5000 steps. "cosine": a linear rise over the
            first 2% of the steps, then a half cosine to zero.
        clip: The gradient's global norm is clipped here.
        steps_per_epoch: Steps between two validations and checkpoints.
        seed: Of the weights and of all that is drawn.

    Raises:
        ValueError: An unknown schedule, or a number that is not positive.
    """

    steps: int = 200_000
    batch: int = 5
    learning_rate: float = 2e-5
    schedule: str = "exponential"
    clip: float = 5.0
    steps_per_epoch: int = 1000
    seed: int = 0

    def __post_init__(self):
        """Refuse what cannot be trained with."""
        if self.schedule not in ("exponential", "cosine"):
            raise ValueError(
                f"`schedule` must be 'exponential' or 'cosine'. Received: {self.schedule!r}"
            )
        for name in ("steps", "batch", "learning_rate", "clip", "steps_per_epoch"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be positive. Received: {getattr(self, name)}")

    @property
    def epochs(self) -> int:
        """Epochs that hold all the steps; the last one is filled up."""
        return -(-self.steps // self.steps_per_epoch)

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new Adam with this schedule and clipping."""
        if self.schedule == "exponential":
            rate = keras.optimizers.schedules.ExponentialDecay(self.learning_rate, 5000, 0.96)
        else:
            warmup = max(1, self.steps // 50)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0,
                max(1, self.epochs * self.steps_per_epoch - warmup),
                warmup_target=self.learning_rate,
                warmup_steps=warmup,
            )
        return keras.optimizers.Adam(rate, global_clipnorm=self.clip)


COMPACT_RECIPE = Recipe(
    steps=4000, batch=8, learning_rate=1e-3, schedule="cosine", clip=0.3, steps_per_epoch=100
)
"""For the compact presets: what 2 CPU cores do in some hours."""


def predict_image(model: RIM, mocks: MockObservations, source: np.ndarray) -> np.ndarray:
    """Return the noiseless images (batch, m, m) of sources (batch, n, n) under mocks' lenses."""
    config = model.config
    forward = ForwardModel(
        mocks.lens, mocks.psf, config.image_grid, config.source_grid, config.supersampling
    )
    return keras.ops.convert_to_numpy(forward.predict(source))


def evaluate(model: RIM, mocks: MockObservations, batch: int = 16):
    """Reconstruct mocks and measure the last step.

    Returns:
        (summary, sources (systems, n, n), model images (systems, m, m)); the summary is that of
        `metrics.summarise`.
    """
    sources = model.predict(mocks.network_inputs(), batch_size=batch, verbose=0)[:, -1]
    images = predict_image(model, mocks, sources)
    summary = metrics.summarise(
        metrics.rms_error(sources, mocks.source),
        metrics.flux_error(sources, mocks.source),
        metrics.chi2_per_pixel(mocks.image - images, mocks.noise),
        mocks.noise_level,
    )
    return summary, sources, images


class TrainingRun(keras.callbacks.Callback):
    """Validates, logs, draws and checkpoints at the end of every epoch; resumes from there.

    Args:
        directory: Where checkpoint.weights.h5, log.csv and pictures/ go.
        data: Its epoch number is kept in step.
        validation: Mocks of galaxies that are not trained on.
    """

    def __init__(self, directory: Path, data: TrainingData, validation: MockObservations):
        """Nothing is written yet."""
        super().__init__()
        self.directory, self.data, self.validation = Path(directory), data, validation
        self.rows: list[dict] = []
        self.started = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run resumes from."""
        return self.directory / "checkpoint.weights.h5"

    def resume(self, model: RIM) -> int:
        """Load the last checkpoint, if there is one, and return the epoch to go on with.

        Raises:
            ValueError: The checkpoint cannot be read.
        """
        if not self.checkpoint.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            with h5py.File(self.checkpoint) as file:
                epoch = int(file.attrs["epochs_done"])
            model.load_weights(self.checkpoint)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"The checkpoint {self.checkpoint} cannot be read ({error}). Delete it to start "
                "again, or put back a copy."
            ) from error
        with open(self.directory / "log.csv", newline="") as file:
            self.rows = list(csv.DictReader(file))[:epoch]
        return epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Tell the data which epoch's draws are due."""
        self.data.epoch = epoch
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Validate, log, draw, and only then checkpoint: a checkpoint has its row and picture."""
        summary, sources, images = evaluate(self.model, self.validation)
        row = {"epoch": epoch + 1, "steps": int(self.model.optimizer.iterations)} | (logs or {})
        row["seconds"] = round(time.monotonic() - self.started, 1)
        for bin_name, values in summary.items():
            row |= {f"validation {bin_name} {key}": value for key, value in values.items()}
        self.rows.append(row)
        self._write_log()
        self._draw(epoch, sources, images)
        self._save_checkpoint(epoch + 1)

    def _write_log(self):
        temporary = self.directory / "log.csv.tmp"
        with open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[-1]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.directory / "log.csv")

    def _draw(self, epoch, sources, images):
        mocks, few = self.validation, slice(0, _PICTURED_SYSTEMS)
        figure = figures.mock_reconstructions(
            mocks.image[few], mocks.noise[few], images[few], mocks.source[few], sources[few]
        )
        pictures = self.directory / "pictures"
        pictures.mkdir(exist_ok=True)
        figure.savefig(pictures / f"epoch_{epoch + 1:05d}.png", dpi=60)

    def _save_checkpoint(self, epochs_done: int):
        temporary = self.directory / "checkpoint_tmp.weights.h5"
        self.model.save_weights(temporary)
        with h5py.File(temporary, "a") as file:
            file.attrs["epochs_done"] = epochs_done
        os.replace(temporary, self.checkpoint)


def train_rim(
    model: RIM,
    recipe: Recipe,
    data: TrainingData,
    validation: MockObservations,
    description: dict,
    directory: Path,
) -> RIM:
    """Train, or resume, and write the finished weights to `directory`/rim.weights.h5.

    Args:
        model: A built RIM.
        recipe: How.
        data: From what.
        validation: On what it is measured after every epoch.
        description: What identifies the run (JSON); a run in `directory` that was started with
            another one is not continued.
        directory: Made if missing.

    Returns:
        The trained model.

    Raises:
        FileExistsError: `directory` holds a finished run, or one of another description.
    """
    directory = Path(directory)
    description = description | {"recipe": asdict(recipe), "config": model.config.to_dict()}
    _claim(directory, description)
    model.compile(
        optimizer=recipe.optimizer(),
        loss=UnrolledRMSError.from_rim_config(model.config),
        metrics=[FinalRMSError()],
    )
    run = TrainingRun(directory, data, validation)
    first = run.resume(model)
    data.epoch = first
    model.fit(
        data,
        initial_epoch=first,
        epochs=recipe.epochs,
        callbacks=[run],
        verbose=1 if os.isatty(1) else 2,
        shuffle=False,
    )
    _save_finished(model, directory)
    return model


def _claim(directory: Path, description: dict):
    """Make the directory ours, or make sure that it is."""
    finished = directory / "rim.weights.h5"
    if finished.exists():
        raise FileExistsError(
            f"{directory} holds a finished run ({finished.name}). Choose another output directory."
        )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "run.json"
    text = json.dumps(description, indent=2, sort_keys=True)
    foreign = (directory / "checkpoint.weights.h5").exists() and not path.exists()
    if foreign or (path.exists() and path.read_text() != text):
        raise FileExistsError(
            f"{directory} holds a run with other settings ({path.name}). Choose another output "
            "directory, or give the settings of that run to resume it."
        )
    temporary = directory / "run.json.tmp"
    temporary.write_text(text)
    os.replace(temporary, path)


def _save_finished(model: RIM, directory: Path):
    """Write the weights alone, without the optimiser's state."""
    bare = RIM(model.config)
    bare.build()
    bare.set_weights(model.get_weights())
    temporary = directory / "rim_tmp.weights.h5"
    bare.save_weights(temporary)
    os.replace(temporary, directory / "rim.weights.h5")
