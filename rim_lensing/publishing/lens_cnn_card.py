"""The card of a published lens CNN."""

from typing import TYPE_CHECKING

from rim_lensing import figures
from rim_lensing.galaxies.galaxy_pool import DEVELOPMENT_SPLIT
from rim_lensing.lens_fit.intervals import LEVELS
from rim_lensing.lens_fit.lens_predictor import PASSES, LensPredictor
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.publishing.lens_cnn_evaluation import CONFIDENCES, LensEvaluation
from rim_lensing.publishing.model_card import CardText, model_card, table
from rim_lensing.zoo.zoo import ModelConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = {
    "predictions": "Predicted against true, of the systems of the first table:",
    "calibration": "How often the truth lies inside of a Gaussian's interval, against how often it "
    "should, with the total and with the aleatoric standard deviation alone (`prediction.interval` "
    "mends what is left, at 68% and 95%):",
    "learning_curve": "Development systems during training, before calibration:",
}
LENS_CNN_LEARNING_CURVE = {
    "median_error": ("median |error|", "log"),
    "coverage_68": ("coverage of 68% intervals", "linear"),
    "coverage_95": ("coverage of 95% intervals", "linear"),
}

_PURPOSE = """\
For: a first lens model, with errors, in a fraction of a second; where an optimiser or a sampler
starts; large surveys. Not for: a final lens model. The source is not modelled, so the prediction
does not tell whether it fits the data: reconstruct the source and look at the residuals."""
_MEASURES = """theta_E, x and y are in
arcsec. Errors are those of the mean; "scatter of the truth" is the rms error of who knows the mean
of all systems alone; intervals are those of `prediction.interval`; "aleatoric std" and "total std"
are medians. Behind ±: standard errors, by bootstrap over the galaxies."""
_STANDARD_DEVIATIONS = f"""\
## Where the standard deviations come from

The mean is that over eight orientations of the image, with nothing dropped. The network predicts a
Gaussian per parameter (aleatoric). {PASSES} more passes, each with other units dropped (Monte Carlo
dropout, Perreault Levasseur et al. 2017) and the image in the next of the orientations, scatter
(epistemic). The total is the root of the sum of squares."""
_LIMITS = """\
Where the rms error is near the scatter of the truth, the network knows little more than the ranges
below (the lens centre, first of all).

Trained for a singular isothermal ellipsoid in external shear, Gaussian PSFs, uncorrelated noise, no
lens light, and one source, in these ranges. Outside of them it answers, too, with standard
deviations that mean nothing:"""
_LAST_WORDS = """\
The image holds more than the network sees in it: `automated_fit` finds every parameter better, the
more so the less noise there is (benchmarks/README.md).

Ellipticity and shear trade off against each other, and so do centre and source position: the
intervals here are those of each parameter alone, and say nothing of these correlations. Standard
deviations are calibrated over all systems together, not at every noise level: see the table.

Please cite Hezaveh, Perreault Levasseur & Marshall 2017, Nature 548, 555; Perreault Levasseur,
Hezaveh & Wechsler 2017, ApJ 850, L7; Morningstar et al. 2019, ApJ 883, 14."""


def lens_cnn_card(name: str, metadata: dict, config: ModelConfig, measurements: list[dict]) -> str:
    """Return the card as Markdown.

    Args:
        name: Of the model.
        metadata: Facts of metadata.json.
        config: Of the model.
        measurements: Content of metrics.json: what `LensEvaluation.metrics` returned.
    """
    text = CardText(
        network=f"residual convolutional network, {metadata['parameters']:,} weights",
        example=f"""    cnn = rl.load_pretrained("{name}")
    lens, std = cnn.predict(image, noise=noise, psf=psf)   # {", ".join(PARAMETER_NAMES)}
    prediction = cnn.predict(image, noise=noise, psf=psf)  # and .aleatoric, .epistemic, .samples
    low, high = prediction.interval(0.68)                  # or 0.95""",
        served_with="",
        served='serve(image, noise_map, psf)["lens"]  # and ["std"] ...',
        purpose=_PURPOSE,
        measures=_MEASURES,
        pictures=PICTURES,
        sections=f"{_STANDARD_DEVIATIONS}\n\n{_calibration(metadata, config)}",
        limits=_LIMITS,
        last_words=_LAST_WORDS,
    )
    return model_card(name, metadata, config, measurements, text)


def _calibration(metadata: dict, config: ModelConfig) -> str:
    calibration, rows = metadata["calibration"], []
    for row in calibration["scan"]:
        cells = [f"{row['dropout']:g}", f"{row['score']:.4f}"]
        for key in ("uncalibrated", "calibrated"):
            for level in ("coverage_68", "coverage_95"):
                values = [values[level] for values in row[key].values()]
                cells.append(f"{min(values):.1%} to {max(values):.1%}")
        rows.append(cells)
    header = ("dropout", "score", "68%", "95%", "68%, with factors", "95%, with factors")
    rows_of_factors = [
        [name, *(f"{factor:.3f}" for factor in factors)]
        for name, factors in (
            ("standard deviations", config.std_factors),
            *(
                (f"half-widths, {level:.0%}", factors)
                for level, factors in zip(LEVELS, config.interval_factors, strict=True)
            ),
        )
    ]
    factors = table(rows_of_factors, header=("", *PARAMETER_NAMES))
    apart = "which are neither those of the training nor those above"
    training = metadata["training"]
    if training["galaxies"] and training["development_split"] != DEVELOPMENT_SPLIT:
        apart = (
            "which are not those above; but this run kept other galaxies for development, and was "
            "trained on most of those of the file"
        )
    elif training["initial_weights"]:
        apart += " (the run that made the initial weights may have seen some)"
    return f"""The dropout rate of predictions was chosen after training, on
{calibration["systems"]} systems of development galaxies ({" and ".join(calibration["galaxies"])}),
{apart}: of the rates above 0, the one with the
smallest score, the mean of -log of the predicted density at the truth. Coverage of the 68% and 95%
Gaussian intervals is that of the parameters with the smallest and the largest, without and with
factors for the standard deviations:

{table(rows, header)}

Chosen: dropout {config.network.dropout:g}. The standard deviations (aleatoric and epistemic) are
multiplied by the first row; the intervals reach to both sides by these times the other two, which
on the same systems would have held the truth as often as they should (split conformal prediction; a
Gaussian has 1 and 1.96):

{factors}"""


def draw_lens_cnn_pictures(
    model: LensPredictor, evaluations: list[LensEvaluation]
) -> "dict[str, Figure]":
    """Return the figures of the card, by the names of PICTURES.

    Args:
        model: What was measured.
        evaluations: The first is drawn.
    """
    evaluation = evaluations[0]
    prediction = evaluation.prediction
    return {
        "predictions": figures.lens_predictions(
            evaluation.true, prediction.lens, evaluation.noise_level, PARAMETER_NAMES
        ),
        "calibration": figures.coverage_curves(
            CONFIDENCES,
            {
                "total": evaluation.coverage(prediction.std),
                "aleatoric alone": evaluation.coverage(prediction.aleatoric),
            },
            PARAMETER_NAMES,
        ),
    }
