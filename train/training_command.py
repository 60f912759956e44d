"""What train_rim.py and train_lens_cnn.py have in common: command line, recipe, description."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.zoo.zoo import KINDS, METADATA

if TYPE_CHECKING:
    import keras

    from rim_lensing.simulation.priors import Priors
    from rim_lensing.training.training_run import Recipe


def training_parser(
    title: str, presets: Iterable[str], examples: str, development_systems: int
) -> argparse.ArgumentParser:
    """Return the parser of a training program.

    Args:
        title: One line.
        presets: Names that there are.
        examples: What a batch consists of.
        development_systems: Their number by default.
    """
    *others, last = presets
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--preset", required=True, help=f"{', '.join(others)} or {last}")
    parser.add_argument(
        "--galaxies", type=Path, help="HDF5 file of prepare_galaxies.py; default: procedural ones"
    )
    parser.add_argument(
        "--procedural",
        type=int,
        help="procedural galaxies in the pool (default 4000, or half the real ones)",
    )
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--batch", type=int, help=f"{examples} per step")
    parser.add_argument("--learning-rate", type=float, help="largest learning rate of Adam")
    parser.add_argument("--steps-per-epoch", type=int, help="steps between two checkpoints")
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="of the layers: float32 (default), or mixed_bfloat16, which is faster on processors "
        "that multiply bfloat16",
    )
    parser.add_argument("--seed", type=int, help="of weights and draws (default 0)")
    parser.add_argument(
        "--development-systems",
        type=int,
        default=development_systems,
        help="systems that the learning curve is measured on (default %(default)s)",
    )
    parser.add_argument("--initial-weights", type=Path, help="start from these weights")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser


def check_options(options: argparse.Namespace, kind: str) -> None:
    """Refuse what cannot be trained with, before anything slow is imported.

    Args:
        options: What the user said.
        kind: Of `zoo.KINDS`.

    Raises:
        FileNotFoundError: There are no such galaxies or weights.
        FileExistsError: The output directory holds a finished run.
        ValueError: No development systems, no galaxies to train on, or a number that is not
            positive.
    """
    for path in (options.galaxies, options.initial_weights):
        if path and not path.exists():
            raise FileNotFoundError(f"There is no file {path}")
    finished = options.output / KINDS[kind].weights
    if finished.exists():
        raise FileExistsError(
            f"{options.output} holds a finished run ({finished.name}). Choose another --output."
        )
    if options.development_systems < 1:
        raise ValueError(
            f"--development-systems must be positive. Received: {options.development_systems}"
        )
    positive = ("steps", "batch", "learning_rate", "steps_per_epoch")
    for name in positive:
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name.replace('_', '-')} must be positive. Received: {value}")
    if options.seed is not None and options.seed < 0:
        raise ValueError(f"--seed must be 0 or positive. Received: {options.seed}")
    if options.procedural is not None and options.procedural < (0 if options.galaxies else 1):
        raise ValueError(
            f"--procedural must be positive, or 0 beside --galaxies. Received: {options.procedural}"
        )


def chosen_recipe(options: argparse.Namespace, default: "Recipe") -> "Recipe":
    """Return the default recipe with what the user said instead."""
    names = ("steps", "batch", "learning_rate", "steps_per_epoch", "seed", "precision")
    said = {name: getattr(options, name) for name in names}
    return replace(default, **{name: value for name, value in said.items() if value is not None})


def load_initial_weights(model: "keras.Model", options: argparse.Namespace) -> None:
    """Load the weights to start from, if the user named some.

    Raises:
        ValueError: They are not those of such a model.
    """
    if not options.initial_weights:
        return
    from rim_lensing.files.hdf5_files import FileHeldError, when_free

    try:
        when_free(lambda: model.load_weights(options.initial_weights), options.initial_weights)
    except FileHeldError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{options.initial_weights} does not hold weights of {options.preset}: {error}"
        ) from error


def describe_run(
    options: argparse.Namespace, training_galaxies: int, priors: "Priors"
) -> dict[str, object]:
    """Return what tells this run from others, beside its recipe and configuration.

    Args:
        options: What the user said.
        training_galaxies: Number of galaxies in the pool.
        priors: What the training systems are drawn from.
    """
    from rim_lensing.galaxies.galaxy_pool import DEVELOPMENT_SPLIT
    from rim_lensing.zoo.zoo import sha256

    before = options.initial_weights and {
        "initial_galaxies_sha256": galaxies_behind(options.initial_weights)
    }
    files = {"galaxies": options.galaxies, "initial_weights": options.initial_weights}
    return {
        "preset": options.preset,
        **{name: path.name if path else None for name, path in files.items()},
        **{f"{name}_sha256": sha256(path) if path else None for name, path in files.items()},
        "training_galaxies": training_galaxies,
        "development_systems": options.development_systems,
        "development_split": DEVELOPMENT_SPLIT,
        "priors": priors.to_dict(),
        **(before or {}),
    }


def galaxies_behind(weights: Path) -> list[str]:
    """Return the sha256 of every galaxy file that weights were trained on, and those before them.

    They are told by what lies beside the weights: a run's run.json, or a published model's
    metadata.json. Without either it is not known, and said so.
    """
    from rim_lensing.provenance import seen_galaxies

    if weights.with_name("run.json").exists():
        told = json.loads(weights.with_name("run.json").read_text())
    elif weights.with_name(METADATA).exists():
        told = json.loads(weights.with_name(METADATA).read_text())["training"]
    else:
        return ["unknown"]
    return sorted(seen_galaxies(told))
