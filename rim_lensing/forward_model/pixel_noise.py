"""The noise of an image in its likelihood: an rms for every pixel, and correlated or not."""

from keras import ops

from rim_lensing.backend import linear_function
from rim_lensing.forward_model.whitening import REACH


class PixelNoise:
    """C_N of a batch of images: C_N = sigma C sigma over the used pixels.

    Args:
        rms: sigma, (batch, m, m) or (batch, 1, 1); infinite where masked.
        whitening: Of C, see `Whitening.weights`: (batch, 2, m, m, K), or (1, 2, m, m, K) for all;
            None where pixels are independent.
    """

    def __init__(self, rms, whitening=None):
        """Keep both."""
        self.rms, self.whitening = rms, whitening
        self._weight = 1 / rms**2

    def normalised(self, image):
        """Return W image / sigma, (batch, m, m): of noise it is white, with a variance of 1.

        Args:
            image: (batch, m, m), finite; what is masked does not enter.
        """
        return self._whitened(image / self.rms)

    def weighted(self, image):
        """Return C_N^-1 image, (batch, m, m), and 0 where masked."""
        if self.whitening is None:
            return self._weight * image
        return self._unwhitened(self._whitened(image / self.rms)) / self.rms

    def _whitened(self, image):
        if self.whitening is None:
            return image
        return linear_function(self._rows, self._columns)(image)

    def _unwhitened(self, image):
        return linear_function(self._columns, self._rows)(image)

    def _rows(self, image):
        """Return W x."""
        return _weighted_sums(image, self.whitening[:, 0], (REACH, 0))

    def _columns(self, image):
        """Return W' x."""
        return _weighted_sums(image, self.whitening[:, 1], (0, REACH))


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
