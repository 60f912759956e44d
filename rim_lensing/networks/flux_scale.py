"""The unit in which a RIM sees its source, found from the data.

A RIM answers between 0 and 1 in that unit. `estimate_flux_scale` is that of the compact networks
(flux_scale="image"), a bound from the image alone. The paper's (flux_scale="unit") is the source's
peak, which takes a first run to be found: at FIRST_PEAK, and then at `source_peak`.
"""

from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel

FIRST_PEAK, _PEAKS = 2.0, (0.25, 4.0)
"""In units of the image's brightest pixel. The first is too large rather than too small for most
systems: a network that answers from 0 to 1 shows how much too large, but not how much too small."""

_MAX_PEAK_RATIO = 4.0


def estimate_flux_scale(image, noise):
    """The largest surface brightness that a source can have in this unit, from the image alone.

    The brightest 3x3 mean of the unmasked pixels, times a headroom: lensing conserves surface
    brightness, but pixels and PSF dilute the peak of a compact source. Four times is enough for
    galaxies; a point-like source (a core narrower than 0.03" behind pixels of 0.1") is cut off.

    Args:
        image: (batch, m, m).
        noise: rms, (batch, m, m); infinite where masked.

    Returns:
        (batch, 1, 1), positive.
    """
    valid = ops.cast(ops.isfinite(noise), image.dtype)
    smooth = ops.average_pool(
        ops.stack([image * valid, valid], axis=-1),
        3,
        strides=1,
        padding="same",
        data_format="channels_last",
    )
    mean = ops.where(smooth[..., 1] > 0.3, smooth[..., 0] / (smooth[..., 1] + 1e-6), 0.0)
    brightest = ops.max(mean, axis=(1, 2), keepdims=True)
    # An image without any signal still needs a scale to divide by.
    floor = ops.min(ops.where(valid > 0, noise, float("inf")), axis=(1, 2), keepdims=True)
    return _MAX_PEAK_RATIO * ops.maximum(brightest, floor)


def source_peak(model: ForwardModel, source, image, noise, whitening=None):
    """The peak of the source times the factor that fits the data best.

    Args:
        model: Lens and PSF.
        source: (batch, n, n), after a first run.
        image: (batch, m, m), whose brightest pixel is 1; 0 where masked.
        noise: rms, (batch, m, m); infinite where masked.
        whitening: Of correlated noise, see `PixelNoise`.

    Returns:
        (batch, 1, 1), 0.25 to 4.
    """
    factor = model.best_factor(source, image, noise, whitening)
    return ops.clip(factor * ops.max(source, axis=(1, 2), keepdims=True), *_PEAKS)
