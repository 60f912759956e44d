"""A lens model for images on finer pixels than its network was trained on."""

import numpy as np

from rim_lensing.inference.observation import PIXEL_SCALE_TOLERANCE, check_image
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.simulation.framing import resampling_matrix


class RebinnedLensModel:
    """Predicts the lens of an image on finer pixels: the image is rebinned first, see `rebin`.

    Args:
        model: A lens CNN, or what else has an `image_grid` and predicts.
        image_grid: The pixels that images have.

    Raises:
        ValueError: These pixels are larger than the model's.
    """

    def __init__(self, model, image_grid: PixelGrid):
        """Keep both."""
        if image_grid.pixel_scale > model.image_grid.pixel_scale * (1 + PIXEL_SCALE_TOLERANCE):
            raise ValueError(
                "`image_grid` must not have larger pixels than the lens model's, "
                f'{model.image_grid.pixel_scale:g}": averaging cannot sharpen an image. '
                f"Received: {image_grid}"
            )
        self.model, self.image_grid = model, image_grid

    def predict(self, image, noise, psf, mask=None):
        """Return what the model predicts of the rebinned image.

        Args:
            image: (m, m), on `image_grid`, lens light and background subtracted, in any unit.
            noise: rms in the image's unit: a number or a map (m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec; or a normalised kernel (k, k).
            mask: True where a pixel is USED, (m, m).

        Raises:
            ValueError: Bad input (see `check_image`), or a batch.
        """
        if np.ndim(image) != 2:
            raise ValueError(
                "`image` must be one image (y, x): give the systems of a batch one by one. "
                f"Received: shape {np.shape(image)}"
            )
        seen = check_image(image, noise, psf, mask, image_grid=self.image_grid)
        image, noise, psf = rebin(
            seen.image[0], seen.noise[0], seen.psf[0], self.image_grid, self.model.image_grid
        )
        return self.model.predict(image, noise, psf)


def rebin(
    image: np.ndarray, noise: np.ndarray, kernel: np.ndarray, old: PixelGrid, new: PixelGrid
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring an observation to larger pixels around the same origin.

    A new pixel is the mean of the used pixels that it covers, each weighted by the area that they
    share: the flux per old pixel, as before. The noise adds in quadrature with the same weights;
    that the noise of two new pixels is correlated where they share an old one is not told. A new
    pixel of which less than half is covered by used pixels is masked.

    Args:
        image: (m, m).
        noise: rms, (m, m); infinite where masked.
        kernel: PSF on the old pixels, (k, k), k odd.
        old: The image's pixels.
        new: n of them a side, no smaller than the old ones; as large, if they are by a hair.

    Returns:
        Image (n, n), 0 where masked; noise (n, n), infinite there; kernel, normalised, with an odd
        side that does not exceed the image's.
    """
    weights, used = _overlaps(old, new), np.isfinite(noise)
    covered = weights @ used.astype("float64") @ weights.T
    kept = covered >= 0.5
    share = np.where(kept, covered, 1)
    flux = weights @ np.where(used, image, 0) @ weights.T
    variance = weights**2 @ np.where(used, noise, 0) ** 2 @ (weights**2).T
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


def _overlaps(old: PixelGrid, new: PixelGrid) -> np.ndarray:
    """Return which fraction of each new pixel each old one covers along an axis, (new, old)."""
    # A scale from a FITS header may be a rounding error above the model's, and a ratio of equal
    # scales one below 1, where `resampling_matrix` interpolates, with negative weights.
    step = max(new.pixel_scale / old.pixel_scale, 1.0)
    return resampling_matrix(old.side, (old.side - 1) / 2, new.side * step / 2, new.side)
