"""The costs of the lens CNN: a Gaussian likelihood whose width is predicted, too."""

import keras
from keras import ops

from rim_lensing.plain_numbers import plain


@keras.saving.register_keras_serializable(package="rim_lensing")
class GaussianNegativeLogLikelihood(keras.losses.Loss):
    """-log N(true; mean, variance) up to its constant, averaged over the seven parameters.

    Equation 5 of Perreault Levasseur et al. (2017) with `beta` 0. There the mean of a parameter
    is pulled by its error over its variance: one that is well known already is pulled hundreds of
    times as hard as one that is not known yet, such as the lens centre. Seitzer et al. (2022)
    weight each term by its own standard deviation to the power 2 `beta`, through which no gradient
    flows: the optimum is the same, with 1 all means are pulled as by a squared error.

    Args:
        beta: 0 to 1.
        spread: (7,) unit of each parameter's standard deviation in that weight.

    Raises:
        ValueError: `beta` is not in 0 to 1, or `spread` is not seven positive numbers.
    """

    def __init__(
        self,
        beta: float = 0.0,
        spread: tuple[float, ...] = (1.0,) * 7,
        name: str = "gaussian_negative_log_likelihood",
        **kwargs,
    ):
        """Keep the weight's form."""
        super().__init__(name=name, **{"dtype": "float32"} | kwargs)
        beta, spread = plain(beta), plain(tuple(spread))
        if not 0 <= beta <= 1:
            raise ValueError(f"`beta` must be in 0 to 1. Received: {beta}")
        if len(spread) != 7 or min(spread) <= 0:
            raise ValueError(f"`spread` must be seven positive numbers. Received: {spread}")
        self.beta, self.spread = beta, tuple(spread)

    def call(self, y_true, y_pred):
        """Return (batch,) of true parameters (batch, 7) and the network's output (batch, 2, 7)."""
        mean, log_variance = y_pred[:, 0], y_pred[:, 1]
        squared = (y_true - mean) ** 2 * ops.exp(-log_variance)
        log_unit = 2 * ops.log(ops.convert_to_tensor(self.spread, log_variance.dtype))
        weight = ops.exp(self.beta * (ops.stop_gradient(log_variance) - log_unit))
        return 0.5 * ops.mean(weight * (squared + log_variance), axis=-1)

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        return super().get_config() | {"beta": self.beta, "spread": self.spread}
