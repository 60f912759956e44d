"""What a training run has left in its directory: network, weights, how it was trained, its log."""

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from rim_lensing.files.hdf5_files import FileHeldError, open_hdf5, when_free
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.priors import Priors
from rim_lensing.zoo import zoo

_OF_SOME_RUNS = ("beta", "sky", "psf_kernels", "paper_galaxies_sha256")
_NETWORKS = {"rim": RIM, "lens_cnn": LensCNN}


def read_run(run: Path, from_checkpoint: bool) -> tuple[zoo.ModelConfig, RIM | LensCNN, dict]:
    """Return configuration, network with its weights, and what is known about its training.

    Args:
        run: Directory of the run.
        from_checkpoint: Take the last checkpoint's weights, of a run that is not finished.

    Raises:
        FileNotFoundError: A file of the run is missing.
        ValueError: A file cannot be read, or the weights are not finite.
    """
    _require(run, "run.json", "log.csv")
    try:
        description = json.loads((run / "run.json").read_text())
        config = _read_config(description)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The training run {run} cannot be read: {error}") from error
    weights = run / ("checkpoint.weights.h5" if from_checkpoint else config.weights)
    _require(
        run,
        weights.name,
        hint="" if from_checkpoint else " Is the run finished? If not: --checkpoint.",
    )
    try:
        network = _NETWORKS[config.kind](config.network)
        recipe = description["recipe"]
        epochs = -(-recipe["steps"] // recipe["steps_per_epoch"])
        if from_checkpoint:
            with open_hdf5(weights) as file:
                epochs = int(file.attrs["epochs_done"])
        network.build()
        when_free(lambda: network.load_weights(weights), weights)
        facts = _training_facts(description, recipe, epochs)
    except FileHeldError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"The training run {run} cannot be read: {error!r}") from error
    if not all(np.all(np.isfinite(values)) for values in network.get_weights()):
        raise ValueError(f"The weights of the training run {run} are not finite")
    return config, network, facts


def _training_facts(description: dict, recipe: dict, epochs: int) -> dict:
    """Return what metadata.json says of a training; KeyError if run.json does not tell."""
    return {
        "finished": epochs * recipe["steps_per_epoch"] >= recipe["steps"],
        "epochs": epochs,
        "steps": epochs * recipe["steps_per_epoch"],
        **{key: recipe[key] for key in ("batch", "seed", "learning_rate", "schedule", "clip")},
        "precision": recipe.get("precision", "float32"),
        **{key: description[key] for key in ("preset", "galaxies", "training_galaxies")},
        **{
            key: description.get(key)
            for key in (
                "initial_weights",
                "initial_weights_sha256",
                "initial_galaxies_sha256",
                "galaxies_sha256",
                "development_split",
            )
        },
        **{key: description[key] for key in _OF_SOME_RUNS if key in description},
    }


def _require(run: Path, *names: str, hint: str = "") -> None:
    for name in names:
        if not (run / name).is_file():
            raise FileNotFoundError(
                f"{run} is not a complete training run: {run / name} is missing.{hint}"
            )


def _read_config(description: dict) -> zoo.ModelConfig:
    """Return the model's configuration; its kind is the one whose configuration has these keys."""
    keys = set(description["config"])
    for name, kind in zoo.KINDS.items():
        if keys <= {field.name for field in fields(kind.config)}:
            network = kind.config.from_dict(description["config"])
            return zoo.ModelConfig(name, network, Priors.from_dict(description["priors"]))
    raise ValueError(
        f"run.json has the configuration of no kind of model. Received: {sorted(keys)}"
    )


def read_log(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's log.csv, one per epoch; ValueError if there is none."""
    with open(run / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    if not log:
        raise ValueError(f"The training run {run} cannot be read: log.csv has no row")
    return log
