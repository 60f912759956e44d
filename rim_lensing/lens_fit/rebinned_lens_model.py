"""A lens model for images on finer pixels than its network was trained on."""

from dataclasses import is_dataclass, replace

import numpy as np

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.observation.correlated_noise import check_noise_correlation
from rim_lensing.observation.observation import check_image
from rim_lensing.simulation.framing import resampling_matrix

SAME_PIXELS = 0.01
"""Pixels that differ from a model's own by no more than this fraction are not averaged."""

_LENGTHS = ("theta_E", "x", "y")


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

    def predict(self, image, noise, psf, mask=None):
        """Return what the model predicts of the rebinned image.

        Args:
            image: (m, m), on `image_grid`, lens light and background subtracted, in any unit.
            noise: rms in the image's unit: a number or a map (m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k)
                on `image_grid` (not oversampled).
            mask: True where a pixel is USED, (m, m).

        Raises:
            ValueError: Bad input (see `check_image`), a batch, or see `rebin`.
        """
        # What is no array is refused below, by what it is.
        if np.ndim(image) not in (0, 2):
            raise ValueError(
                "`image` must be one image (y, x): give the systems of a batch one by one. "
                f"Received: shape {np.shape(image)}"
            )
        seen = check_image(image, noise, psf, mask, image_grid=self.image_grid)
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
    factors = np.array([factor if name in _LENGTHS else 1 for name in PARAMETER_NAMES], "float32")
    # Not isinstance: the module of `LensPrediction` imports this one, and TensorFlow.
    if not is_dataclass(prediction):
        return tuple(values * factors for values in prediction)
    # Intervals are multiples of the standard deviation.
    names = ("lens", "std", "aleatoric", "epistemic", "samples")
    return replace(prediction, **{name: getattr(prediction, name) * factors for name in names})


def rebin(
    image: np.ndarray,
    noise: np.ndarray,
    kernel: np.ndarray,
    old: PixelGrid,
    new: PixelGrid,
    noise_correlation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring an observation to larger pixels around the same origin.

    A new pixel is the mean of the used pixels that it covers, each weighted by the area that they
    share: the flux per old pixel, as before. Its noise is that of this mean, in quadrature where
    old pixels are independent; that the noise of two new pixels is correlated, because they share
    an old one or because old ones are, is not told. A new pixel of which less than half is covered
    by used pixels is masked.

    Args:
        image: (m, m).
        noise: rms, (m, m); infinite where masked.
        kernel: PSF on the old pixels, (k, k), k odd.
        old: The image's pixels.
        new: n of them a side, no smaller than the old ones.
        noise_correlation: Of old pixels by their distance, (j, j), 1 in the middle; by default they
            are independent. Drizzled ones are not, and the mean of 2 x 2 that correlate by 0.4 with
            their neighbours scatters half as much again as in quadrature.

    Returns:
        Image (n, n), 0 where masked; noise (n, n), infinite there; kernel, normalised, with an odd
        side that does not exceed the image's.

    Raises:
        ValueError: The new pixels are smaller, or with this correlation the mean of some pixels
            would have no positive variance.
    """
    if new.pixel_scale < old.pixel_scale:
        raise ValueError(
            f"`new` must not have smaller pixels than `old`, {old}: averaging cannot sharpen an "
            f"image. Received: {new}"
        )
    weights, used = _overlaps(old, new), np.isfinite(noise)
    covered = weights @ used.astype("float64") @ weights.T
    kept = covered >= 0.5
    share = np.where(kept, covered, 1)
    flux = weights @ np.where(used, image, 0) @ weights.T
    correlation = np.ones((1, 1)) if noise_correlation is None else noise_correlation
    variance = _variance(weights, np.where(used, noise, 0), correlation)
    if np.any(variance[kept] <= 0):
        raise ValueError(
            "`noise_correlation` must leave the mean of pixels a positive variance: is it one, "
            f"measured on enough pixels? Received: {np.min(variance[kept]):g} for one of them"
        )
    side = len(kernel)
    reach = int(np.ceil((side * old.pixel_scale / new.pixel_scale - 1) / 2))
    wanted = PixelGrid(2 * min(reach, (new.side - 1) // 2) + 1, new.pixel_scale)
    weights = _overlaps(PixelGrid(side, old.pixel_scale), wanted)
    blur = weights @ kernel @ weights.T
    return (
        np.where(kept, flux / share, 0),
        np.where(kept, np.sqrt(variance) / share, np.inf),
        blur / blur.sum(),
    )


def _variance(weights: np.ndarray, noise: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return the variances of weighted sums of correlated pixels, (new, new).

    Those of w n, n with covariance s_i C_ij s_j: the sum over the distances that C knows of the
    products of weights, and of rms, of all pairs of pixels so far apart.

    Args:
        weights: Along either axis, (new, old).
        noise: rms s, (old, old); 0 where masked.
        correlation: C by distance, (k, k).
    """
    side, reach = len(noise), len(correlation) // 2
    rms, wide = np.pad(noise, reach), np.pad(weights, ((0, 0), (reach, reach)))
    variance = np.zeros((len(weights),) * 2)
    for (row, column), coefficient in np.ndenumerate(correlation):
        rows, columns = slice(row, row + side), slice(column, column + side)
        pairs = noise * rms[rows, columns]
        by_row, by_column = weights * wide[:, rows], weights * wide[:, columns]
        variance += coefficient * (by_row @ pairs @ by_column.T)
    return variance


def _overlaps(old: PixelGrid, new: PixelGrid) -> np.ndarray:
    """Return which fraction of each new pixel each old one covers along an axis, (new, old)."""
    # At least 1: below, `resampling_matrix` interpolates, with negative weights.
    step = new.pixel_scale / old.pixel_scale
    return resampling_matrix(old.side, (old.side - 1) / 2, new.side * step / 2, new.side)
