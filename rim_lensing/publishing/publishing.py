"""From a training run to a folder of the zoo, measured and described."""

import datetime
import importlib.metadata
import json
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rim_lensing import __version__
from rim_lensing.galaxies.galaxy_file import read_galaxies
from rim_lensing.lens_fit.lens_predictor import LensPredictor
from rim_lensing.networks.lens_cnn_presets import LensCNNConfig
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.plain_numbers import plain
from rim_lensing.provenance import UNKNOWN, git_commit, seen_galaxies
from rim_lensing.publishing.golden import lenses, sources, write_golden
from rim_lensing.publishing.lens_cnn_calibration import calibrate
from rim_lensing.publishing.lens_cnn_card import (
    LENS_CNN_LEARNING_CURVE,
    draw_lens_cnn_pictures,
    lens_cnn_card,
)
from rim_lensing.publishing.lens_cnn_evaluation import evaluate_lens_predictor
from rim_lensing.publishing.model_card import learning_curve
from rim_lensing.publishing.rim_card import RIM_LEARNING_CURVE, draw_rim_pictures, rim_card
from rim_lensing.publishing.rim_evaluation import evaluate_model
from rim_lensing.publishing.whole_folders import (
    changed_copy,
    clear_up,
    move_into_place,
    temporary_beside,
)
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.validation_set import (
    PROCEDURAL,
    SYSTEMS,
    check_number_of_systems,
)
from rim_lensing.training.finished_run import read_log, read_run
from rim_lensing.zoo import zoo
from rim_lensing.zoo.saved_model import check_backend, export_lens_predictor, export_saved_model

Model = RIMReconstructor | LensPredictor

GOLDEN, METRICS, SAVED_MODEL = "golden.npz", "metrics.json", "saved_model"
_LICENCE = "MIT"


def publish(
    run_directory: str | Path,
    name: str,
    galaxies: str | Path | None = None,
    systems: int = SYSTEMS,
    output: str | Path = "pretrained",
    from_checkpoint: bool = False,
    description: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a folder of the zoo: complete, or not at all.

    Args:
        run_directory: Of a training run, see `training.train_rim` and
            `lens_cnn_training.train_lens_cnn`. A lens CNN is calibrated first, see
            `lens_cnn_calibration`.
        name: Of the model: lower-case letters, digits and underscores.
        galaxies: File whose validation split the model is measured on, beside unseen procedural
            galaxies, on which it is measured always; a lens CNN is calibrated on its development
            galaxies.
        systems: How many systems of the validation set it is measured on.
        output: The folder of the models, made if missing.
        from_checkpoint: Publish the last checkpoint of a run that is not finished.
        description: One line; by default the network and its grids.
        overwrite: Replace the model of this name.

    Returns:
        The model's folder.

    Raises:
        FileNotFoundError: The run or one of its files is missing.
        FileExistsError: There is a model of this name and `overwrite` is False.
        ValueError: A bad name, a number of systems that is not possible, a damaged file of the
            run, a run on other ranges than those of the validation set, or a galaxy file whose
            training split is not the one of the run.
        RuntimeError: Keras does not run under TensorFlow.
    """
    run, folder = Path(run_directory), Path(output) / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            "`name` must be lower-case letters, digits and underscores, a letter first. "
            f"Received: {name!r}"
        )
    clear_up(folder)
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists. Say overwrite (--overwrite) to replace it.")
    check_number_of_systems(systems)
    check_backend()
    config, network, facts = read_run(run, from_checkpoint)
    _check_unseen(config, facts, galaxies)
    parts = _PARTS[config.kind]
    log = read_log(run)[: facts["epochs"]]
    # Runs of before the log had these columns do not tell.
    seconds = [float(row["seconds"]) for row in log if row.get("seconds")]
    facts["hours"] = sum(seconds) / 3600 if seconds else None
    for key, column in (("machines", "machine"), ("git_commits", "commit")):
        facts[key] = list(dict.fromkeys(row[column] for row in log if row.get(column)))
    facts = {
        "description": description or parts.describe(network.config),
        "parameters": network.count_params(),
        "licence": _LICENCE,
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "versions": {"rim_lensing": __version__} | _versions(),
        "training": facts,
    }
    temporary = temporary_beside(folder)
    temporary.mkdir(parents=True)
    try:
        if config.kind == "lens_cnn":
            calibration = calibrate(network, galaxies)
            network = calibration.network
            config = replace(
                config,
                network=network.config,
                std_factors=calibration.std_factors,
                interval_factors=calibration.interval_factors,
            )
            facts["calibration"] = {
                "systems": calibration.systems,
                "galaxies": [PROCEDURAL, *([Path(galaxies).name] if galaxies else [])],
                "scan": calibration.scan,
            }
        network.save_weights(temporary / config.weights)
        zoo.write_config(temporary, config)
        zoo.write_metadata(temporary, facts)
        # From here on the model is what a user gets.
        model = zoo.load_pretrained(temporary)
        parts.export(model, temporary / SAVED_MODEL)
        write_golden(model, temporary / GOLDEN, parts.answer)
        _save_pictures(temporary, {"learning_curve": learning_curve(log, parts.learning_curve)})
        _write_card(temporary, name, model, config, facts, galaxies, systems)
        move_into_place(temporary, folder, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def update_card(
    folder: str | Path, galaxies: str | Path | None = None, systems: int = SYSTEMS
) -> None:
    """Measure a published model again, and write its card, metrics.json and pictures anew.

    Weights, SavedModel, golden outputs and learning curve stay what they are.

    Args:
        folder: Of the model, as `publish` wrote it.
        galaxies: As in `publish`.
        systems: As in `publish`.

    Raises:
        FileNotFoundError: A file of the model is missing.
        ValueError: One is damaged; `systems` is not possible; or the card has measurements on a
            galaxy file of another name: they would be lost.

    Warns:
        UserWarning: The model was trained on a file with another content.
    """
    folder = Path(folder)
    zoo.verify(folder)
    check_number_of_systems(systems)
    on_files = {
        content["galaxies"]
        for content in json.loads((folder / METRICS).read_text())
        if content["galaxies"] != PROCEDURAL
    }
    lost = on_files - ({Path(galaxies).name} if galaxies else set())
    if lost:
        raise ValueError(
            f"The card of {folder.name} has measurements on {', '.join(sorted(lost))}, which "
            "would be lost: give that file as `galaxies` (--galaxies)"
        )
    facts = zoo.read_metadata(folder)
    del facts["files"]
    if galaxies:
        warn_of_other_galaxies(folder, galaxies)
    with changed_copy(folder) as copy:
        model, config = zoo.load_pretrained(copy), zoo.read_config(copy)
        _write_card(copy, folder.name, model, config, facts, galaxies, systems)


def export_again(folder: str | Path) -> None:
    """Export a published model's SavedModel anew, as this version does, and write its card's text.

    Weights, golden outputs, measurements and pictures stay what they are.

    Args:
        folder: Of the model, as `publish` wrote it.

    Raises:
        FileNotFoundError: A file of the model is missing.
        ValueError: One is damaged.
        RuntimeError: Keras does not run under TensorFlow.
    """
    folder = Path(folder)
    zoo.verify(folder)
    check_backend()
    facts = zoo.read_metadata(folder)
    del facts["files"]
    facts["exported"] = {
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "versions": _versions(),
    }
    with changed_copy(folder) as copy:
        config = zoo.read_config(copy)
        parts = _PARTS[config.kind]
        shutil.rmtree(copy / SAVED_MODEL)
        parts.export(zoo.load_pretrained(copy), copy / SAVED_MODEL)
        measurements = json.loads((copy / METRICS).read_text())
        (copy / "README.md").write_text(parts.card(folder.name, facts, config, measurements))
        zoo.write_metadata(copy, facts)


def _check_unseen(config: zoo.ModelConfig, facts: dict, galaxies: str | Path | None) -> None:
    """Refuse to measure on what the run may have seen, or was not made for."""
    trained_on = replace(config.priors, log_noise_fraction=0.0, noise_per_batch=False)
    if trained_on != Priors():
        raise ValueError(
            "The validation set has the ranges of `Priors()`, and the run was trained on others, "
            "as with --field: start a run on the whole field from its weights (--initial-weights) "
            f"and publish that. Received: {trained_on}"
        )
    if galaxies and not is_trained_on(facts, galaxies):
        raise ValueError(
            f"The run, or one whose weights it began with, {_what_was_seen(facts, galaxies)}, and "
            "may have seen galaxies of the validation split: give the file that all were trained on"
        )


def warn_of_other_galaxies(folder: Path, galaxies: str | Path) -> None:
    """Warn if a published model may have seen the validation split of a galaxy file.

    Args:
        folder: Of the model.
        galaxies: The file.
    """
    training = zoo.read_metadata(folder).get("training", {})
    if not is_trained_on(training, galaxies):
        warnings.warn(
            f"{folder.name}, or weights that it began with, {_what_was_seen(training, galaxies)}: "
            f"make sure that the validation split of {galaxies} is not among that",
            UserWarning,
            stacklevel=3,
        )


def is_trained_on(training: dict, galaxies: str | Path) -> bool:
    """Whether weights saw the training split of this very galaxy file, or of no file at all.

    Args:
        training: What metadata.json says of it. The runs whose weights it began with count, too.
        galaxies: The file.
    """
    return seen_galaxies(training) <= {zoo.sha256(Path(galaxies))}


def _what_was_seen(training: dict, galaxies: str | Path) -> str:
    """Return in words how the galaxies of weights and file differ, where they do."""
    if seen_galaxies(training) <= {zoo.sha256(Path(galaxies)), UNKNOWN}:
        return "has seen galaxies of which no record tells"
    return f"was trained on a file with another content (sha256) than {galaxies} has"


def _write_card(
    directory: Path,
    name: str,
    model: Model,
    config: zoo.ModelConfig,
    facts: dict,
    galaxies: str | Path | None,
    systems: int,
) -> None:
    """Measure the model, write what depends on it, and close the folder with its metadata."""
    parts = _PARTS[config.kind]
    origins = [galaxies, None] if galaxies else [None]
    evaluations = [parts.evaluate(model, origin, systems) for origin in origins]
    measurements = [evaluation.metrics() for evaluation in evaluations]
    facts = facts | {
        "measured": {"date": datetime.date.today().isoformat(), "git_commit": git_commit()}
    }
    if galaxies and zoo.sha256(Path(galaxies)) == facts["training"]["galaxies_sha256"]:
        kinds = Counter(read_galaxies(galaxies, "train", dtype="float16").kinds)
        facts["training"] = facts["training"] | {"galaxy_kinds": dict(kinds.most_common())}
    (directory / "README.md").write_text(parts.card(name, facts, config, measurements))
    (directory / METRICS).write_text(json.dumps(plain(measurements), indent=2) + "\n")
    _save_pictures(directory, parts.draw_pictures(model, evaluations))
    zoo.write_metadata(directory, facts)


def _save_pictures(directory: Path, figures: dict) -> None:
    (directory / "pictures").mkdir(exist_ok=True)
    for key, figure in figures.items():
        figure.savefig(directory / "pictures" / f"{key}.png", dpi=80)


@dataclass(frozen=True)
class _Parts:
    """What a kind of model brings to its publication.

    Args:
        describe: Takes the network's configuration, returns one line.
        export: Takes the model and the directory of the SavedModel.
        evaluate: Takes the model, a galaxy file or None, and the number of systems.
        card: Takes name, metadata, configuration and measurements, returns Markdown.
        draw_pictures: Takes the model and evaluations, returns figures by name.
        learning_curve: What is drawn of the training's log, see `model_card.learning_curve`.
        answer: See `golden.write_golden`.
    """

    describe: Callable
    export: Callable
    evaluate: Callable
    card: Callable
    draw_pictures: Callable
    learning_curve: dict[str, tuple[str, str]]
    answer: Callable


def _describe_rim(config: RIMConfig) -> str:
    return (
        f'RIM for {config.image_side}x{config.image_side} images at {config.image_pixel_scale:g}"'
        f', {config.source_side}x{config.source_side} sources at {config.source_pixel_scale:.4g}"'
    )


def _describe_lens_cnn(config: LensCNNConfig) -> str:
    return (
        f"Lens CNN for {config.image_side}x{config.image_side} images at "
        f'{config.image_pixel_scale:g}": SIE and shear, with standard deviations'
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}


_PARTS = {
    "rim": _Parts(
        describe=_describe_rim,
        export=lambda model, directory: export_saved_model(model.network, directory),
        evaluate=evaluate_model,
        card=rim_card,
        draw_pictures=draw_rim_pictures,
        learning_curve=RIM_LEARNING_CURVE,
        answer=sources,
    ),
    "lens_cnn": _Parts(
        describe=_describe_lens_cnn,
        export=export_lens_predictor,
        evaluate=evaluate_lens_predictor,
        card=lens_cnn_card,
        draw_pictures=draw_lens_cnn_pictures,
        learning_curve=LENS_CNN_LEARNING_CURVE,
        answer=lenses,
    ),
}
"""By kind, see `zoo.KINDS`."""
