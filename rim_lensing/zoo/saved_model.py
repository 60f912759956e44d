"""Export as a TensorFlow SavedModel, which runs where this package is not installed.

The one module that needs TensorFlow, whatever backend Keras runs under.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lens_fit.lens_predictor import LensPredictor, prediction_draws
from rim_lensing.lensing.mass_model import SHORT_FORMS
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, transform_image
from rim_lensing.networks.flux_scale import FIRST_PEAK, source_peak
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.rim import RIM


def export_saved_model(network: RIM, directory: str | Path) -> None:
    """Write a SavedModel with the functions `serve` and `serve_deflections`.

    `tf.saved_model.load(directory).serve(image, noise_map, psf, lens_parameters)` takes float32
    tensors, any batch, and returns a dictionary (it is the signature `serving_default`):

        image: (batch, m, m), the observation, in any unit;
        noise_map: (batch, m, m), rms in the same unit; infinite where a pixel is masked;
        psf: (batch, k, k), kernels on the image's pixels (not oversampled) that sum to 1, k the
            `psf_side` of the configuration: pad a smaller kernel with zeros, crop and normalise a
            larger one;
        lens_parameters: (batch, 7), theta_E, e1, e2, x, y, gamma1, gamma2 in arcsec (SIE + shear);

        source: (batch, n, n), after the last step, in the image's unit;
        model_image: (batch, m, m), the source lensed and blurred;
        history: (batch, T, n, n), the source after every step.

    `serve_deflections(image, noise_map, psf, deflections)`, the signature of this name, returns the
    same for any lens model of any package:

        deflections: (batch, 2, m s, m s), alpha_x (along the columns) and alpha_y (along the rows)
            in arcsec, at the centres of the image's pixels; or of each of their s x s parts if the
            configuration has supersampling s.

    The weights are constants: they cannot be trained further there. Nothing is checked, all is
    float32. The answer follows the unit of the image as long as image, noise and scale stay well
    inside what float32 holds (peaks of 1e-30 to 1e30); with flux_scale="unit" (the paper's) it
    takes two runs, as that of `RIMReconstructor.reconstruct` does.

    Args:
        network: A built RIM.
        directory: Of the SavedModel, made if missing.

    Kernels of 9 pixels and more are convolved as is fast where this is called: in tiles on a CPU
    (see `ConvGRU.spectra`), and not so where there is a GPU.

    Raises:
        RuntimeError: Keras does not run under TensorFlow.
    """
    check_backend()
    config, arrays = network.config, _signature(network)
    served = tf.Module()
    rays = _spec("deflections", 2, *[config.image_side * config.supersampling] * 2)
    served.serve_deflections = tf.function(_rim_function(network), input_signature=[*arrays, rays])

    def serve(image, noise_map, psf, lens_parameters):
        form = SHORT_FORMS[7]
        deflections = form.on_rays(lens_parameters, config.image_grid, config.supersampling)
        # Not its concrete function: traced before the save, it would be traced again by it, and
        # the weights be in the file twice.
        return served.serve_deflections(image, noise_map, psf, deflections)

    lens = _spec("lens_parameters", 7)
    served.serve = tf.function(serve, input_signature=[*arrays, lens], autograph=False)
    _save(
        served,
        {
            "serving_default": served.serve,
            "serve_deflections": served.serve_deflections,
        },
        directory,
    )


def export_lens_predictor(model: LensPredictor, directory: str | Path) -> None:
    """Write a SavedModel with the functions `serve` and (its signature) `serving_default`.

    `tf.saved_model.load(directory).serve(image, noise_map, psf)` takes image, noise_map and psf as
    the SavedModel of a RIM does (see `export_saved_model`), and returns a dictionary of what
    `LensPredictor.predict` gives by default, with the same units dropped:

        lens: (batch, 7), theta_E, e1, e2, x, y, gamma1, gamma2;
        std: (batch, 7), total standard deviation;
        aleatoric, epistemic: (batch, 7), its two parts.

    Nothing is checked.

    Args:
        model: What is exported, with its calibration.
        directory: Of the SavedModel, made if missing.

    Raises:
        RuntimeError: Keras does not run under TensorFlow.
    """
    check_backend()
    served = tf.Module()
    served.serve = tf.function(_lens_function(model), input_signature=_signature(model.network))
    _save(served, {"serving_default": served.serve}, directory)


def check_backend() -> None:
    """Raise RuntimeError unless Keras runs under TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is exported under KERAS_BACKEND=tensorflow (load the weights there). "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )


def _save(served: tf.Module, signatures: dict, directory: str | Path) -> None:
    # Gradients are part of the graph already; their own functions and the stack are not needed.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False, save_debug_info=False)
    tf.saved_model.save(served, str(directory), signatures=signatures, options=options)


def _spec(name: str, *shape: int) -> tf.TensorSpec:
    return tf.TensorSpec((None, *shape), tf.float32, name)


def _signature(network: RIM | LensCNN) -> list[tf.TensorSpec]:
    image, psf = (network.config.image_side,) * 2, (network.config.psf_side,) * 2
    return [_spec("image", *image), _spec("noise_map", *image), _spec("psf", *psf)]


def _weights(network: RIM | LensCNN) -> list[list]:
    """Return the weights as they are to be made constants.

    A loaded function does not keep variables alive: `tf.saved_model.load(path).serve(...)` in one
    line would find them deleted.
    """
    return [
        [variable.numpy() for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    ]


def _constants(weights: list[list]) -> list[list[tf.Tensor]]:
    return [[tf.constant(value) for value in values] for values in weights]


def _rim_function(network: RIM):
    config, weights = network.config, _weights(network)

    def serve(image, noise_map, psf, deflections):
        forward = ForwardModel(
            deflections, psf, config.image_grid, config.source_grid, config.supersampling
        )
        constants = _constants(weights)

        def run(scale):
            inputs = {"psf": psf, "lens": deflections}
            inputs |= {"image": image / scale, "noise": noise_map / scale}
            return network.stateless_call(*constants, inputs)[0] * scale[:, None]

        if config.flux_scale == "image":
            history = run(tf.ones_like(image[:, :1, :1]))
        else:
            used = tf.where(tf.math.is_finite(noise_map), image, 0.0)
            unit = tf.reduce_max(used, axis=(1, 2), keepdims=True)
            first = run(FIRST_PEAK * unit)[:, -1] / unit
            history = run(unit * source_peak(forward, first, used / unit, noise_map / unit))
        source = history[:, -1]
        return {"source": source, "model_image": forward.predict(source), "history": history}

    return serve


def _lens_function(model: LensPredictor):
    network, weights = model.network, _weights(model.network)
    draws = prediction_draws(network)
    matrices = np.stack([lens_matrix(k) for k in range(SYMMETRIES)])

    def views(images, side: int):
        """Return images (batch, side, side) under all symmetries, (8, batch, side, side)."""
        numbers = np.arange(side**2).reshape(side, side)
        orders = np.stack([transform_image(numbers, k).ravel() for k in range(SYMMETRIES)])
        turned = tf.gather(tf.reshape(images, (-1, side**2)), orders, axis=1)
        return tf.reshape(tf.transpose(turned, (1, 0, 2)), (SYMMETRIES, -1, side, side))

    def serve(image, noise_map, psf):
        constants, config = _constants(weights), network.config
        turned = {
            "image": views(image, config.image_side),
            "noise": views(noise_map, config.image_side),
            "psf": views(psf, config.psf_side),
        }

        def one_pass(elements):
            symmetry, draw = elements
            inputs = {name: value[symmetry] for name, value in turned.items()}
            inputs["dropout"] = tf.repeat(draw[None], tf.shape(image)[0], axis=0)
            output, _ = network.stateless_call(*constants, inputs)
            matrix = tf.gather(matrices, symmetry)
            return output[:, 0] @ matrix, tf.exp(output[:, 1]) @ matrix**2

        means, variances = tf.map_fn(
            one_pass,
            (tf.range(len(draws)) % SYMMETRIES, tf.constant(draws)),
            fn_output_signature=(tf.float32, tf.float32),
            parallel_iterations=1,
        )
        factors = tf.constant(model.std_factors, tf.float32)
        aleatoric = factors * tf.sqrt(tf.reduce_mean(variances[SYMMETRIES:], axis=0))
        epistemic = factors * tf.math.reduce_std(means[SYMMETRIES:], axis=0)
        return {
            "lens": tf.reduce_mean(means[:SYMMETRIES], axis=0),
            "std": tf.sqrt(aleatoric**2 + epistemic**2),
            "aleatoric": aleatoric,
            "epistemic": epistemic,
        }

    return serve
