"""A lens model for images on finer pixels than its network was trained on."""

from dataclasses import is_dataclass, replace

import numpy as np

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LENGTHS, PARAMETER_NAMES
from rim_lensing.observation.checks import check_image, one_image
from rim_lensing.observation.correlated_noise import check_noise_correlation
from rim_lensing.observation.rebinning import rebin

SAME_PIXELS = 0.01
"""Pixels that differ from a model's own by no more than this fraction are not averaged."""


class RebinnedLensModel:
    """Predicts the lens of an image on finer pixels: the image is rebinned first, see `rebin`.

    Pixels of the model's own size, to SAME_PIXELS in either direction, are not averaged: the model
    sees them as its own, and the lengths that it predicts are multiplied by the ratio of the two
    scales. Nothing is lost, for lensing knows no length but the pixel.

    Args:
        model: A lens CNN, or what else has an `image_grid` and predicts.
        image_grid: The pixels that images have.
        noise_correlation: Of the noise of these pixels by their distance, (k, k), as
            `noise_correlation` measures it in blank sky; by default they are independent.

    Raises:
        ValueError: These pixels are larger than the model's by more than SAME_PIXELS, or the
            correlation is none (see `check_noise_correlation`).
    """

    def __init__(self, model, image_grid: PixelGrid, noise_correlation: np.ndarray | None = None):
        """Keep all three."""
        ratio = image_grid.pixel_scale / model.image_grid.pixel_scale
        if ratio > 1 + SAME_PIXELS:
            raise ValueError(
                "`image_grid` must not have larger pixels than the lens model's, "
                f'{model.image_grid.pixel_scale:g}": averaging cannot sharpen an image. '
                f"Received: {image_grid}"
            )
        if noise_correlation is not None:
            side = image_grid.side
            noise_correlation = check_noise_correlation(noise_correlation, (side, side))
        self.model, self.image_grid = model, image_grid
        # Not abs(ratio - 1), which rounding may put on the other side of the bound.
        same = 1 - SAME_PIXELS <= ratio <= 1 + SAME_PIXELS
        self._length_factor = ratio if same else 1.0
        self._seen_grid = (
            PixelGrid(image_grid.side, model.image_grid.pixel_scale) if same else image_grid
        )
        self.noise_correlation = noise_correlation

    def __repr__(self) -> str:
        """Return one line."""
        return f"RebinnedLensModel(image {self.image_grid}, averaged for {self.model!r})"

    def predict(self, image, noise=None, psf=None, mask=None):
        """Return what the model predicts of the rebinned image.

        Args:
            image: An `Observation` alone; or (m, m), on `image_grid`, lens light and background
                subtracted, in any unit.
            noise: rms in the image's unit: a number or a map (m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k)
                on `image_grid` (not oversampled).
            mask: True where a pixel is USED, (m, m).

        Raises:
            ValueError: Bad input (see `check_image`), a batch, or see `rebin`.
        """
        seen = check_image(one_image(image, noise, psf, mask), image_grid=self.image_grid)
        image, noise, psf = rebin(
            seen.image[0],
            seen.noise[0],
            seen.psf[0],
            self._seen_grid,
            self.model.image_grid,
            self.noise_correlation,
        )
        prediction = self.model.predict(image, noise, psf)
        if self._length_factor == 1:
            return prediction
        return _with_lengths_times(self._length_factor, prediction)


def _with_lengths_times(factor: float, prediction):
    """Return a `LensPrediction`, or (lens, std), with its lengths multiplied; all are (..., 7)."""
    factors = np.array([factor if name in LENGTHS else 1 for name in PARAMETER_NAMES], "float32")
    # Not isinstance: the module of `LensPrediction` imports this one, and TensorFlow.
    if not is_dataclass(prediction):
        return tuple(values * factors for values in prediction)
    # Intervals are multiples of the standard deviation.
    names = ("lens", "std", "aleatoric", "epistemic", "samples")
    return replace(prediction, **{name: getattr(prediction, name) * factors for name in names})
