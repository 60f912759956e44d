"""A network that needs no training: ridge regression by conjugate gradients, in a RIM's clothes."""

import numpy as np
from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.pixel_noise import PixelNoise
from rim_lensing.lensing.mass_model import as_lens
from rim_lensing.networks.presets import get_preset

CONFIG = get_preset("tiny16")
_STEPS = 12


class RidgeNetwork:
    """Minimises chi^2 + sum (s / prior)^2 over the sources, in _STEPS steps from 0."""

    def __init__(self, prior: float = 0.3):
        self.config, self.prior, self.built = CONFIG, prior, True
        self.trainable_variables, self.non_trainable_variables = [], []

    def stateless_call(self, trainable, non_trainable, inputs):
        grids = CONFIG.image_grid, CONFIG.source_grid
        kernel = inputs.get("fine_psf", inputs.get("psf"))
        rays = inputs["lens"].shape[-1] // CONFIG.image_side if "fine_psf" in inputs else 1
        model = ForwardModel(inputs["lens"], kernel, *grids, oversampling=rays)
        noise = ops.convert_to_tensor(inputs["noise"])
        used = ops.isfinite(noise)
        pixels = PixelNoise(noise, inputs.get("whitening"))

        def normal(source):
            return model.adjoint(pixels.weighted(model.predict(source))) + source / self.prior**2

        def dot(a, b):
            return ops.sum(a * b, axis=(1, 2), keepdims=True)

        residual = model.adjoint(pixels.weighted(ops.where(used, inputs["image"], 0.0)))
        source, direction, norm = residual * 0, residual, dot(residual, residual)
        for _ in range(_STEPS):
            image = normal(direction)
            length = norm / dot(direction, image)
            source, residual = source + length * direction, residual - length * image
            new = dot(residual, residual)
            direction, norm = residual + new / norm * direction, new
        return source[:, None], []


def mock(lens, rms: float = 0.02, seed: int = 0) -> dict[str, np.ndarray]:
    """Image, noise and PSF of two Gaussian blobs behind a lens of any kind, on tiny16's grids."""
    x, y = CONFIG.source_grid.coordinates()
    source = np.exp(-0.5 * ((x - 0.1) ** 2 + (y - 0.15) ** 2) / 0.2**2)
    source += 0.6 * np.exp(-0.5 * ((x + 0.4) ** 2 + (y + 0.2) ** 2) / 0.15**2)
    psf = np.outer([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]).astype("float32")
    array, form = as_lens(lens)
    rays = form.on_rays(array, CONFIG.image_grid)
    model = ForwardModel(rays, psf[None], CONFIG.image_grid, CONFIG.source_grid)
    image = ops.convert_to_numpy(model.predict(source[None].astype("float32")))[0]
    image = image + rms * np.random.default_rng(seed).standard_normal(image.shape)
    return {"image": image, "noise": np.full(image.shape, rms), "psf": psf}
