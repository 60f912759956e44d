"""What cleaning cut off: a galaxy's outskirts, and the linear flux behind a stretched picture.

The outline of a galaxy in a stamp is an isophote: where its light sinks below the noise, or below a
share of its peak. Real galaxies go on. Disks do so exponentially (Freeman 1970), and so do over a
short range the outer parts of all Sersic profiles.
"""

import numpy as np
from scipy import ndimage

from rim_lensing.galaxies.segmentation import extent_of

SCALE_LENGTHS = (0.05, 0.15)
"""Of the outskirts, over the outline's extent: what a fit on a few noisy pixels may give."""


def linear_flux(stretched: np.ndarray, white: float, softening: float) -> np.ndarray:
    """Return the flux behind an asinh stretch: sinh(softening f), f = value / white.

    That is the inverse of Lupton et al. (2004, PASP 116, 133), their equation 3, of the mean of the
    three colours. SDSS's pictures follow them "with some modifications", and their Q is not
    published with the pictures; where it differs, the galaxy comes out more or less concentrated.

    Args:
        stretched: Values of the picture, sky subtracted.
        white: The largest value that the picture's format holds.
        softening: Q.
    """
    return np.sinh(softening * stretched / white)


def with_outskirts(light: np.ndarray, segment: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the galaxy, continued past its outline by an exponential profile fitted to its rim.

    The brightness falls with the distance from the outline, from the mean along the outline, with
    the scale length that the last tenths of the galaxy have.

    Args:
        light: Brightness, (y, x), with enough sky around it to hold the outskirts.
        segment: The galaxy's pixels, bool.
        share: Of `light` in the answer, 1 well inside of the outline and 0 outside.
    """
    extent = extent_of(segment)
    width = max(2.0, 0.06 * extent)
    inside = ndimage.distance_transform_edt(segment)
    rim = light[segment & (inside <= width)].mean()
    further_in = light[segment & (inside > width) & (inside <= 2 * width)]
    ratio = further_in.mean() / max(rim, 1e-30) if len(further_in) else 0.0
    length = width / np.log(max(ratio, 1.0 + 1e-6))
    length = np.clip(length, *(extent * np.array(SCALE_LENGTHS)))
    # The mean of the rim is that of its middle. Smoothed, or a ragged outline would throw rays.
    depth = inside - ndimage.distance_transform_edt(~segment) - width / 2
    depth = ndimage.gaussian_filter(depth, 0.04 * extent)
    outskirts = max(rim, 0.0) * np.exp(np.minimum(depth, width) / length)
    return share * light + (1 - share) * outskirts


def without_cut_rim(light: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Return the segment less what a file had cut to 0 along its own, narrower outline."""
    inside = ndimage.distance_transform_edt(segment)
    rim = light[segment & (inside <= max(2.0, 0.06 * extent_of(segment)))].mean()
    kept = ndimage.binary_fill_holes(ndimage.binary_opening(segment & (light > 0.3 * rim)))
    return kept if kept.any() else segment
