"""Convolutional gated recurrent unit (Cho et al. 2014), the memory of the RIM."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="rim_lensing")
class ConvGRU(keras.layers.Layer):
    """A GRU whose matrix products are 2D convolutions: sigmoid gates, tanh candidate.

        z, r = sigmoid(conv([x, h]))            update and reset gate
        c = tanh(conv([x, r h]))                candidate
        h' = (1 - z) h + z c

    Args:
        channels: Channels of the hidden state.
        kernel_size: Side of the convolution kernels in pixels.

    Call arguments:
        inputs: (batch, y, x, input channels).
        state: (batch, y, x, channels), the hidden state; zeros at the first step.

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
        self.gates = keras.layers.Conv2D(
            2 * channels, kernel_size, padding="same", activation="sigmoid", name="gates"
        )
        self.candidate = keras.layers.Conv2D(
            channels, kernel_size, padding="same", activation="tanh", name="candidate"
        )

    def build(self, inputs_shape, state_shape=None):
        """Create the kernels for this number of input channels."""
        joined = (*inputs_shape[:-1], inputs_shape[-1] + self.channels)
        for layer in (self.gates, self.candidate):
            if not layer.built:
                layer.build(joined)
        self.built = True

    def call(self, inputs, state):
        """Return the next hidden state."""
        gates = self.gates(ops.concatenate([inputs, state], axis=-1))
        update, reset = ops.split(gates, 2, axis=-1)
        candidate = self.candidate(ops.concatenate([inputs, reset * state], axis=-1))
        return state + update * (candidate - state)

    def compute_output_shape(self, inputs_shape, state_shape=None):
        """The hidden state's shape."""
        return (*inputs_shape[:-1], self.channels)

    def get_config(self) -> dict:
        """Return what __init__ needs."""
        return super().get_config() | {"channels": self.channels, "kernel_size": self.kernel_size}
