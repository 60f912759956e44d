"""The noise of an image in its likelihood: an rms for every pixel, correlated or not, templates."""

from keras import ops

from rim_lensing.backend import linear_function
from rim_lensing.forward_model.whitening import REACH


class PixelNoise:
    """The covariance of a batch of images: sigma C sigma over the used pixels, and templates.

    Args:
        rms: sigma, (batch, m, m) or (batch, 1, 1); infinite where masked.
        whitening: None where pixels are independent, and there are no templates; else a dictionary
            of arrays, with a row for every system, or one for all:
            weights: of C, see `Whitening.weights`, (batch, 2, m, m, K);
            modes: see `TemplateModes`, (batch, k, m, m).
            Either may be missing.
    """

    def __init__(self, rms, whitening=None):
        """Keep both."""
        self.rms, self._weight = rms, 1 / rms**2
        whitening = whitening or {}
        self._weights, self._modes = whitening.get("weights"), whitening.get("modes")

    def normalised(self, image):
        """Return P W image / sigma, (batch, m, m): of noise it is white, with a variance of 1.

        Args:
            image: (batch, m, m), finite; what is masked does not enter.
        """
        return self._projected(self._whitened(image / self.rms))

    def weighted(self, image):
        """Return the covariance's inverse times an image, (batch, m, m), and 0 where masked."""
        if self._weights is None and self._modes is None:
            return self._weight * image
        white = self._projected(self.normalised(image))
        return self._unwhitened(white) / self.rms

    def _whitened(self, image):
        if self._weights is None:
            return image
        return linear_function(self._rows, self._columns)(image)

    def _unwhitened(self, image):
        if self._weights is None:
            return image
        return linear_function(self._columns, self._rows)(image)

    def _projected(self, image):
        """Return P x."""
        if self._modes is None:
            return image
        along = ops.sum(image[:, None] * self._modes, axis=(2, 3), keepdims=True)
        return image - ops.sum(along * self._modes, axis=1)

    def _rows(self, image):
        """Return W x."""
        return _weighted_sums(image, self._weights[:, 0], (REACH, 0))

    def _columns(self, image):
        """Return W' x."""
        return _weighted_sums(image, self._weights[:, 1], (0, REACH))


def without_templates(whitening: dict | None) -> dict | None:
    """Return what `PixelNoise` takes for the noise of the pixels alone."""
    if whitening is None or "weights" not in whitening:
        return None
    return {"weights": whitening["weights"]}


def _weighted_sums(image, weights, padding: tuple[int, int]):
    """Return sums of the pixels around each one, (batch, m, m), with weights (batch, m, m, K)."""
    padded = ops.pad(image, ((0, 0), padding, (REACH, REACH)))
    around = ops.image.extract_patches(
        padded[..., None],
        (REACH + 1, 2 * REACH + 1),
        strides=1,
        padding="valid",
        data_format="channels_last",
    )
    return ops.sum(around * weights, axis=-1)
