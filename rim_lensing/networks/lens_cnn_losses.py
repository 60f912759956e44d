"""The cost of the lens CNN: equation 5 of Perreault Levasseur et al. (2017)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="rim_lensing")
class GaussianNegativeLogLikelihood(keras.losses.Loss):
    """-log N(true; mean, variance) up to its constant, averaged over the seven parameters."""

    def __init__(self, name: str = "gaussian_negative_log_likelihood", **kwargs):
        """Name it."""
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        """Return (batch,) of true parameters (batch, 7) and the network's output (batch, 2, 7)."""
        mean, log_variance = y_pred[:, 0], y_pred[:, 1]
        squared = (y_true - mean) ** 2 * ops.exp(-log_variance)
        return 0.5 * ops.mean(squared + log_variance, axis=-1)
