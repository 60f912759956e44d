"""One step of the RIM (paper section 2.1 and figure 2; DESIGN section 3)."""

import keras
from keras import ops

from rim_lensing.backend import gradient
from rim_lensing.networks.conv_gru import ConvGRU
from rim_lensing.networks.presets import RIMConfig

_FIRST_KERNELS = {"random": "glorot_uniform", "zero": "zeros"}


def preconditioned_gradient(source_gradient, curvature):
    """Bring dE/dS, which runs over six decades with the noise, to the scale of the source.

    Args:
        source_gradient: G = dE/dS, (batch, n, n), in the unit 1 / flux.
        curvature: c = A' C^-1 A 1, the row sums of the likelihood's curvature, (batch, n, n).

    Returns:
        Three maps (batch, n, n): the step G / (1 + c), a weighted mean of the residuals of the
        image pixels that see the source pixel, shrunk by a unit prior; its significance
        asinh(G / sqrt(1 + c)); and log10(1 + c) / 3, how well the data know the pixel.
    """
    bounded = 1 + curvature
    return (
        source_gradient / bounded,
        ops.arcsinh(source_gradient / ops.sqrt(bounded)),
        ops.log(bounded) / (3 * 2.302585),
    )


@keras.saving.register_keras_serializable(package="rim_lensing")
class RIMCell(keras.layers.Layer):
    """Five layers that turn state and likelihood gradient into an update of the state.

        a = tanh(conv(inputs)), stride s            embedding
        h1 = ConvGRU(a, h1)
        u = tanh(conv_transpose(h1)), stride s / b
        h2 = ConvGRU(u, h2)                         with `skip`: of [u, inputs in blocks]
        eta = eta + conv(h2)                        linear, b^2 channels, out of their blocks

    The paper's `block` b is 1: one source pixel is a block.

    Args:
        config: RIMConfig, or its dictionary.
        precision: dtype policy of the five layers, see `Recipe`; state, source and likelihood are
            float32.

    Call arguments:
        eta: (batch, n, n), logit of the source.
        states: Hidden states (h1, h2), see `initial_state`.
        log_likelihood: Maps a source (batch, n, n) to the summed log-likelihood E, a scalar.
        spectra: Of the two ConvGRUs' kernels, see `spectra`.
        curvature: (batch, n, n), used by likelihood_input="preconditioned"; the RIM's has a floor,
            see `unseen_pixels`.
        mean_variance: (batch, 1, 1), used by likelihood_input="variance".
    """

    def __init__(self, config: RIMConfig | dict, precision: str = "float32", **kwargs):
        """Create the layers."""
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.precision = precision
        self.config = config if isinstance(config, RIMConfig) else RIMConfig.from_dict(config)
        channels, kernels = self.config.channels, self.config.kernel_sizes
        stride, block = self.config.stride, self.config.block
        self.embedding = keras.layers.Conv2D(
            channels[0],
            kernels[0],
            strides=stride,
            padding="same",
            data_format="channels_last",
            activation="tanh",
            name="embedding",
            dtype=precision,
        )
        self.gru1 = ConvGRU(channels[1], kernels[1], name="gru1", dtype=precision)
        self.upsampling = keras.layers.Conv2DTranspose(
            channels[2],
            kernels[2],
            strides=stride // block,
            padding="same",
            data_format="channels_last",
            activation="tanh",
            name="upsampling",
            dtype=precision,
        )
        self.gru2 = ConvGRU(channels[3], kernels[3], name="gru2", dtype=precision)
        self.output_layer = keras.layers.Conv2D(
            block**2,
            kernels[4],
            padding="same",
            data_format="channels_last",
            kernel_initializer=_FIRST_KERNELS[self.config.first_update],
            name="output",
            dtype=precision,
        )

    def build(self, eta_shape=None, **kwargs):
        """Create all weights: they depend on the configuration alone."""
        channels, inputs = self.config.channels, self.config.input_maps
        in_blocks = inputs * self.config.block**2
        widths = (
            (self.embedding, inputs),
            (self.gru1, channels[0]),
            (self.upsampling, channels[1]),
            (self.gru2, channels[2] + (in_blocks if self.config.skip else 0)),
            (self.output_layer, channels[3]),
        )
        for layer, width in widths:
            if not layer.built:
                layer.build((None, None, None, width))
        self.built = True

    def spectra(self) -> tuple:
        """Return the two ConvGRUs' `ConvGRU.spectra`, once for all steps of a reconstruction."""
        return self.gru1.spectra(), self.gru2.spectra()

    def initial_state(self, batch, side: int) -> tuple:
        """Return zero hidden states (h1, h2) for a source of `side` pixels."""
        low, high = side // self.config.stride, side // self.config.block
        channels = self.config.channels
        return (
            ops.zeros((batch, low, low, channels[1]), "float32"),
            ops.zeros((batch, high, high, channels[3]), "float32"),
        )

    def call(
        self,
        eta,
        states,
        log_likelihood,
        spectra=(None, None),
        curvature=None,
        mean_variance=None,
    ):
        """Return the next (eta, states)."""
        likelihood = self._likelihood_maps(eta, log_likelihood, curvature, mean_variance)
        inputs = ops.stack([*self._state_maps(eta), *likelihood], axis=-1)
        inputs = ops.cast(inputs, self.embedding.compute_dtype)
        h1 = self.gru1(self.embedding(inputs), states[0], spectra=spectra[0])
        u = self.upsampling(h1)
        block = self.config.block
        if self.config.skip:
            blocks = inputs if block == 1 else ops.space_to_depth(inputs, block, "channels_last")
            u = ops.concatenate([u, blocks], axis=-1)
        h2 = self.gru2(u, states[1], spectra=spectra[1])
        update = self.output_layer(h2)
        if block > 1:
            update = ops.depth_to_space(update, block, "channels_last")
        return eta + ops.cast(update[..., 0], eta.dtype), (h1, h2)

    def _state_maps(self, eta) -> tuple:
        maps = {"logit": (eta,), "source": (ops.sigmoid(eta),), "both": (eta, ops.sigmoid(eta))}
        return maps[self.config.state_input]

    def _likelihood_maps(self, eta, log_likelihood, curvature, mean_variance) -> tuple:
        if self.config.likelihood_input == "preconditioned":
            source_gradient = gradient(log_likelihood, ops.sigmoid(eta))
            return preconditioned_gradient(source_gradient, curvature)
        g = gradient(lambda x: log_likelihood(ops.sigmoid(x)), eta)
        if self.config.likelihood_input == "variance":
            return (g * mean_variance,)
        return (ops.arcsinh(g) if self.config.likelihood_input == "asinh" else g,)

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        more = {"config": self.config.to_dict(), "precision": self.precision}
        return super().get_config() | more
