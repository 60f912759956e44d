"""How well a model does on systems that it has not seen: the one measurement behind every table."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rim_lensing import metrics
from rim_lensing.inference.rim_reconstructor import RIMReconstructor
from rim_lensing.simulation.galaxy_pool import unseen_galaxies
from rim_lensing.simulation.mock_observations import MockObservations, MockSimulator
from rim_lensing.simulation.priors import Priors

PROCEDURAL = "procedural"
MAGNIFICATION_BINS = ((3, 6), (6, 12), (12, np.inf))
_BATCH = 16
_RESAMPLES = 200
_COLUMNS = {
    "median_rms_error": ("rms error / peak", "{:.2%}"),
    "rms_error_90th_percentile": ("90th percentile", "{:.2%}"),
    "median_abs_flux_error": ("abs. flux error", "{:.1%}"),
    "flux_bias": ("flux bias", "{:+.1%}"),
    "median_chi2_per_pixel": ("chi2 / pixel", "{:.3f}"),
}


@dataclass(frozen=True)
class Evaluation:
    """Mocks, their reconstructions, and the measures of DESIGN section 6.

    Args:
        mocks: The systems.
        sources: Reconstructions, (systems, n, n).
        model_images: (systems, m, m).
        seed: That the systems were drawn with.
        galaxies: What their galaxies are: the name of a file, or PROCEDURAL.
    """

    mocks: MockObservations
    sources: np.ndarray
    model_images: np.ndarray
    seed: int
    galaxies: str

    @property
    def rms_error(self) -> np.ndarray:
        """Over the peak of the truth, (systems,)."""
        return metrics.rms_error(self.sources, self.mocks.source)

    def metrics(self) -> dict:
        """Return what metrics.json holds of it.

        `summary` holds, for all systems and by noise and by magnification, what
        `metrics.summarise` gives; `standard_errors` holds the same keys, by bootstrap over the
        systems.
        """
        mocks = self.mocks
        measures = (
            self.rms_error,
            metrics.flux_error(self.sources, mocks.source),
            metrics.chi2_per_pixel(mocks.image - self.model_images, mocks.noise),
            mocks.noise_level,
            mocks.magnification,
        )
        systems = len(mocks.image)
        generator = np.random.default_rng(0)
        resampled = [
            _summary(*(values[chosen] for values in measures))
            for chosen in generator.integers(systems, size=(_RESAMPLES, systems))
        ]
        summary = _summary(*measures)
        errors = {
            label: {
                key: float(np.std([draw[label][key] for draw in resampled if label in draw]))
                for key in _COLUMNS
            }
            for label in summary
        }
        return {
            "systems": systems,
            "seed": self.seed,
            "galaxies": self.galaxies,
            "distinct_galaxies": len(np.unique(mocks.galaxy)),
            "summary": summary,
            "standard_errors": errors,
        }


def evaluate_model(
    model: RIMReconstructor,
    galaxies: str | Path | None = None,
    systems: int = 1000,
    seed: int = 0,
    priors: Priors | None = None,
) -> Evaluation:
    """Reconstruct mocks of unseen galaxies, as a user would, with a progress bar.

    Args:
        model: What is measured.
        galaxies: File of `train/prepare_galaxies.py`, whose validation split is used; by default
            procedural galaxies, as many as systems.
        systems: How many mocks; no galaxy is used twice before all were used once.
        seed: Of the mocks: the same seed, galaxies and grids give the same systems.
        priors: Of the mocks; by default those of the paper, with uniform noise.

    Raises:
        ValueError: `systems` is not positive, or `galaxies` is not a galaxy file.
        FileNotFoundError: There is no such galaxy file.
    """
    if systems < 1:
        raise ValueError(f"`systems` must be positive. Received: {systems}")
    stamps = unseen_galaxies(galaxies, procedural=systems)
    simulator = MockSimulator(stamps, priors or Priors(), model.network.config)
    generator = np.random.default_rng(seed)
    order = np.resize(generator.permutation(len(stamps)), systems)
    mocks, results = [], []
    with warnings.catch_warnings(), tqdm(total=systems, desc="evaluating", unit="system") as bar:
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        for start in range(0, systems, _BATCH):
            chosen = order[start : start + _BATCH]
            mock = simulator.draw(generator, len(chosen), galaxies=chosen)
            results.append(
                model.reconstruct(mock.image, noise=mock.noise, psf=mock.psf, lens=mock.lens)
            )
            mocks.append(mock)
            bar.update(len(chosen))
    return Evaluation(
        mocks=MockObservations(
            **{
                name: np.concatenate([getattr(batch, name) for batch in mocks])
                for name in MockObservations.__dataclass_fields__
            }
        ),
        sources=np.concatenate([result.source for result in results]),
        model_images=np.concatenate([result.model_image for result in results]),
        seed=seed,
        galaxies=Path(galaxies).name if galaxies else PROCEDURAL,
    )


def markdown_table(content: dict) -> str:
    """Return what `Evaluation.metrics` gave as a table, every value with its standard error."""
    rows = [["systems", "number", *(title for title, _ in _COLUMNS.values())]]
    for label, values in content["summary"].items():
        errors = content["standard_errors"][label]
        cells = [
            f"{form.format(values[key])} ± {form.replace('+', '').format(errors[key])}"
            for key, (_, form) in _COLUMNS.items()
        ]
        rows.append([label, str(values["systems"]), *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _summary(rms, flux, chi2, noise_level, magnification) -> dict:
    """`metrics.summarise` by noise, and by magnification."""
    by_noise = metrics.summarise(rms, flux, chi2, noise_level)
    summary = {
        label if label == "all" else f"noise {label}": values for label, values in by_noise.items()
    }
    for low, high in MAGNIFICATION_BINS:
        chosen = (magnification >= low) & (magnification < high)
        if chosen.any():
            label = f"magnification {low}-{high}" if np.isfinite(high) else f"magnification > {low}"
            measures = (rms[chosen], flux[chosen], chi2[chosen], noise_level[chosen])
            summary[label] = metrics.summarise(*measures)["all"]
    return summary
