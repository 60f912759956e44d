"""Export as a TensorFlow SavedModel, which runs where this package is not installed.

The one module that needs TensorFlow, whatever backend Keras runs under.
"""

from pathlib import Path

import keras
import tensorflow as tf

from rim_lensing.lensing.forward_model import ForwardModel
from rim_lensing.networks.rim import RIM


def export_saved_model(network: RIM, directory: str | Path) -> None:
    """Write a SavedModel with the functions `serve` and (its signature) `serving_default`.

    `tf.saved_model.load(directory).serve(image, noise_map, psf, lens_parameters)` takes float32
    tensors, any batch, and returns a dictionary:

        image: (batch, m, m), the observation, in any unit;
        noise_map: (batch, m, m), rms in the same unit; infinite where a pixel is masked;
        psf: (batch, k, k), kernels that sum to 1, k the `psf_side` of the configuration: pad a
            smaller kernel with zeros, crop and normalise a larger one;
        lens_parameters: (batch, 7), theta_E, e1, e2, x, y, gamma1, gamma2 in arcsec (SIE + shear);

        source: (batch, n, n), after the last step, in the image's unit;
        model_image: (batch, m, m), the source lensed and blurred;
        history: (batch, T, n, n), the source after every step.

    The weights are constants: they cannot be trained further there. Nothing is checked or rescaled:
    it is the bare network in float32. With flux_scale="image" the answer follows the unit of the
    image as long as image, noise and scale stay well inside what float32 holds (peaks of 1e-30 to
    1e30); with flux_scale="unit" (the paper's) the image must be scaled so that the source's peak
    is about 1.

    Args:
        network: A built RIM.
        directory: Of the SavedModel, made if missing.

    Raises:
        RuntimeError: Keras does not run under TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is exported under KERAS_BACKEND=tensorflow (load the weights there). "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    served = tf.Module()
    served.serve = tf.function(_serving_function(network), input_signature=_signature(network))
    # Gradients are part of the graph already; their own functions and the stack are not needed.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False, save_debug_info=False)
    tf.saved_model.save(
        served, str(directory), signatures={"serving_default": served.serve}, options=options
    )


def _signature(network: RIM) -> list[tf.TensorSpec]:
    config = network.config
    shapes = {
        "image": (None, config.image_side, config.image_side),
        "noise_map": (None, config.image_side, config.image_side),
        "psf": (None, config.psf_side, config.psf_side),
        "lens_parameters": (None, 7),
    }
    return [tf.TensorSpec(shape, tf.float32, name) for name, shape in shapes.items()]


def _serving_function(network: RIM):
    """Return the function with the weights as constants.

    A loaded function does not keep variables alive: `tf.saved_model.load(path).serve(...)` in one
    line would find them deleted.
    """
    config = network.config
    weights = [variable.numpy() for variable in network.trainable_variables]
    others = [variable.numpy() for variable in network.non_trainable_variables]

    def serve(image, noise_map, psf, lens_parameters):
        inputs = {"image": image, "noise": noise_map, "psf": psf, "lens": lens_parameters}
        constants = [[tf.constant(value) for value in values] for values in (weights, others)]
        history, _ = network.stateless_call(*constants, inputs)
        forward = ForwardModel(
            lens_parameters, psf, config.image_grid, config.source_grid, config.supersampling
        )
        source = history[:, -1]
        return {"source": source, "model_image": forward.predict(source), "history": history}

    return serve
