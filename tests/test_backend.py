"""The backend module: derivatives known in closed form, and compilation that really compiles."""

import keras
import numpy as np
import pytest
from keras import ops

from rim_lensing.backend import compiled, gradient, value_and_gradient


def test_gradient_of_a_cubic():
    x = np.array([-1.5, 0.0, 2.0], "float32")
    slope = gradient(lambda v: ops.sum(v**3), x)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), 3 * x**2, rtol=1e-6)


def test_gradient_is_differentiable():
    x = np.array([-1.5, 0.5, 2.0], "float32")
    curvature = gradient(lambda v: ops.sum(gradient(lambda u: ops.sum(u**3), v)), x)
    np.testing.assert_allclose(ops.convert_to_numpy(curvature), 6 * x, rtol=1e-6)


def test_gradient_of_a_constant_is_zero():
    slope = gradient(lambda v: ops.convert_to_tensor(3.0), np.ones((2, 3), "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(slope), np.zeros((2, 3)))


def test_gradient_of_a_gather_is_dense():
    x = np.arange(4, dtype="float32")
    slope = gradient(lambda v: ops.sum(ops.take(v, np.array([1, 1, 3]), axis=0)), x)
    np.testing.assert_array_equal(ops.convert_to_numpy(slope), [0, 2, 0, 1])


def test_value_and_gradient_go_row_by_row():
    x = np.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]], "float32")
    value, slope = value_and_gradient(lambda v: ops.sum(v**3, axis=1), x)
    np.testing.assert_allclose(ops.convert_to_numpy(value), np.sum(x**3, axis=1), rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), 3 * x**2, rtol=1e-6)


def test_value_and_gradient_go_through_a_gradient():
    """As the likelihood does, whose network takes gradients on the way."""
    x = np.array([[1.0, 2.0], [-3.0, 0.5]], "float32")

    def slope_of_the_fourth_power(v):
        return ops.sum(gradient(lambda u: ops.sum(u**4), v), axis=1)

    value, slope = compiled(lambda v: value_and_gradient(slope_of_the_fourth_power, v))(x)
    np.testing.assert_allclose(ops.convert_to_numpy(value), np.sum(4 * x**3, axis=1), rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), 12 * x**2, rtol=1e-5)


def test_value_and_gradient_of_a_constant_is_zero():
    value, slope = value_and_gradient(lambda v: ops.ones(2), np.ones((2, 3), "float32"))
    np.testing.assert_array_equal(ops.convert_to_numpy(value), np.ones(2))
    np.testing.assert_array_equal(ops.convert_to_numpy(slope), np.zeros((2, 3)))


@pytest.mark.parametrize("fused", [False, True])
def test_compiled_runs_python_once_per_shape(fused):
    calls = []

    def double(x):
        calls.append(tuple(x.shape))
        return 2 * x

    function = compiled(double, fused)
    for shape in ((2,), (2,), (3,), (2,)):
        x = ops.ones(shape)
        np.testing.assert_array_equal(ops.convert_to_numpy(function(x)), 2 * np.ones(shape))
    assert calls == [(2,), (3,)]


@pytest.mark.parametrize(
    "use",
    [
        lambda: compiled(abs)(np.zeros(())),
        lambda: gradient(abs, np.zeros(())),
        lambda: value_and_gradient(abs, np.zeros(())),
    ],
)
def test_other_backends_are_refused(monkeypatch, use):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="tensorflow or jax.*Received: KERAS_BACKEND=torch"):
        use()
