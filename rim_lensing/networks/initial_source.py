"""Where the RIM begins: everywhere dark (the paper's), or near the semilinear inversion.

The T updates of a RIM see the data T times, far too few to undo blur and lensing and noise at once.
Some conjugate gradients cost about as much as one update. What they leave to the network is what
they cannot do: tell a galaxy from noise.
"""

import math

from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel

DARK, BRIGHT = 1e-4, 0.99
"""Every pixel of a dark source has the first value, in units of the flux scale (the original
code's). An inversion, which may leave the sigmoid's range, is cut off at both."""

ITERATIONS, STRENGTH = 20, 2.0
"""Of the conjugate gradients; and of the prior, in arcsec^2 over the flux scale squared. On
development systems of hst192 half or twice the strength gave no smaller errors at all noise levels,
and ten iterations larger ones at 3% of noise and more; euclid64 would take twice the strength (by a
script that was not kept; `train/ablation.py --preset hst192` shows what the start is worth)."""


def dark(batch, side: int):
    """Return the logit of a source with DARK in all of its pixels, (batch, side, side)."""
    return ops.full((batch, side, side), math.log(DARK / (1 - DARK)), "float32")


def inverted(model: ForwardModel, image, noise, curvature, whitening=None):
    """Return the logit of an approximate semilinear inversion (Warren & Dye 2003), (batch, n, n).

    ITERATIONS of conjugate gradients for (A' C^-1 A + lambda R) s = A' C^-1 d from s = 0, with the
    gradient prior R of `inversion.regularization` and one strength lambda for all systems,
    preconditioned by the diagonal that bounds the left side (its row sums of absolute values).

    Args:
        model: A: lens and PSF.
        image: d over the flux scale, (batch, m, m), 0 where masked.
        noise: rms over the flux scale, (batch, m, m), infinite where masked.
        curvature: A' C^-1 A 1, (batch, n, n).
        whitening: Of correlated noise, see `PixelNoise`.
    """
    strength = STRENGTH / model.source_grid.pixel_scale**2
    scale = 1 / (curvature + 8 * strength)

    def product(source):
        return model.normal(source, noise, whitening) + strength * _roughness(source)

    residual = model.projected(image, noise, whitening)
    source, direction = ops.zeros_like(residual), scale * residual
    size = _dot(residual, direction)
    # Further than this float32 does not tell; what is left would be taken for a direction.
    least = 1e-14 * size
    for _ in range(ITERATIONS):
        image_of_direction = product(direction)
        going = size > least
        length = ops.where(going, _ratio(size, _dot(direction, image_of_direction)), 0.0)
        source = source + length * direction
        residual = residual - length * image_of_direction
        conditioned = scale * residual
        previous, size = size, _dot(residual, conditioned)
        direction = conditioned + ops.where(going, _ratio(size, previous), 0.0) * direction
    source = ops.clip(source, DARK, BRIGHT)
    return ops.log(source) - ops.log(1 - source)


def _roughness(source):
    """Return R s of (batch, n, n): the negative Laplacian of a source that is 0 off its grid."""
    padded = ops.pad(source, ((0, 0), (1, 1), (1, 1)))
    rows, columns = padded[:, :, 1:-1], padded[:, 1:-1]
    return 4 * source - rows[:, :-2] - rows[:, 2:] - columns[:, :, :-2] - columns[:, :, 2:]


def _dot(one, other):
    return ops.sum(one * other, axis=(1, 2), keepdims=True)


def _ratio(numerator, denominator):
    """Return 0 for 0 / 0: an image without signal is inverted at once."""
    return ops.where(denominator > 0, numerator / ops.where(denominator > 0, denominator, 1.0), 0.0)
