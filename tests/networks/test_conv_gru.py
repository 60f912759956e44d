import keras
import numpy as np
from scipy.signal import correlate2d
from scipy.special import expit

from rim_lensing.networks.conv_gru import ConvGRU


def convolution_by_hand(inputs, kernel, bias):
    """'same' cross-correlation of (y, x, in) with (k, k, in, out), one 2D filter at a time."""
    out = np.zeros((*inputs.shape[:2], kernel.shape[-1]))
    for i in range(kernel.shape[2]):
        for o in range(kernel.shape[3]):
            out[..., o] += correlate2d(inputs[..., i], kernel[..., i, o], mode="same")
    return out + bias


def test_one_step_is_the_equations_of_the_docstring():
    generator = np.random.default_rng(0)
    gru = ConvGRU(channels=3, kernel_size=5)
    x = generator.normal(size=(2, 9, 9, 2)).astype("float32")
    h = generator.normal(size=(2, 9, 9, 3)).astype("float32")
    gru(x, h)
    gru.set_weights([generator.normal(scale=0.3, size=w.shape) for w in gru.get_weights()])
    result = keras.ops.convert_to_numpy(gru(x, h))

    gate_kernel, gate_bias, candidate_kernel, candidate_bias = (
        keras.ops.convert_to_numpy(w) for w in gru.weights
    )
    for i in range(2):
        gates = expit(convolution_by_hand(np.concatenate([x[i], h[i]], -1), gate_kernel, gate_bias))
        update, reset = gates[..., :3], gates[..., 3:]
        joined = np.concatenate([x[i], reset * h[i]], -1)
        candidate = np.tanh(convolution_by_hand(joined, candidate_kernel, candidate_bias))
        expected = (1 - update) * h[i] + update * candidate
        np.testing.assert_allclose(result[i], expected, atol=2e-6)


def test_config_rebuilds_the_layer():
    gru = ConvGRU.from_config(ConvGRU(channels=4, kernel_size=3).get_config())
    assert (gru.channels, gru.kernel_size) == (4, 3)
