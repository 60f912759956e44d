"""What found sources predict: their images, chi^2, and which of their pixels the data see."""

import numpy as np
from keras import ops

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.results.constrained import seen_pixels

SYSTEMS_AT_A_TIME = 16
"""Of a large batch: the images of all at once would not fit into memory."""


def predict(
    observation: NormalisedObservation, history: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, ...]:
    """Return the images of the last step's sources, and how well every step's explain the data.

    Args:
        observation: What was reconstructed.
        history: (batch, T, n, n), in units of the observation's `flux_unit`.
        geometry: Grids and supersampling of the forward model.

    Returns:
        Noiseless images of the last step, (batch, m, m); of visibilities the lensed sources
        without the beam, else None; chi^2 per used pixel or number, (batch, T); and what
        `seen_pixels` returns, (batch, n, n) each.
    """
    area_ratio = (geometry.image_pixel_scale / geometry.source_pixel_scale) ** 2
    images, skies, chi2, constrained, magnification = [], [], [], [], []
    for start in range(0, len(observation), SYSTEMS_AT_A_TIME):
        chunk = slice(start, start + SYSTEMS_AT_A_TIME)
        part, sources = observation[chunk], history[chunk]
        model = part.forward_model(geometry)
        steps = []
        for step in range(sources.shape[1]):
            predicted, sky, square = _compare(part, model, sources[:, step].astype("float32"))
            steps.append(square / part.n_data)
        images.append(predicted)
        skies.append(sky)
        chi2.append(np.stack(steps, axis=1))
        seen, magnified = seen_pixels(
            lambda image, model=model: ops.convert_to_numpy(model.light_adjoint(image)),
            part.noise,
            area_ratio,
        )
        constrained.append(seen)
        magnification.append(magnified)
    columns = (images, chi2, constrained, magnification)
    images, *others = (np.concatenate(column) for column in columns)
    sky = None if observation.visibilities is None else np.concatenate(skies)
    return images.astype("float64"), sky, *others


def _compare(part: NormalisedObservation, model, sources: np.ndarray) -> tuple:
    """Return images of sources (batch, n, n), of visibilities also their skies, and chi^2."""
    if part.visibilities is None:
        predicted = ops.convert_to_numpy(model.predict(sources))
        residual = part.whitened((part.image.astype("float64") - predicted) / part.noise)
        return predicted, None, np.sum(residual**2, axis=(1, 2))
    skies = ops.convert_to_numpy(model.ray_tracer.apply(sources)).astype("float64")
    pairs = list(zip(part.visibilities, skies, strict=True))
    predicted = np.stack([each.per_pixel(each.convolved(sky)) for each, sky in pairs])
    return predicted, skies, np.array([each.chi2(sky) for each, sky in pairs])
