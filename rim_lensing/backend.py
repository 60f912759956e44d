"""The one place that knows how the Keras backends differ (DESIGN section 8)."""

from collections.abc import Callable

import keras

_BACKENDS = "rim_lensing runs under KERAS_BACKEND=tensorflow or jax. Received: KERAS_BACKEND={}"


def gradient(function: Callable, x):
    """Return d function / d x by the backend's automatic differentiation.

    Args:
        function: Maps one tensor to a scalar.
        x: Tensor or array at which to differentiate.

    Returns:
        Tensor of x's shape, zero where the function does not depend on x. It is itself
        differentiable, so a network that uses it can be trained.

    Raises:
        RuntimeError: The backend is neither TensorFlow nor JAX.
    """
    return value_and_gradient(function, x)[1]


def compiled(function: Callable, fused: bool = False) -> Callable:
    """Return the function as the backend's compiled graph; retraced for each new shape.

    Args:
        function: Of tensors.
        fused: Whether TensorFlow, too, hands it to XLA, as JAX always does: several times as fast
            on a CPU where large arrays are gathered and multiplied, and slower where they are
            convolved.

    Raises:
        RuntimeError: The backend is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=fused)
    if backend == "jax":
        import jax

        return jax.jit(function)
    raise RuntimeError(_BACKENDS.format(backend))


def allow_varying_shapes(model) -> None:
    """Have `fit` compile the training step of a model anew for every shape of its data.

    JAX does so by itself. TensorFlow's `fit` would compile one graph for all shapes, in which none
    is known.

    Args:
        model: Compiled, as `keras.Model.compile` means it.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Made within the first graph they could not be made again in the next.
        model.optimizer.build(model.trainable_variables)
        model.run_eagerly = True
        model.train_step = tf.function(model.train_step)


def value_and_gradient(function: Callable, x):
    """Return function(x), and the gradient of its sum with respect to x.

    Args:
        function: Maps one tensor (batch, ...) to (batch,), row by row: then the gradient's row is
            that of the row's own value. Or it maps to a scalar.
        x: Tensor or array at which to differentiate.

    Raises:
        RuntimeError: The backend is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        unconnected = tf.UnconnectedGradients.ZERO
        slope = tape.gradient(value, x, unconnected_gradients=unconnected)
        return value, tf.convert_to_tensor(slope)
    if backend == "jax":
        import jax

        def summed(x):
            value = function(x)
            return value.sum(), value

        (_, value), slope = jax.value_and_grad(summed, has_aux=True)(jax.numpy.asarray(x))
        return value, slope
    raise RuntimeError(_BACKENDS.format(backend))


def accelerator_names() -> list[str]:
    """Return what the backend computes on beside the processor, such as "NVIDIA H100".

    Raises:
        RuntimeError: The backend is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        details = map(
            tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU")
        )
        return [found.get("device_name", "GPU") for found in details]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    raise RuntimeError(_BACKENDS.format(backend))
