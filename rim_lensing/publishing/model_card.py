"""The card of a published model: facts, ranges, measures, pictures, what its kind has to say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rim_lensing import figures
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.publishing.measurement import markdown_table
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.validation_set import PROCEDURAL
from rim_lensing.zoo.zoo import ModelConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {
    "theta_E": ("Einstein radius", '"'),
    "axis_ratio": ("axis ratio of the mass", ""),
    "centre": ("lens centre, x and y", '"'),
    "shear": ("external shear", ""),
    "source_size": ("side of the square that the galaxy fills", '"'),
    "source_radius": ("distance of the galaxy from the origin", '"'),
    "psf_sigma": ("PSF width sigma (Gaussian)", '"'),
    "noise": ("noise rms over the image's peak", ""),
}


@dataclass(frozen=True)
class CardText:
    """What a kind of model says of itself, as Markdown: all else is the same on every card.

    Args:
        network: What it is, in a few words.
        example: How it is called from Python, indented lines.
        served_with: What its SavedModel wants beside an image, its noise and its PSF; begins with
            a semicolon.
        served: How the SavedModel is called, an expression.
        purpose: What it is for, and what not.
        measures: What the numbers of the tables are; goes on after a full stop.
        pictures: Texts by the name of the file in pictures/.
        sections: Whatever else there is to tell, with headings.
        limits: Leads to the table of the ranges that it was trained on.
        last_words: What follows that table.
    """

    network: str
    example: str
    served_with: str
    served: str
    purpose: str
    measures: str
    pictures: dict[str, str]
    sections: str
    limits: str
    last_words: str


def model_card(
    name: str, metadata: dict, config: ModelConfig, measurements: list[dict], text: CardText
) -> str:
    """Return the card of a model as Markdown.

    Args:
        name: Of the model.
        metadata: Facts of metadata.json.
        config: Of the model.
        measurements: Content of metrics.json, see `measurement.measured`.
        text: Of this kind of model.
    """
    side = config.network.psf_side
    return f"""# {name}

{metadata["description"]}

{facts_table(metadata, config.network, text.network)}

    import rim_lensing as rl
{text.example}

Without the package, with TensorFlow alone (float32; noise infinite where masked; the PSF
{side} x {side} pixels{text.served_with}):

    tf.saved_model.load("saved_model").{text.served}

{text.purpose}

## How well it does

On mock systems whose lens is known exactly, with PSF and noise from the paper's ranges: a Gaussian
of sigma 0 to 0.1", and noise uniform in 0.1% to 10% of the image's peak. {text.measures}

{measurement_sections(name, measurements)}

{picture_sections(text.pictures)}

{text.sections}

## Limits

{text.limits}

{ranges_table(config.priors)}

{text.last_words}
"""


def facts_table(metadata: dict, geometry: Geometry, network: str) -> str:
    """Return the table of what the model is and where it comes from, as Markdown.

    Args:
        metadata: Facts of metadata.json.
        geometry: The model's grids.
        network: What it is, in words.
    """
    training, versions = metadata["training"], metadata["versions"]
    image = (
        f'{geometry.image_side} x {geometry.image_side} pixels of {geometry.image_pixel_scale:g}"'
    )
    source = (
        f"{geometry.source_side} x {geometry.source_side} pixels "
        f'of {geometry.source_pixel_scale:.4g}"'
    )
    steps = f"{training['steps']} steps of {training['batch']} systems, seed {training['seed']}"
    if training.get("precision") == "mixed_bfloat16":
        steps += ", layers in bfloat16"
    if training["initial_weights"]:
        steps += f", continued from {training['initial_weights']}"
        if training.get("initial_weights_sha256"):
            steps += f" (sha256 {training['initial_weights_sha256'][:16]}...)"
    if training["hours"] is not None:
        steps += f", {training['hours']:.1f} hours"
        steps += " (of this run)" if training["initial_weights"] else ""
    if not training["finished"]:
        steps += "; a checkpoint of an unfinished run"
    origin = "procedural galaxies only"
    if training["galaxies"]:
        origin = f"the training split of {training['galaxies']}, and procedural ones"
        if training["galaxies_sha256"]:
            origin += f" (sha256 of the file {training['galaxies_sha256'][:16]}...)"
        kinds = training.get("galaxy_kinds", {})
        if kinds:
            of_kinds = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
            origin += f"; {sum(kinds.values())} pictures in that split: {of_kinds}"
    trained_by = "; ".join(training.get("machines") or ["unknown"])
    if training.get("git_commits"):
        trained_by += f"; commit {', '.join(training['git_commits'])}"
    made_with = ", ".join(f"{package} {version}" for package, version in versions.items())
    return table(
        [
            ("image", image),
            ("source", source),
            ("network", network),
            ("training", steps),
            ("trained with", trained_by),
            ("galaxies", f"{training['training_galaxies']}: {origin}"),
            ("made with", made_with),
            ("published", _when(metadata)),
            ("measured", _when(metadata["measured"])),
            ("licence", metadata["licence"]),
        ]
    )


def _when(facts: dict) -> str:
    return f"{facts['date']}, commit {facts['git_commit'] or 'unknown'}"


def ranges_table(priors: Priors) -> str:
    """Return the table of the ranges that the model was trained on, as Markdown."""
    rows = [
        (title, f"{getattr(priors, key)[0]:g} to {getattr(priors, key)[1]:g}{unit}")
        for key, (title, unit) in _UNITS.items()
    ]
    if priors.log_noise_fraction:
        title, noise = rows[-1]
        share = f"{priors.log_noise_fraction:.0%}"
        rows[-1] = (title, f"{noise}, log-uniform in {share} of the training's systems")
    rows += [
        ("total magnification", f"at least {priors.min_magnification:g}"),
        (
            "flux on the border of image and source",
            f"at most {priors.max_border:.0%} of the peak",
        ),
    ]
    return table(rows)


def table(rows, header: tuple[str, ...] = ("", "")) -> str:
    """Return rows of cells as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in lines)


def measurement_sections(name: str, measurements: list[dict]) -> str:
    """Return what was measured, and how to measure it again, as Markdown.

    Args:
        name: Of the model.
        measurements: Content of metrics.json, see `measurement.measured`.
    """
    sections = [_measurement(name, content) for content in measurements]
    first = measurements[0]
    option = "" if first["galaxies"] == PROCEDURAL else f" --galaxies {first['galaxies']}"
    command = f"python train/evaluate.py {name}{option} --systems {first['systems']} --update-card"
    return "\n\n".join(
        [*sections, f"All of this, with the pictures, is written by\n\n    {command}"]
    )


def _measurement(name: str, content: dict) -> str:
    if content["galaxies"] == PROCEDURAL:
        title, option = "Procedural galaxies", ""
        origin = "drawn with a seed that training does not use, so that anyone can repeat this"
    else:
        title, option = "Galaxies of " + content["galaxies"], f" --galaxies {content['galaxies']}"
        origin = "of the validation split, which training does not see"
    if content["validation_set"]:
        origin += f" (the frozen validation set {content['validation_set']})"
    return f"""### {title}

{content["systems"]} systems of {content["distinct_galaxies"]} galaxies
{origin}:

{markdown_table(content)}

    python train/evaluate.py {name}{option} --systems {content["systems"]}"""


def picture_sections(pictures: dict[str, str]) -> str:
    """Return the pictures, each under its text, as Markdown.

    Args:
        pictures: Texts by the name of the file in pictures/.
    """
    return "\n\n".join(f"{text}\n\n![{key}](pictures/{key}.png)" for key, text in pictures.items())


def learning_curve(log: list[dict[str, str]], measures: dict[str, tuple[str, str]]) -> "Figure":
    """Draw the measures on development systems against the step.

    Args:
        log: Rows of log.csv, one per epoch, with columns "development LABEL MEASURE".
        measures: Title and scale of the axis, by measure: a panel each, with a line per label.
    """
    panels = []
    for key, (title, scale) in measures.items():
        columns = {
            column.removeprefix("development ").removesuffix(f" {key}"): column
            for column in log[0]
            if column.startswith("development ") and column.endswith(f" {key}")
        }
        lines = {
            f"noise {label}" if label.endswith("%") else label: [float(row[column]) for row in log]
            for label, column in columns.items()
        }
        panels.append((title, lines, scale))
    return figures.learning_curve([int(row["steps"]) for row in log], panels)
