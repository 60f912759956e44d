"""Convolutional gated recurrent unit (Cho et al. 2014), the memory of the RIM."""

import keras
from keras import ops

from rim_lensing.backend import accelerator_names
from rim_lensing.networks.overlap_save import TILE, convolve, kernel_spectrum

_LARGE_KERNEL = 9
"""From this side on a CPU convolves faster in tiles, see `overlap_save`."""


@keras.saving.register_keras_serializable(package="rim_lensing")
class ConvGRU(keras.layers.Layer):
    """A GRU whose matrix products are 2D convolutions: sigmoid gates, tanh candidate.

        z, r = sigmoid(conv([x, h]))            update and reset gate
        c = tanh(conv([x, r h]))                candidate
        h' = (1 - z) h + z c

    Args:
        channels: Channels of the hidden state.
        kernel_size: Side of the convolution kernels in pixels.
        kwargs: As of a Keras layer; the convolutions have its `dtype`.

    Call arguments:
        inputs: (batch, y, x, input channels).
        state: (batch, y, x, channels), the hidden state; zeros at the first step.
        spectra: Those of the kernels, where they pay, see `spectra`. The result is the same.

    Example:
        >>> gru = ConvGRU(channels=4, kernel_size=3)
        >>> state = gru(keras.ops.ones((1, 8, 8, 2)), keras.ops.zeros((1, 8, 8, 4)))
        >>> state.shape
        (1, 8, 8, 4)
    """

    def __init__(self, channels: int, kernel_size: int, **kwargs):
        """Create the two convolutions."""
        super().__init__(**kwargs)
        self.channels, self.kernel_size = channels, kernel_size
        same = {"padding": "same", "data_format": "channels_last", "dtype": self.dtype_policy}
        self.gates = keras.layers.Conv2D(
            2 * channels, kernel_size, activation="sigmoid", name="gates", **same
        )
        self.candidate = keras.layers.Conv2D(
            channels, kernel_size, activation="tanh", name="candidate", **same
        )

    def spectra(self) -> tuple | None:
        """Return what makes several steps with the same kernels fast; None where nothing does.

        Large kernels on a CPU: their spectra, for an exact convolution in tiles.
        """
        if not _LARGE_KERNEL <= self.kernel_size < TILE or self.compute_dtype != "float32":
            return None
        if accelerator_names():
            return None
        return kernel_spectrum(self.gates.kernel), kernel_spectrum(self.candidate.kernel)

    def build(self, inputs_shape, state_shape=None, spectra_shape=None):
        """Create the kernels for this number of input channels."""
        joined = (*inputs_shape[:-1], inputs_shape[-1] + self.channels)
        for layer in (self.gates, self.candidate):
            if not layer.built:
                layer.build(joined)
        self.built = True

    def call(self, inputs, state, spectra=None):
        """Return the next hidden state."""
        of_gates, of_candidate = spectra or (None, None)
        gates = self._convolved(self.gates, ops.concatenate([inputs, state], axis=-1), of_gates)
        update, reset = ops.split(gates, 2, axis=-1)
        joined = ops.concatenate([inputs, reset * state], axis=-1)
        candidate = self._convolved(self.candidate, joined, of_candidate)
        return state + update * (candidate - state)

    def _convolved(self, layer: keras.layers.Conv2D, joined, spectrum):
        if spectrum is None:
            return layer(joined)
        return layer.activation(convolve(joined, spectrum, self.kernel_size) + layer.bias)

    def compute_output_shape(self, inputs_shape, state_shape=None, spectra_shape=None):
        """The hidden state's shape."""
        return (*inputs_shape[:-1], self.channels)

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        return super().get_config() | {"channels": self.channels, "kernel_size": self.kernel_size}
