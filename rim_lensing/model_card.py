"""The card of a published model: what it is, how well it does, in words, tables and pictures."""

from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.evaluation import PROCEDURAL, Evaluation, markdown_table
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.simulation.priors import Priors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = {
    "best": "The three procedural systems with the smallest rms errors:",
    "median": "Three procedural systems with the median rms error:",
    "worst": "The three procedural systems with the largest rms errors:",
    "learning_curve": "Validation during training, on a small set of systems:",
}
_PICTURED_SYSTEMS = 3
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


def model_card(
    name: str, metadata: dict, config: RIMConfig, priors: Priors, measurements: list[dict]
) -> str:
    """Return the card as Markdown.

    Args:
        name: Of the model.
        metadata: Facts of metadata.json.
        config: Of the network.
        priors: Of the training set.
        measurements: Content of metrics.json: what `Evaluation.metrics` returned, the one on
            procedural galaxies last.
    """
    facts = _table(_facts(metadata, config))
    ranges = _table(
        (title, f"{getattr(priors, key)[0]:g} to {getattr(priors, key)[1]:g}{unit}")
        for key, (title, unit) in _UNITS.items()
    )
    measured = "\n\n".join(_measurement(name, content) for content in measurements)
    pictures = "\n\n".join(
        f"{text}\n\n![{key}](pictures/{key}.png)" for key, text in PICTURES.items()
    )
    return f"""# {name}

{metadata["description"]}

{facts}

    import rim_lensing as rl
    model = rl.load_pretrained("{name}")
    result = model.reconstruct(image, noise=noise, psf=psf, lens=rl.LensParameters(theta_E=1.2))

Without the package, with TensorFlow alone (float32; noise infinite where masked; the PSF
{config.psf_side} x {config.psf_side} pixels; seven lens parameters):

    tf.saved_model.load("saved_model").serve(image, noise_map, psf, lens_parameters)["source"]

## How well it does

On mock systems whose lens is known exactly, with PSF and noise from the paper's ranges: a Gaussian
of sigma 0 to 0.1", and noise uniform in 0.1% to 10% of the image's peak. Medians and one 90th
percentile over the systems, with bootstrap standard errors. The rms error is over all source
pixels, in units of the source's peak.

{measured}

{pictures}

## Limits

Trained for a singular isothermal ellipsoid in external shear that is known, Gaussian PSFs,
uncorrelated noise, no lens light, and one source, in these ranges; outside of them expect less, and
look at the residuals:

{ranges}

The network gives no uncertainty. Please cite Morningstar et al. 2019, ApJ 883, 14.
"""


def _facts(metadata: dict, config: RIMConfig) -> list[tuple[str, str]]:
    training, versions = metadata["training"], metadata["versions"]
    image = f'{config.image_side} x {config.image_side} pixels of {config.image_pixel_scale:g}"'
    source = (
        f'{config.source_side} x {config.source_side} pixels of {config.source_pixel_scale:.4g}"'
    )
    network = (
        f"Recurrent Inference Machine, {config.steps} steps, {metadata['parameters']:,} weights"
    )
    steps = f"{training['steps']} steps of {training['batch']} systems, seed {training['seed']}"
    if training["initial_weights"]:
        steps += f", continued from {training['initial_weights']}"
    if training["hours"] is not None:
        steps += f", {training['hours']:.1f} hours"
    if not training["finished"]:
        steps += "; a checkpoint of an unfinished run"
    origin = "procedural galaxies only"
    if training["galaxies"]:
        origin = f"the training split of {training['galaxies']}, and procedural ones"
        if training["galaxies_sha256"]:
            origin += f" (sha256 of the file {training['galaxies_sha256'][:16]}...)"
    made_with = ", ".join(f"{package} {version}" for package, version in versions.items())
    return [
        ("image", image),
        ("source", source),
        ("network", network),
        ("training", steps),
        ("galaxies", f"{training['training_galaxies']}: {origin}"),
        ("made with", made_with),
        ("published", f"{metadata['date']}, commit {metadata['git_commit'] or 'unknown'}"),
        ("licence", metadata["licence"]),
    ]


def _table(rows) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)])


def _measurement(name: str, content: dict) -> str:
    if content["galaxies"] == PROCEDURAL:
        title, option = "Procedural galaxies", ""
        origin = "drawn with a seed that training does not use, so that anyone can repeat this"
    else:
        title, option = "Galaxies of " + content["galaxies"], f" --galaxies {content['galaxies']}"
        origin = "of the validation split, which training does not see"
    repeat = f"--systems {content['systems']} --seed {content['seed']}"
    return f"""### {title}

{content["systems"]} systems (seed {content["seed"]}) of {content["distinct_galaxies"]} galaxies
{origin}:

{markdown_table(content)}

    python train/evaluate.py {name}{option} {repeat}"""


def draw_pictures(evaluation: Evaluation, log: list[dict[str, str]]) -> "dict[str, Figure]":
    """Return the figures of the card, by the names of PICTURES.

    Args:
        evaluation: On procedural galaxies: pictures of galaxies of a file are not ours to publish.
        log: Rows of the training run's log.csv.
    """
    order = np.argsort(evaluation.rms_error)
    few = min(_PICTURED_SYSTEMS, len(order))
    middle = (len(order) - few) // 2
    chosen = {
        "best": order[:few],
        "median": order[middle : middle + few],
        "worst": order[::-1][:few],
    }
    return {name: _systems(evaluation, indices) for name, indices in chosen.items()} | {
        "learning_curve": learning_curve(log)
    }


def learning_curve(log: list[dict[str, str]]) -> "Figure":
    """Draw the medians of rms error, |flux error| and chi^2 per pixel against the step.

    Args:
        log: Rows of log.csv, one per epoch.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    panels = {
        "median_rms_error": "rms error / peak",
        "median_abs_flux_error": "|flux error|",
        "median_chi2_per_pixel": "chi$^2$ / pixel",
    }
    steps = [int(row["steps"]) for row in log]
    labels = [
        key.removeprefix("validation ").removesuffix(" median_rms_error")
        for key in log[0]
        if key.startswith("validation ") and key.endswith(" median_rms_error")
    ]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axis, (key, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for label in labels:
            values = [float(row[f"validation {label} {key}"]) for row in log]
            name = "all" if label == "all" else f"noise {label}"
            axis.plot(steps, values, label=name, color="k" if label == "all" else None, lw=1)
        axis.set(yscale="log", xlabel="training step", title=f"median {title}")
        axis.yaxis.set_major_formatter("{x:g}")
        # Minor labels where the axis spans less than a decade; elsewhere they would overlap.
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axis.tick_params(which="both", labelsize=8)
        axis.grid(alpha=0.3)
    figure.axes[0].legend()
    return figure


def _systems(evaluation: Evaluation, indices: np.ndarray) -> "Figure":
    from rim_lensing.figures import mock_reconstructions

    mocks = evaluation.mocks
    return mock_reconstructions(
        mocks.image[indices],
        mocks.noise[indices],
        evaluation.model_images[indices],
        mocks.source[indices],
        evaluation.sources[indices],
    )
