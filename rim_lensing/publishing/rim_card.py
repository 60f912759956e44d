"""The card of a published RIM."""

from typing import TYPE_CHECKING

import numpy as np

from rim_lensing import figures
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.publishing.model_card import CardText, model_card, table
from rim_lensing.publishing.rim_evaluation import Evaluation, reconstruct
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.zoo.zoo import ModelConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = {
    "best": "The three procedural systems with the smallest rms errors:",
    "median": "Three procedural systems with the median rms error:",
    "worst": "The three procedural systems with the largest rms errors:",
    "learning_curve": "Development systems during training:",
}
_PICTURED_SYSTEMS = 3
RIM_LEARNING_CURVE = {
    "median_rms_error": ("median rms error / peak", "log"),
    "median_abs_flux_error": ("median |flux error|", "log"),
    "median_chi2_per_pixel": ("median chi$^2$ / pixel", "log"),
}

_PURPOSE = """\
For: the source behind a lens whose model is known, or is being looked for (`automated_fit`), in
seconds or less; sources like those galaxies that it was trained on. At low noise the network
itself leaves signal in the residuals (the table says how often), and of sources unlike a galaxy
more (benchmarks/README.md, "Beyond the training set"): `model.refined()` takes it up. Not for: two
sources at different distances."""
_MEASURES = """Medians and one 90th
percentile over the systems, with standard errors by bootstrap over the galaxies. The rms error is
over all source pixels, most of them empty sky, in units of the source's peak; inside of the galaxy
are the pixels above 1% of the peak. Signal is left where chi^2 is more than 3 sigma above that of
noise. k is in cycles per side of the source;"""
_FAILURES = """\
## Known failures

- The source is smoother than the truth, the more so the more noise there is: at 3% of the peak and
  more, spiral arms and knots go, and the residuals are noise all the same (the worst systems above
  have a chi^2 of 1). A chi^2 near 1 says that the data do not ask for more, not that there is none.
- A wrong lens, too, often leaves no more than noise there (benchmarks/README.md, "Algorithm 1").
- No pixel gets brighter than four times the image's brightest 3x3 pixels: a point-like source is
  cut off, with a warning.
- On image pixels of another size (`--own-pixels`) errors are larger, and fluxes may be too small:
  `python train/evaluate.py {name} --image-grid SIDE SCALE` measures it (docs/training.md has an
  example)."""
_LIMITS = """\
Trained for a singular isothermal ellipsoid in external shear that is known, Gaussian PSFs,
uncorrelated noise, no lens light, and one source, in these ranges; outside of them expect less, and
look at the residuals:"""
_LAST_WORDS = """\
The network gives no uncertainty. Please cite Morningstar et al. 2019, ApJ 883, 14."""


def rim_card(name: str, metadata: dict, config: ModelConfig, measurements: list[dict]) -> str:
    """Return the card as Markdown.

    Args:
        name: Of the model.
        metadata: Facts of metadata.json.
        config: Of the model.
        measurements: Content of metrics.json: what `Evaluation.metrics` returned, the one on
            procedural galaxies last.
    """
    network = config.network
    text = CardText(
        network=f"Recurrent Inference Machine, {network.steps} steps, "
        f"{metadata['parameters']:,} weights",
        example=f"""    model = rl.load_pretrained("{name}")
    result = model.reconstruct(image, noise=noise, psf=psf, lens=rl.LensParameters(theta_E=1.2))""",
        served_with=_served_with(network),
        served='serve(image, noise_map, psf, lens_parameters)["source"]',
        purpose=_PURPOSE,
        measures=f"""{_MEASURES} {network.source_side // 2} is the last.

{_paper(measurements[0])}""",
        pictures=PICTURES,
        sections=_FAILURES.format(name=name),
        limits=_LIMITS,
        last_words=_LAST_WORDS,
    )
    return model_card(name, metadata, config, measurements, text)


def _paper(measured: dict) -> str:
    """Return what the paper says of its RIM beside what was measured, as Markdown.

    Args:
        measured: The first of the card's measurements.
    """
    found = measured["summary"]["all"]
    rows = [
        ("median rms error / peak", "below 0.5%", f"{found['median_rms_error']:.2%}"),
        ("median abs. flux error", "3%", f"{found['median_abs_flux_error']:.2%}"),
        ("flux bias", "0.07%", f"{found['flux_bias']:+.2%}"),
        ("chi2 / pixel", "-", f"{found['median_chi2_per_pixel']:.3f}"),
        (
            "coherence with the truth",
            "as of uncorrelated images from k = 30 on",
            f"one half up to k = {found['coherence_reach']}",
        ),
    ]
    text = table(
        rows, header=("all systems, the first table below", "the paper's RIM", "this model")
    )
    if found["median_rms_error"] > 0.005:
        text += (
            "\n\nWhy the rms error is not below 0.5%, and what would come next: docs/training.md, "
            '"What limits the rms error". Beside the linear inversion: benchmarks/README.md, '
            '"Fidelity".'
        )
    return text


def _served_with(network: RIMConfig) -> str:
    """What the SavedModel wants of the lens and of the flux, see `export_saved_model`."""
    rays = network.image_side * network.supersampling
    text = (
        "; seven lens parameters or, for\n`serve_deflections`, the deflections of any lens model "
        f"in arcsec, alpha_x and alpha_y, (batch, 2, {rays}, {rays})"
    )
    wants_peak = network.flux_scale == "unit"
    return text + "; image and noise scaled so that the source's peak is about 1" * wants_peak


def draw_rim_pictures(
    model: RIMReconstructor, evaluations: list[Evaluation]
) -> "dict[str, Figure]":
    """Return the figures of the card, by the names of PICTURES.

    Args:
        model: What was measured.
        evaluations: The last is on procedural galaxies, and the one that is drawn: pictures of
            galaxies of a file are not ours to publish.
    """
    evaluation = evaluations[-1]
    order = np.argsort(evaluation.rms_error)
    few = min(_PICTURED_SYSTEMS, len(order))
    middle = (len(order) - few) // 2
    chosen = {
        "best": order[:few],
        "median": order[middle : middle + few],
        "worst": order[::-1][:few],
    }
    return {name: _systems(model, evaluation, indices) for name, indices in chosen.items()}


def _systems(model: RIMReconstructor, evaluation: Evaluation, indices: np.ndarray) -> "Figure":
    mocks = evaluation.systems.mocks(indices)
    result = reconstruct(model, mocks)
    return figures.mock_reconstructions(
        mocks.image, mocks.noise, result.model_image, mocks.source, result.source
    )
