"""What all published models are measured on, and how that becomes rows of a table."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.priors import NOISE_BINS
from rim_lensing.simulation.validation_set import ValidationSet, validation_set

MAGNIFICATION_BINS = ((3, 6), (6, 12), (12, np.inf))
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


def measure_unseen(
    geometry: Geometry,
    galaxies: str | Path | None,
    systems: int,
    batch: int,
    measure: Callable[[MockObservations], tuple[np.ndarray, ...]],
) -> tuple[ValidationSet, list[np.ndarray]]:
    """Measure the systems of the validation set, with a progress bar.

    Args:
        geometry: The model's grids.
        galaxies: File of `train/prepare_galaxies.py`, whose validation split is used; None takes
            procedural galaxies.
        systems: How many of the set's systems, from the first.
        batch: How many at a time.
        measure: Takes a batch of systems, and returns arrays (batch, ...).

    Returns:
        The systems, and the arrays of all of them.

    Raises:
        ValueError: `systems` is not from 1 to the size of the set, or `galaxies` is not a galaxy
            file.
        FileNotFoundError: There is no such galaxy file.
    """
    chosen = validation_set(geometry, galaxies, systems)
    parts = [measure(mocks) for mocks in chosen.batches(batch)]
    return chosen, [np.concatenate(columns) for columns in zip(*parts, strict=True)]


@contextlib.contextmanager
def no_warnings_of_mocks() -> Iterator[None]:
    """Ignore UserWarnings: the edges of the priors, seen through the noise, look like outside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


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
