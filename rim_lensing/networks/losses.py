"""The cost of the RIM (paper section 2.4) and its metric."""

import keras
from keras import ops

from rim_lensing.networks.presets import RIMConfig
from rim_lensing.plain_numbers import plain


def rms_error(true_source, sources):
    """Root mean square over the pixels of S - S_true, over the peak of S_true.

    Args:
        true_source: (batch, n, n).
        sources: (batch, T, n, n).

    Returns:
        (batch, T).
    """
    error = ops.sqrt(ops.mean((sources - true_source[:, None]) ** 2, axis=(2, 3)) + 1e-14)
    return error / ops.max(true_source, axis=(1, 2))[:, None]


def abs_flux_error(true_source, sources):
    """|sum S / sum S_true - 1|; arguments and result as of `rms_error`."""
    true_flux = ops.sum(true_source, axis=(1, 2))[:, None]
    return ops.abs(ops.sum(sources, axis=(2, 3)) / true_flux - 1)


@keras.saving.register_keras_serializable(package="rim_lensing")
class UnrolledRMSError(keras.losses.Loss):
    """rms error over the peak, averaged over the T steps and the batch.

    A class and not a function: `compile` would squeeze the last axis of what a function receives.

    Args:
        step_weights: "equal" (the paper's) or "later": weights proportional to 1 ... T.
        flux_weight: Times |flux error| is added. An absolute error has its minimum at the median,
            so that sources come out too bright as often as too faint.

    Raises:
        ValueError: Weights that there are not.
    """

    def __init__(
        self,
        step_weights: str = "equal",
        flux_weight: float = 0.0,
        name: str = "unrolled_rms_error",
        **kwargs,
    ):
        """Keep the choices."""
        super().__init__(name=name, **{"dtype": "float32"} | kwargs)
        if step_weights not in ("equal", "later") or not 0 <= flux_weight < float("inf"):
            raise ValueError(
                "`step_weights` must be 'equal' or 'later', `flux_weight` 0 or positive. Received: "
                f"{step_weights!r}, {flux_weight}"
            )
        self.step_weights, self.flux_weight = step_weights, plain(flux_weight)

    @classmethod
    def from_rim_config(cls, config: RIMConfig) -> "UnrolledRMSError":
        """Return the loss that a configuration asks for."""
        return cls(config.loss_weights, config.flux_weight)

    def call(self, y_true, y_pred):
        """Return (batch,)."""
        errors = rms_error(y_true, y_pred)
        if self.flux_weight:
            errors = errors + self.flux_weight * abs_flux_error(y_true, y_pred)
        if self.step_weights == "equal":
            return ops.mean(errors, axis=1)
        weights = ops.arange(1, errors.shape[1] + 1, dtype=errors.dtype)
        return ops.sum(errors * weights, axis=1) / ops.sum(weights)

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        choices = {"step_weights": self.step_weights, "flux_weight": self.flux_weight}
        return super().get_config() | choices


@keras.saving.register_keras_serializable(package="rim_lensing")
class FinalRMSError(keras.metrics.Mean):
    """Mean over systems of the last step's rms error over the peak."""

    def __init__(self, name: str = "final_rms_error", **kwargs):
        """Start empty."""
        super().__init__(name=name, **{"dtype": "float32"} | kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch: (batch, n, n) and (batch, T, n, n)."""
        return super().update_state(rms_error(y_true, y_pred)[:, -1], sample_weight)
