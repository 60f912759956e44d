"""How well a model does on systems that it has not seen: the one measurement behind every table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rim_lensing import metrics
from rim_lensing.publishing.measurement import (
    measure_unseen,
    measured,
    no_warnings_of_mocks,
    system_bins,
)
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.validation_set import SYSTEMS, ValidationSet

_BATCH = 16


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


def evaluate_model(
    model: RIMReconstructor, galaxies: str | Path | None = None, systems: int = SYSTEMS
) -> Evaluation:
    """Reconstruct the validation set of the model's grids, as a user would.

    Args:
        model: What is measured.
        galaxies: As in `measure_unseen`, and so are errors.
        systems: Likewise.
    """

    def measure(mocks: MockObservations) -> tuple[np.ndarray, ...]:
        result = reconstruct(model, mocks)
        residual = mocks.image - result.model_image
        return (
            metrics.rms_error(result.source, mocks.source),
            metrics.galaxy_error(result.source, mocks.source),
            metrics.flux_error(result.source, mocks.source),
            metrics.chi2_per_pixel(residual, mocks.noise),
            metrics.chi2_significance(residual, mocks.noise),
            metrics.coherence_spectrum(result.source, mocks.source)[1],
            mocks.noise_level,
            mocks.magnification,
        )

    chosen, arrays = measure_unseen(model.network.config, galaxies, systems, _BATCH, measure)
    return Evaluation(chosen, *arrays)


def reconstruct(model: RIMReconstructor, mocks: MockObservations) -> Reconstruction:
    """Reconstruct mock observations with their true noise, PSF and lens."""
    with no_warnings_of_mocks():
        return model.reconstruct(mocks.image, noise=mocks.noise, psf=mocks.psf, lens=mocks.lens)
