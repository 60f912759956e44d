"""From a training run to a folder of the zoo, measured and described."""

import csv
import datetime
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np

from rim_lensing import __version__, zoo
from rim_lensing.evaluation import evaluate_model
from rim_lensing.inference.rim_reconstructor import RIMReconstructor
from rim_lensing.model_card import draw_pictures, model_card
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.networks.rim import RIM
from rim_lensing.saved_model import export_saved_model
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.procedural import draw_procedural_galaxies

GOLDEN, METRICS = "golden.npz", "metrics.json"
_GOLDEN_SYSTEMS, _GOLDEN_SEED = 2, 20190101
_LICENCE = "MIT"


def publish(
    run_directory: str | Path,
    name: str,
    galaxies: str | Path | None = None,
    systems: int = 1000,
    seed: int = 0,
    output: str | Path = "pretrained",
    from_checkpoint: bool = False,
    description: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a folder of the zoo: complete, or not at all.

    Args:
        run_directory: Of a training run, see `training.train_rim`.
        name: Of the model: lower-case letters, digits and underscores.
        galaxies: File whose validation split the model is measured on, beside unseen procedural
            galaxies, on which it is measured always.
        systems: How many mocks it is measured on.
        seed: Of these mocks.
        output: The folder of the models, made if missing.
        from_checkpoint: Publish the last checkpoint of a run that is not finished.
        description: One line; by default the network and its grids.
        overwrite: Replace the model of this name.

    Returns:
        The model's folder.

    Raises:
        FileNotFoundError: The run or one of its files is missing.
        FileExistsError: There is a model of this name and `overwrite` is False.
        ValueError: A bad name, or a damaged file of the run.
        RuntimeError: Keras does not run under TensorFlow.
    """
    run, folder = Path(run_directory), Path(output) / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            "`name` must be lower-case letters, digits and underscores, a letter first. "
            f"Received: {name!r}"
        )
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists. Say overwrite (--overwrite) to replace it.")
    network, facts = _read_run(run, from_checkpoint)
    priors = Priors.from_dict(facts.pop("priors"))
    log = _read_log(run)[: facts["epochs"]]
    # Runs of before the log had seconds do not tell.
    seconds = [float(row["seconds"]) for row in log if row.get("seconds")]
    facts["hours"] = sum(seconds) / 3600 if seconds else None
    facts = {
        "description": description or _description(network.config),
        "parameters": network.count_params(),
        "licence": _LICENCE,
        "date": datetime.date.today().isoformat(),
        "git_commit": _git_commit(),
        "versions": {"rim_lensing": __version__} | _versions(),
        "training": facts,
    }
    temporary = folder.with_name(f".{name}.{os.getpid()}.part")
    temporary.mkdir(parents=True)
    try:
        network.save_weights(temporary / zoo.WEIGHTS)
        zoo.write_config(temporary, network.config, priors)
        zoo.write_metadata(temporary, facts)
        # From here on the model is what a user gets.
        model = zoo.load_pretrained(temporary)
        export_saved_model(model.network, temporary / "saved_model")
        write_golden(model, temporary / GOLDEN)
        origins = [galaxies, None] if galaxies else [None]
        evaluations = [evaluate_model(model, origin, systems, seed) for origin in origins]
        measurements = [evaluation.metrics() for evaluation in evaluations]
        card = model_card(name, facts, network.config, priors, measurements)
        (temporary / "README.md").write_text(card)
        (temporary / METRICS).write_text(json.dumps(measurements, indent=2) + "\n")
        (temporary / "pictures").mkdir()
        for key, figure in draw_pictures(evaluations[-1], log).items():
            figure.savefig(temporary / "pictures" / f"{key}.png", dpi=80)
        zoo.write_metadata(temporary, facts)
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_golden(model: RIMReconstructor, path: Path) -> None:
    """Write inputs (image, noise, psf, lens) and the reconstructed source of two mock systems.

    Their galaxies are procedural: nobody's data are shipped.
    """
    generator = np.random.default_rng(_GOLDEN_SEED)
    stamps = draw_procedural_galaxies(_GOLDEN_SYSTEMS, generator)
    simulator = MockSimulator(stamps, Priors(), model.network.config)
    mocks = simulator.draw(generator, _GOLDEN_SYSTEMS, galaxies=np.arange(_GOLDEN_SYSTEMS))
    inputs = mocks.network_inputs()
    source = model.reconstruct(**inputs).source
    np.savez_compressed(path, **inputs, source=source.astype("float32"))


def _read_run(run: Path, from_checkpoint: bool) -> tuple[RIM, dict]:
    """Return the network with its weights, and what is known about its training."""
    weights = run / ("checkpoint.weights.h5" if from_checkpoint else "rim.weights.h5")
    for path in (run / "run.json", run / "log.csv", weights):
        if not path.is_file():
            hint = "" if from_checkpoint else " Is the run finished? If not: --checkpoint."
            raise FileNotFoundError(
                f"{run} is not a complete training run: {path} is missing.{hint}"
            )
    try:
        description = json.loads((run / "run.json").read_text())
        network = RIM(RIMConfig.from_dict(description["config"]))
        recipe = description["recipe"]
        epochs = -(-recipe["steps"] // recipe["steps_per_epoch"])
        if from_checkpoint:
            with h5py.File(weights) as file:
                epochs = int(file.attrs["epochs_done"])
        network.build()
        network.load_weights(weights)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"The training run {run} cannot be read: {error}") from error
    facts = {
        "finished": not from_checkpoint,
        "epochs": epochs,
        "steps": epochs * recipe["steps_per_epoch"],
        **{key: recipe[key] for key in ("batch", "seed", "learning_rate", "schedule", "clip")},
        **{
            key: description[key]
            for key in ("preset", "galaxies", "training_galaxies", "initial_weights", "priors")
        },
        "galaxies_sha256": description.get("galaxies_sha256"),
    }
    return network, facts


def _read_log(run: Path) -> list[dict[str, str]]:
    with open(run / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def _description(config: RIMConfig) -> str:
    return (
        f'RIM for {config.image_side}x{config.image_side} images at {config.image_pixel_scale:g}"'
        f', {config.source_side}x{config.source_side} sources at {config.source_pixel_scale:.4g}"'
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}


def _git_commit() -> str | None:
    """Return the commit of this checkout, marked if it has changes; None outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename; a model that is replaced is set aside until the new one stands."""
    aside = folder.with_name(f"{temporary.name}.old")
    if folder.exists():
        os.rename(folder, aside)
    os.rename(temporary, folder)
    if aside.exists():
        shutil.rmtree(aside)
