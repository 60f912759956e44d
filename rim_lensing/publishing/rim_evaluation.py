"""How well a model does on systems that it has not seen: the one measurement behind every table."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rim_lensing import metrics
from rim_lensing.reconstruction.result import Reconstruction
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.priors import NOISE_BINS
from rim_lensing.simulation.validation_set import SYSTEMS, ValidationSet, validation_set

MAGNIFICATION_BINS = ((3, 6), (6, 12), (12, np.inf))
_BATCH = 16
_RESAMPLES = 200
_COLUMNS = {
    "median_rms_error": ("rms error / peak", "{:.2%}"),
    "rms_error_90th_percentile": ("90th percentile", "{:.2%}"),
    "median_galaxy_error": ("rms error inside of the galaxy", "{:.2%}"),
    "median_abs_flux_error": ("abs. flux error", "{:.1%}"),
    "flux_bias": ("flux bias", "{:+.1%}"),
    "median_chi2_per_pixel": ("chi2 / pixel", "{:.3f}"),
    "share_with_signal_left": ("signal left in the residuals", "{:.1%}"),
    "coherence_reach": ("coherence one half up to k", "{:.1f}"),
    "median_error": ("median abs. error", "{:.4f}"),
    "rms_error": ("rms error", "{:.4f}"),
    "scatter_of_truth": ("scatter of the truth", "{:.4f}"),
    "coverage_68": ("68% intervals cover", "{:.1%}"),
    "coverage_95": ("95% intervals cover", "{:.1%}"),
    "median_aleatoric_std": ("aleatoric std", "{:.4f}"),
    "median_std": ("total std", "{:.4f}"),
}
"""Titles and formats of all measures: a table has those that its model has."""


@dataclass(frozen=True)
class Evaluation:
    """The measures of DESIGN section 6, system by system.

    Args:
        systems: What the model was measured on.
        rms_error: Over the peak of the truth, (systems,).
        galaxy_error: The same, inside of the galaxy, (systems,).
        flux_error: Signed, (systems,).
        chi2: Per pixel, (systems,).
        significance: By how many sigma chi^2 is above that of noise, (systems,).
        coherence: With the truth, at k = 1, 2, ... cycles per side, (systems, n // 2).
        noise_level: rms over the image's peak, (systems,).
        magnification: (systems,).
    """

    systems: ValidationSet
    rms_error: np.ndarray
    galaxy_error: np.ndarray
    flux_error: np.ndarray
    chi2: np.ndarray
    significance: np.ndarray
    coherence: np.ndarray
    noise_level: np.ndarray
    magnification: np.ndarray

    def metrics(self) -> dict:
        """Return what metrics.json holds of it, see `measured`.

        The rows are all systems, and those of each bin of noise and magnification; in each is what
        `metrics.summarise` gives, median_galaxy_error and coherence_reach (of the mean spectrum).
        """
        return measured(self.systems, self._summary)

    def _summary(self, chosen: np.ndarray) -> dict[str, dict[str, float]]:
        bins = system_bins(self.noise_level[chosen], self.magnification[chosen])
        return {label: self._measures(chosen[inside]) for label, inside in bins.items()}

    def _measures(self, chosen: np.ndarray) -> dict[str, float]:
        """Return the measures of these systems."""
        measures = (
            self.rms_error,
            self.flux_error,
            self.chi2,
            self.significance,
            self.noise_level,
        )
        return metrics.summarise(*(values[chosen] for values in measures))["all"] | {
            "median_galaxy_error": float(np.median(self.galaxy_error[chosen])),
            "coherence_reach": metrics.coherence_reach(self.coherence[chosen]),
        }


def system_bins(noise_level: np.ndarray, magnification: np.ndarray) -> dict[str, np.ndarray]:
    """Return which systems, (systems,) booleans, are in each row of a card's table.

    Args:
        noise_level: rms over the image's peak, (systems,).
        magnification: (systems,).

    Returns:
        By label: all; those of each bin of noise; those of each bin of magnification. Bins without
        systems are left out.
    """
    bins = {"all": np.ones(len(noise_level), bool)}
    for low, high in NOISE_BINS:
        bins[f"noise {100 * low:g}-{100 * high:g}%"] = (noise_level >= low) & (noise_level < high)
    for low, high in MAGNIFICATION_BINS:
        label = f"magnification {low}-{high}" if np.isfinite(high) else f"magnification > {low}"
        bins[label] = (magnification >= low) & (magnification < high)
    return {label: inside for label, inside in bins.items() if inside.any()}


def measured(
    systems: ValidationSet, summarise: Callable[[np.ndarray], dict[str, dict[str, float]]]
) -> dict:
    """Return what metrics.json holds of a measurement.

    Args:
        systems: What was measured.
        summarise: Takes numbers of systems and returns rows: by label, measures by name, and how
            many systems there are.

    Returns:
        How many systems of which set and galaxies; `summary`, the rows of all systems; and
        `standard_errors`, the same rows, by bootstrap over the galaxies: systems of one galaxy,
        of which a large set has three or four, have errors that are alike.
    """
    count = len(systems)
    galaxies, numbers = np.unique(systems.galaxy, return_inverse=True)
    of_galaxy = [np.flatnonzero(numbers == i) for i in range(len(galaxies))]
    generator = np.random.default_rng(0)
    resampled = [
        summarise(np.concatenate([of_galaxy[i] for i in chosen]))
        for chosen in generator.integers(len(galaxies), size=(_RESAMPLES, len(galaxies)))
    ]
    summary = summarise(np.arange(count))
    errors = {
        label: {
            key: float(np.std([draw[label][key] for draw in resampled if label in draw]))
            for key in row
            if key != "systems"
        }
        for label, row in summary.items()
    }
    return {
        "systems": count,
        "validation_set": systems.name,
        "galaxies": systems.galaxies.name,
        "distinct_galaxies": len(galaxies),
        "summary": summary,
        "standard_errors": errors,
    }


def evaluate_model(
    model: RIMReconstructor, galaxies: str | Path | None = None, systems: int = SYSTEMS
) -> Evaluation:
    """Reconstruct the validation set of the model's grids, as a user would, with a progress bar.

    Args:
        model: What is measured.
        galaxies: File of `train/prepare_galaxies.py`, whose validation split is used; by default
            procedural galaxies.
        systems: How many of the set's systems, from the first.

    Raises:
        ValueError: `systems` is not from 1 to the size of the set, or `galaxies` is not a galaxy
            file.
        FileNotFoundError: There is no such galaxy file.
    """
    chosen = validation_set(model.network.config, galaxies, systems)
    measures = []
    for mocks in chosen.batches(_BATCH):
        result = reconstruct(model, mocks)
        residual = mocks.image - result.model_image
        measures.append(
            (
                metrics.rms_error(result.source, mocks.source),
                metrics.galaxy_error(result.source, mocks.source),
                metrics.flux_error(result.source, mocks.source),
                metrics.chi2_per_pixel(residual, mocks.noise),
                metrics.chi2_significance(residual, mocks.noise),
                metrics.coherence_spectrum(result.source, mocks.source)[1],
                mocks.noise_level,
                mocks.magnification,
            )
        )
    return Evaluation(chosen, *(np.concatenate(parts) for parts in zip(*measures, strict=True)))


def reconstruct(model: RIMReconstructor, mocks: MockObservations) -> Reconstruction:
    """Reconstruct mock observations with their true noise, PSF and lens."""
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        return model.reconstruct(mocks.image, noise=mocks.noise, psf=mocks.psf, lens=mocks.lens)


def markdown_table(content: dict) -> str:
    """Return what `measured` gave as a table, every value with its standard error."""
    summary = content["summary"]
    measures = next(iter(summary.values()))
    columns = {key: column for key, column in _COLUMNS.items() if key in measures}
    rows = [["systems", "number", *(title for title, _ in columns.values())]]
    for label, values in summary.items():
        errors = content["standard_errors"][label]
        cells = [
            f"{form.format(values[key])} ± {form.replace('+', '').format(errors[key])}"
            for key, (_, form) in columns.items()
        ]
        rows.append([label, str(values["systems"]), *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
