"""The intervals that are reported of lens parameters. No Keras: the zoo reads it."""

from collections.abc import Sequence

import numpy as np

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

LEVELS = (0.68, 0.95)
"""Their probabilities."""

GAUSSIAN_FACTORS = ((1.0,) * 7, (1.96,) * 7)
"""Half-widths over the standard deviation, of the seven parameters at LEVELS, if Gaussian."""


def measure_predictions(
    true: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    interval_factors: Sequence[Sequence[float]] = GAUSSIAN_FACTORS,
) -> dict[str, dict]:
    """Return, for every lens parameter, how good predictions are.

    Args:
        true: The systems' lenses, (systems, 7).
        mean: Predicted, (systems, 7).
        std: Predicted standard deviations, (systems, 7).
        interval_factors: Half-widths of the intervals over these, (2, 7).

    Returns:
        By parameter name: median_error, the median of |mean - true|, in the parameter's unit; and
        coverage_68 and coverage_95, the fractions of systems whose truth lies in the intervals.
    """
    error = np.abs(mean - true)
    return {
        name: {"median_error": float(np.median(error[:, i]))}
        | {
            f"coverage_{100 * level:.0f}": float(np.mean(error[:, i] <= factors[i] * std[:, i]))
            for level, factors in zip(LEVELS, interval_factors, strict=True)
        }
        for i, name in enumerate(PARAMETER_NAMES)
    }
