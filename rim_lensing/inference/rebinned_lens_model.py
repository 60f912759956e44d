"""A lens model for images on finer pixels than its network was trained on."""

import numpy as np

from rim_lensing.inference.correlated_noise import check_noise_correlation
from rim_lensing.inference.observation import PIXEL_SCALE_TOLERANCE, check_image
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.framing import resampling_matrix


class RebinnedLensModel:
    """Predicts the lens of an image on finer pixels: the image is rebinned first, see `rebin`.

    Args:
        model: A lens CNN, or what else has an `image_grid` and predicts.
        image_grid: The pixels that images have.
        noise_correlation: Of the noise of these pixels by their distance, (k, k), as
            `noise_correlation` measures it in blank sky; by default they are independent.

    Raises:
        ValueError: These pixels are larger than the model's, or the correlation is none (see
            `check_noise_correlation`).
    """

    def __init__(self, model, image_grid: PixelGrid, noise_correlation: np.ndarray | None = None):
        """Keep all three."""
        if image_grid.pixel_scale > model.image_grid.pixel_scale * (1 + PIXEL_SCALE_TOLERANCE):
            raise ValueError(
                "`image_grid` must not have larger pixels than the lens model's, "
                f'{model.image_grid.pixel_scale:g}": averaging cannot sharpen an image. '
                f"Received: {image_grid}"
            )
        if noise_correlation is not None:
            side = image_grid.side
            noise_correlation = check_noise_correlation(noise_correlation, (side, side))
        self.model, self.image_grid = model, image_grid
        self.noise_correlation = noise_correlation

    def predict(self, image, noise, psf, mask=None):
        """Return what the model predicts of the rebinned image.

        Args:
            image: (m, m), on `image_grid`, lens light and background subtracted, in any unit.
            noise: rms in the image's unit: a number or a map (m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k).
            mask: True where a pixel is USED, (m, m).

        Raises:
            ValueError: Bad input (see `check_image`), a batch, or see `rebin`.
        """
        if np.ndim(image) != 2:
            raise ValueError(
                "`image` must be one image (y, x): give the systems of a batch one by one. "
                f"Received: shape {np.shape(image)}"
            )
        seen = check_image(image, noise, psf, mask, image_grid=self.image_grid)
        image, noise, psf = rebin(
            seen.image[0],
            seen.noise[0],
            seen.psf[0],
            self.image_grid,
            self.model.image_grid,
            self.noise_correlation,
        )
        return self.model.predict(image, noise, psf)


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
        new: n of them a side, no smaller than the old ones; as large, if they are by a hair.

        noise_correlation: Of old pixels by their distance, (j, j), 1 in the middle; by default they
            are independent. Drizzled ones are not, and the mean of 2 x 2 that correlate by 0.4 with
            their neighbours scatters half as much again as in quadrature.

    Returns:
        Image (n, n), 0 where masked; noise (n, n), infinite there; kernel, normalised, with an odd
        side that does not exceed the image's.

    Raises:
        ValueError: With this correlation the mean of some pixels would have no positive variance.
    """
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
    # A scale from a FITS header may be a rounding error above the model's, and a ratio of equal
    # scales one below 1, where `resampling_matrix` interpolates, with negative weights.
    step = max(new.pixel_scale / old.pixel_scale, 1.0)
    return resampling_matrix(old.side, (old.side - 1) / 2, new.side * step / 2, new.side)
