"""One training run in one directory: recipe, checkpoints, learning curve, resuming."""

import csv
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from rim_lensing.backend import allow_varying_shapes, float32_defaults
from rim_lensing.files.hdf5_files import FileHeldError, open_hdf5, when_free
from rim_lensing.files.whole_files import whole_file
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.plain_numbers import make_fields_plain, plain
from rim_lensing.provenance import git_commit, machine

_RUN = "run.json"

PRECISIONS = ("float32", "mixed_bfloat16")

Measure = Callable[[keras.Model, int], dict[str, dict[str, float]]]
"""Takes the model and the number of epochs done; returns measures by name, for every label."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are the paper's for the RIM.

    Args:
        steps: Optimiser steps.
        batch: Systems per step.
        learning_rate: Of Adam, the largest.
        schedule: "exponential": times 0.96 every 5000 steps. "cosine": a linear rise over the
            first 2% of the steps, then a half cosine to zero.
        clip: The gradient's global norm is clipped here.
        steps_per_epoch: Steps between two measurements and checkpoints.
        seed: Of the weights and of all that is drawn.
        precision: Keras's dtype policy of the layers, in training alone: weights, physics and cost
            are float32 under either, and so is the network that is measured and published.
            "mixed_bfloat16" is faster where the processor multiplies bfloat16 (AVX512-BF16, AMX;
            GPUs), and slower where it does not.

    Raises:
        ValueError: An unknown schedule or precision, or a number that is not positive.
    """

    steps: int = 200_000
    batch: int = 5
    learning_rate: float = 2e-5
    schedule: str = "exponential"
    clip: float = 5.0
    steps_per_epoch: int = 1000
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self):
        """Make the numbers plain, and refuse what cannot be trained with."""
        make_fields_plain(self)
        if self.schedule not in ("exponential", "cosine"):
            raise ValueError(
                f"`schedule` must be 'exponential' or 'cosine'. Received: {self.schedule!r}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"`precision` must be one of {PRECISIONS}. Received: {self.precision!r}"
            )
        for name in ("steps", "batch", "learning_rate", "clip", "steps_per_epoch"):
            if not 0 < getattr(self, name) < np.inf:
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


class TrainingRun(keras.callbacks.Callback):
    """Measures, logs and checkpoints at the end of every epoch; resumes from there.

    Args:
        directory: Where checkpoint.weights.h5 and log.csv go.
        data: Its attribute `epoch` is kept in step.
        measure: Called after every epoch; its measures become columns "development LABEL MEASURE"
            of the log.
    """

    def __init__(self, directory: Path, data: keras.utils.PyDataset, measure: Measure):
        """Nothing is written yet."""
        super().__init__()
        self.directory, self.data, self.measure = Path(directory), data, measure
        self.rows: list[dict] = []
        self.started = 0.0
        # Now: a later commit is not what this process runs.
        self.commit = git_commit() or ""

    @property
    def checkpoint(self) -> Path:
        """The file that a killed run resumes from."""
        return self.directory / "checkpoint.weights.h5"

    def resume(self, model: keras.Model) -> int:
        """Load the last checkpoint, if there is one, and return the epoch to go on with.

        Raises:
            ValueError: The checkpoint or the log cannot be read.
        """
        for left_by_a_kill in self.directory.glob(f".*.{self.checkpoint.name}"):
            left_by_a_kill.unlink()
        if not self.checkpoint.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        try:
            with open_hdf5(self.checkpoint) as file:
                epoch = int(file.attrs["epochs_done"])
            when_free(lambda: model.load_weights(self.checkpoint), self.checkpoint)
        except FileHeldError:
            raise
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"The checkpoint {self.checkpoint} cannot be read ({error}). Delete it to start "
                "again, or put back a copy."
            ) from error
        with open(self.directory / "log.csv", newline="") as file:
            self.rows = list(csv.DictReader(file))[:epoch]
        if len(self.rows) != epoch:
            raise ValueError(
                f"{file.name} has {len(self.rows)} rows, and {self.checkpoint.name} is that of "
                f"epoch {epoch}: put back the log that belongs to it."
            )
        return epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Tell the data which epoch's draws are due."""
        self.data.epoch = epoch
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Measure, log, and only then checkpoint: a checkpoint has its row and pictures.

        Raises:
            RuntimeError: Loss or weights are not finite: the last good checkpoint stays.
        """
        finite = all(np.all(np.isfinite(weight)) for weight in self.model.get_weights())
        if not finite or not np.isfinite((logs or {}).get("loss", 0.0)):
            raise RuntimeError(
                f"Loss or weights are not finite after epoch {epoch + 1}. {self.checkpoint} stays "
                "that of the epoch before, if there was one: start another run from its weights "
                "(--initial-weights) with a smaller learning rate."
            )
        row = {"epoch": epoch + 1, "steps": int(self.model.optimizer.iterations)} | (logs or {})
        measured = {
            f"development {label} {name}": value
            for label, values in self.measure(self.model, epoch + 1).items()
            for name, value in values.items()
        }
        row |= {
            "seconds": round(time.monotonic() - self.started, 1),
            "machine": machine(),
            "commit": self.commit,
        }
        self.rows.append(row | measured)
        self._write_log()
        self._save_checkpoint(epoch + 1)

    def _write_log(self):
        path = self.directory / "log.csv"
        with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
            columns = dict.fromkeys(name for row in self.rows[::-1] for name in row)
            writer = csv.DictWriter(file, fieldnames=list(columns))
            writer.writeheader()
            writer.writerows(self.rows)

    def _save_checkpoint(self, epochs_done: int):
        with whole_file(self.checkpoint) as temporary:
            self.model.save_weights(temporary)
            with h5py.File(temporary, "a") as file:
                file.attrs["epochs_done"] = epochs_done


def train(
    model: keras.Model,
    recipe: Recipe,
    data: keras.utils.PyDataset,
    measure: Measure,
    description: dict,
    finished: Path,
    loss: keras.losses.Loss,
    metrics: tuple[keras.metrics.Metric, ...] = (),
) -> None:
    """Train, or resume, in the directory of `finished`.

    Args:
        model: Built; its `config` has a `to_dict`.
        recipe: How.
        data: From what; a function of its attribute `epoch` and the step, so that a killed run
            resumes bit for bit (on a CPU, and under the same backend). Its attribute `shapes_vary`
            tells batches of different shapes; then the first two must differ.
        measure: Of the model, after every epoch, see `TrainingRun`.
        description: What identifies the run (JSON); a run that was started with another one is not
            continued.
        finished: Where the trained weights go; the directory is made if missing.
        loss: What is minimised.
        metrics: What the log shows beside it.

    Raises:
        FileExistsError: The directory holds a finished run, or one of another description, or
            another process is training there.
        ValueError: The last checkpoint cannot be read.
        RuntimeError: Loss or weights have become infinite or NaN.
    """
    finished = Path(finished)
    finished.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(finished.parent), float32_defaults():
        _claim(finished, model.config, recipe, description)
        model.compile(optimizer=recipe.optimizer(), loss=loss, metrics=list(metrics))
        if getattr(data, "shapes_vary", False):
            allow_varying_shapes(model)
        run = TrainingRun(finished.parent, data, measure)
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
        _save_finished(model, finished)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other processes from training in a directory: a run may be started twice by mistake."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"Another process is training in {directory}") from None
        yield
    finally:
        os.close(handle)


def other_settings(
    directory: Path, config: Geometry, recipe: Recipe, description: dict
) -> list[str]:
    """Return in what the run in a directory differs from one of these settings.

    A run of an older version lacks the newer options of configuration and recipe: it had their
    defaults.

    Args:
        directory: Of the run.
        config: Of the network.
        recipe: As in `train`.
        description: As in `train`.

    Returns:
        For each, such as "recipe.steps: 100 there, 200 here"; none if there is no run.

    Raises:
        ValueError: run.json cannot be read.
    """
    path = directory / _RUN
    if not path.exists():
        return []
    try:
        there = json.loads(path.read_text())
        there["recipe"] = asdict(Recipe(**there["recipe"]))
        there["config"] = type(config).from_dict(there["config"]).to_dict()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    here = json.loads(json.dumps(_settings(config, recipe, description)))
    return [
        f"{name}: {old} there, {new} here"
        for name, old, new in _compared("", there, here)
        if old != new
    ]


def _compared(prefix: str, there: dict, here: dict) -> Iterator[tuple]:
    """Yield name and both values of every setting, those of dictionaries one by one."""
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _compared(f"{prefix}{name}.", old, new)
        else:
            yield f"{prefix}{name}", old, new


def _settings(config: Geometry, recipe: Recipe, description: dict) -> dict:
    return plain(description) | {"recipe": asdict(recipe), "config": config.to_dict()}


def _claim(finished: Path, config: Geometry, recipe: Recipe, description: dict) -> None:
    """Make the directory ours, or make sure that it is."""
    directory = finished.parent
    if finished.exists():
        raise FileExistsError(
            f"{directory} holds a finished run ({finished.name}). Choose another output directory."
        )
    path = directory / _RUN
    different = other_settings(directory, config, recipe, description)
    if (directory / "checkpoint.weights.h5").exists() and not path.exists():
        different = [f"{_RUN} is missing"]
    if different:
        raise FileExistsError(
            f"{directory} holds a run with other settings ({'; '.join(different)}). Choose another "
            "output directory, or give the settings of that run to resume it."
        )
    settings = _settings(config, recipe, description)
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, sort_keys=True))


def float32_twin(model: keras.Model) -> keras.Model:
    """Return a new RIM or lens CNN with the same weights, whose layers are float32."""
    twin = type(model)(model.config)
    twin.build()
    twin.set_weights(model.get_weights())
    return twin


def _save_finished(model: keras.Model, path: Path):
    """Write the weights alone, without the optimiser's state."""
    with whole_file(path) as temporary:
        float32_twin(model).save_weights(temporary)
