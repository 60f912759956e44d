"""The CNN that predicts the lens from the image (Hezaveh et al. 2017; paper section 2.4).

Its uncertainties follow Perreault Levasseur et al. (2017): a Gaussian likelihood whose width is
predicted too (aleatoric), and dropout that stays on at prediction (epistemic).
"""

import keras
import numpy as np
from keras import ops

from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image
from rim_lensing.networks.flux_scale import estimate_flux_scale
from rim_lensing.networks.lens_cnn_presets import LensCNNConfig
from rim_lensing.networks.portable import PortableNetwork

_SIGNIFICANCE_UNIT = 3.0
_BATCH = 64


def image_features(image, noise):
    """What the first convolution sees: (batch, m, m, 3), the same in every unit of the flux.

    The image over its flux scale, which keeps the relative brightness of arcs and counter-images;
    asinh of the significance, in which faint arcs stand out; and the mask.

    Args:
        image: (batch, m, m); where masked it may hold anything, even NaN.
        noise: rms, (batch, m, m); infinite where masked.
    """
    used = ops.isfinite(noise)
    image = ops.where(used, image, 0.0)
    return ops.stack(
        [
            image / estimate_flux_scale(image, noise),
            ops.arcsinh(image / noise) / _SIGNIFICANCE_UNIT,
            ops.cast(used, image.dtype),
        ],
        axis=-1,
    )


def scalar_features(image, noise, psf):
    """What the dense layer is told beside: (batch, 2).

    The mean logarithm of the noise over the flux scale, and half the logarithm of the sum of the
    squared PSF, which for a Gaussian is minus that of its width.
    """
    used = ops.isfinite(noise)
    scale = estimate_flux_scale(ops.where(used, image, 0.0), noise)
    log_noise = ops.log(ops.where(used, noise, 1.0) / scale)
    weight = ops.cast(used, log_noise.dtype)
    mean = ops.sum(weight * log_noise, axis=(1, 2)) / ops.sum(weight, axis=(1, 2))
    return ops.stack([mean, 0.5 * ops.log(ops.sum(psf**2, axis=(1, 2)))], axis=-1)


class _Block(keras.layers.Layer):
    """relu(x + dropout(norm(conv(relu(norm(conv(x))))))), whole channels dropped."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.convolutions = [_convolution(channels, 3, 1, policy) for _ in range(2)]
        self.norms = [keras.layers.BatchNormalization(dtype=policy) for _ in range(2)]
        self.channels = channels

    def build(self, input_shape):
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build(input_shape)
            norm.build(input_shape)
        self.built = True

    def call(self, x, kept, training=False):
        y = ops.relu(self.norms[0](self.convolutions[0](x), training=training))
        y = self.norms[1](self.convolutions[1](y), training=training)
        return ops.relu(x + y * kept[:, None, None, :])


def _convolution(channels: int, kernel: int, stride: int, policy) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=policy,
    )


@keras.saving.register_keras_serializable(package="rim_lensing")
class LensCNN(PortableNetwork):
    """Predicts the lens parameters and their uncertainty from an image.

    The network draws no random numbers: what dropout drops is an input. So a training step is a
    function of its data alone, and a prediction can be repeated.

    Args:
        config: LensCNNConfig, or its dictionary.
        precision: dtype policy of the layers, see `Recipe`, but for the last two, which are
            float32 as all else is.

    Call arguments:
        inputs: A dictionary of
            image: (batch, m, m), the observation, in any unit;
            noise: (batch, m, m), rms in the same unit, infinite where masked;
            psf: (batch, k, k), normalised kernels;
            dropout: (batch, dropout_units), uniform in 0 to 1; a unit whose number is below the
                dropout rate is dropped.

    Returns:
        (batch, 2, 7): the parameters, and the logarithm of their (aleatoric) variance.
    """

    def __init__(self, config: LensCNNConfig | dict, precision: str = "float32", **kwargs):
        """Create the layers."""
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.config = (
            config if isinstance(config, LensCNNConfig) else LensCNNConfig.from_dict(config)
        )
        self.precision, config = precision, self.config
        kernels = [config.stem_kernel] + [3] * (len(config.channels) - 1)
        self.reductions = [
            _convolution(*sizes, precision)
            for sizes in zip(config.channels, kernels, config.strides, strict=True)
        ]
        self.norms = [keras.layers.BatchNormalization(dtype=precision) for _ in config.channels]
        self.blocks = [
            [_Block(channels, dtype=precision) for _ in range(count)]
            for channels, count in zip(config.channels, config.blocks, strict=True)
        ]
        # bfloat16's 8 bits are enough for features, not for what is predicted.
        self.dense = keras.layers.Dense(config.dense, activation="relu", dtype="float32")
        self.mean = keras.layers.Dense(7, dtype="float32")
        self.log_variance = keras.layers.Dense(7, kernel_initializer="zeros", dtype="float32")

    def build(self, input_shape=None):
        """Create all weights: they depend on the configuration alone."""
        if self.dense.built:
            return
        side, width = self.config.image_side, 3
        for i, channels in enumerate(self.config.channels):
            self.reductions[i].build((None, side, side, width))
            side, width = side // self.config.strides[i], channels
            for layer in (self.norms[i], *self.blocks[i]):
                layer.build((None, side, side, width))
        self.dense.build((None, side**2 * width + 2))
        self.mean.build((None, self.config.dense))
        self.log_variance.build((None, self.config.dense))
        self.built = True

    def call(self, inputs, training=False):
        """Return means and log variances."""
        image, noise = inputs["image"], inputs["noise"]
        rate = self.config.dropout
        kept = ops.cast(inputs["dropout"] >= rate, image.dtype) / (1 - rate)
        x, first = image_features(image, noise), 0
        for reduction, norm, blocks in zip(self.reductions, self.norms, self.blocks, strict=True):
            x = ops.relu(norm(reduction(x), training=training))
            for block in blocks:
                x = block(x, kept[:, first : first + block.channels], training=training)
                first += block.channels
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        x = ops.concatenate([x, scalar_features(image, noise, inputs["psf"])], axis=-1)
        x = self.dense(x) * kept[:, first:]
        location, spread = (
            np.array(v, "float32") for v in (self.config.location, self.config.spread)
        )
        return ops.stack(
            [location + spread * self.mean(x), 2 * np.log(spread) + self.log_variance(x)], axis=1
        )

    def monte_carlo(
        self, inputs: dict[str, np.ndarray], samples: int, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict many times, each time with other units dropped.

        Args:
            inputs: image, noise and psf, as the call takes them.
            samples: How many.
            seed: Of what is dropped.

        Returns:
            Means and aleatoric variances, each (samples, batch, 7), see `passes`.
        """
        return self.passes(inputs, self.dropout_draws(samples, seed))

    def passes(
        self, inputs: dict[str, np.ndarray], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict once for every row of `draws`.

        A pass drops the same units for all systems: what a system gets depends neither on its
        place in the batch nor on the others. Pass k looks at the image under symmetry k mod 8,
        so that what the network gets wrong about a turned image counts as its ignorance too.

        Args:
            inputs: image, noise and psf, as the call takes them.
            draws: What is dropped, (passes, dropout_units), see `dropout_draws`; 1 drops nothing.

        Returns:
            Means and aleatoric variances, each (passes, batch, 7).
        """
        samples = len(draws)
        batch = len(inputs["image"])
        means = np.empty((samples, batch, 7), "float32")
        variances = np.empty_like(means)
        for start in range(0, batch, _BATCH):
            chosen = slice(start, start + _BATCH)
            part = {name: np.asarray(inputs[name][chosen]) for name in ("image", "noise", "psf")}
            for k in range(samples):
                symmetry = k % SYMMETRIES
                matrix = lens_matrix(symmetry)
                turned = {name: transform_image(value, symmetry) for name, value in part.items()}
                turned["dropout"] = np.repeat(draws[k : k + 1], len(part["image"]), axis=0)
                output = self.predict_on_batch(turned)
                means[k, chosen] = output[:, 0] @ matrix
                variances[k, chosen] = np.exp(output[:, 1]) @ matrix**2
        return means, variances

    def dropout_draws(self, samples: int, seed: int = 0) -> np.ndarray:
        """Return the numbers that decide what each sample drops, (samples, dropout_units)."""
        draws = np.random.default_rng(seed).uniform(size=(samples, self.config.dropout_units))
        return draws.astype("float32")

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        more = {"config": self.config.to_dict(), "precision": self.precision}
        return super().get_config() | more
