"""The one place that knows how the Keras backends differ (DESIGN section 8)."""

import contextlib
from collections.abc import Callable, Iterator

import keras
from keras import ops

from rim_lensing.forks import check_process

_BACKENDS = "rim_lensing runs under KERAS_BACKEND=tensorflow or jax. Received: KERAS_BACKEND={}"


def tensor(value, dtype: str = "float32"):
    """Return a value as a tensor, of a dtype that is no setting of the user's Keras.

    Raises:
        RuntimeError: This process cannot compute, see `forks`.
    """
    check_process()
    return ops.convert_to_tensor(value, dtype=dtype)


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


def linear_function(apply: Callable, adjoint: Callable) -> Callable:
    """Return a linear function of one tensor that is differentiated by its adjoint.

    Which may cost far less than what the backend makes of the function's own operations: of a
    gather it makes a scatter.

    Args:
        apply: x to A x.
        adjoint: y to A'y.
    """

    @ops.custom_gradient
    def function(x):
        def slope(*arguments, upstream=None):
            y = arguments[0] if upstream is None else upstream
            return linear_function(adjoint, apply)(y)

        return apply(x), slope

    return function


@contextlib.contextmanager
def float32_defaults() -> Iterator[None]:
    """Have Keras make what is its own (of `fit`, `predict`, optimisers) float32, for a while.

    Under a user's floatx of float16 a schedule would end at step 65504, and `predict` would round
    the data that it is given.
    """
    before = keras.config.floatx()
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


class compiled:  # noqa: N801
    """A function as the backend's compiled graph: made at its first call, and for each new shape.

    It pickles as the function alone (a method, or one of a module).

    Args:
        function: Of tensors.
        fused: Whether TensorFlow, too, hands it to XLA, as JAX always does: several times as fast
            on a CPU where large arrays are gathered and multiplied, and slower where they are
            convolved.

    Raises:
        RuntimeError: When it is called: the backend is neither TensorFlow nor JAX, or this process
            cannot compute, see `forks`.
    """

    def __init__(self, function: Callable, fused: bool = False):
        """Keep the function."""
        self._function, self._fused, self._graph = function, fused, None

    def __call__(self, *arguments):
        """Return what the function returns."""
        check_process()
        if self._graph is None:
            self._graph = _graph(self._function, self._fused)
        return self._graph(*arguments)

    def __getstate__(self) -> dict:
        """Leave the graph, which belongs to this process."""
        return self.__dict__ | {"_graph": None}


def _graph(function: Callable, fused: bool) -> Callable:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # No function here has Python's own control flow on tensors, for JAX could not trace it:
        # AutoGraph would find nothing to rewrite, and took a third of the time of a trace.
        return tf.function(function, jit_compile=fused, autograph=False)
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
        RuntimeError: The backend is neither TensorFlow nor JAX, or this process cannot compute.
    """
    check_process()
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
