"""How well a lens CNN predicts lenses that it has not seen, and how honest its intervals are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from rim_lensing.lens_fit.intervals import measure_predictions
from rim_lensing.lens_fit.lens_predictor import LensPrediction, LensPredictor
from rim_lensing.publishing.measurement import (
    measure_unseen,
    measured,
    no_warnings_of_mocks,
    system_bins,
)
from rim_lensing.simulation.mock_observations import MockObservations
from rim_lensing.simulation.validation_set import SYSTEMS, ValidationSet

CONFIDENCES = np.linspace(0.02, 0.98, 49)
"""At which the coverage of intervals is drawn."""

_BATCH = 64


@dataclass(frozen=True)
class LensEvaluation:
    """Truth and prediction, system by system.

    Args:
        systems: What the model was measured on.
        true: Lenses, (systems, 7).
        prediction: Of all systems.
        noise_level: rms over the image's peak, (systems,).
        magnification: (systems,).
    """

    systems: ValidationSet
    true: np.ndarray
    prediction: LensPrediction
    noise_level: np.ndarray
    magnification: np.ndarray

    def metrics(self) -> dict:
        """Return what metrics.json holds of it, see `measured`.

        The rows are the seven parameters, over all systems, by noise and by magnification. In each:
        what `measure_predictions` gives with the prediction's intervals; rms_error, of the mean;
        median_aleatoric_std and median_std, the medians of the predicted standard deviations; and
        scatter_of_truth, the standard deviation of the true values: the rms error of their mean.
        """
        return measured(self.systems, self._summary)

    def coverage(self, std: np.ndarray) -> np.ndarray:
        """Return how often central intervals of CONFIDENCES hold the truth, (levels, 7).

        Args:
            std: Standard deviations of the Gaussians, (systems, 7).
        """
        widths = ndtri((1 + CONFIDENCES) / 2)
        deviations = np.abs(self.prediction.lens - self.true) / std
        return np.mean(deviations <= widths[:, None, None], axis=1)

    def _summary(self, chosen: np.ndarray) -> dict[str, dict[str, float]]:
        bins = system_bins(self.noise_level[chosen], self.magnification[chosen])
        return {
            name if label == "all" else f"{name} {label}": values
            for label, inside in bins.items()
            for name, values in self._measures(chosen[inside]).items()
        }

    def _measures(self, chosen: np.ndarray) -> dict[str, dict[str, float]]:
        true, lens, std, aleatoric = (
            array[chosen]
            for array in (
                self.true,
                self.prediction.lens,
                self.prediction.std,
                self.prediction.aleatoric,
            )
        )
        rms = np.sqrt(np.mean((lens - true) ** 2, axis=0))
        return {
            name: {"systems": len(chosen)}
            | values
            | {
                "rms_error": float(rms[i]),
                "scatter_of_truth": float(np.std(true[:, i])),
                "median_aleatoric_std": float(np.median(aleatoric[:, i])),
                "median_std": float(np.median(std[:, i])),
            }
            for i, (name, values) in enumerate(
                measure_predictions(true, lens, std, self.prediction.interval_factors).items()
            )
        }


def evaluate_lens_predictor(
    model: LensPredictor, galaxies: str | Path | None = None, systems: int = SYSTEMS
) -> LensEvaluation:
    """Predict the lenses of the validation set, as a user would.

    Args:
        model: What is measured.
        galaxies: As in `measure_unseen`, and so are errors.
        systems: Likewise.
    """

    def measure(mocks: MockObservations) -> tuple[np.ndarray, ...]:
        with no_warnings_of_mocks():
            prediction = model.predict(mocks.image, noise=mocks.noise, psf=mocks.psf)
        predicted = (getattr(prediction, name) for name in LensPrediction.ARRAYS)
        return mocks.lens, mocks.noise_level, mocks.magnification, *predicted

    chosen, arrays = measure_unseen(model.network.config, galaxies, systems, _BATCH, measure)
    true, noise_level, magnification, *predicted = arrays
    prediction = LensPrediction(*predicted, interval_factors=model.interval_factors)
    return LensEvaluation(chosen, true, prediction, noise_level, magnification)
