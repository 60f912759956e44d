"""Is chi^2 what noise leaves?"""

import warnings

import numpy as np

from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems

_PLAUSIBLE_CHI2 = (0.7, 1.5)
_MIN_FITTED_CHI2 = 0.2
"""chi^2 per pixel of a linear inversion that noise does leave: the smallest median of benchmarks is
0.53, and fewer arcs or smaller source pixels fit more of the noise."""


def warn_of_chi2(chi2: float | np.ndarray, fits_noise: bool = False) -> None:
    """Warn (UserWarning) of chi^2 per pixel, a number or (batch,), that noise does not leave.

    Args:
        chi2: Of the sources.
        fits_noise: Whether the method fits part of the noise, too, so that less is no fault: a
            linear inversion at the largest evidence has some 0.5 where the noise is small.
    """
    chi2 = np.atleast_1d(chi2)
    low, high = _PLAUSIBLE_CHI2
    low = _MIN_FITTED_CHI2 if fits_noise else low
    bad = (chi2 > high) | (chi2 < low)
    if bad.any():
        warnings.warn(
            SystemsWarning(
                f"chi^2 per pixel is {chi2[bad][0]:.3g}{which_systems(bad)}, where noise leaves 1. "
                "Is the noise an rms, not a variance or a weight, is the light of the lens and the "
                "sky subtracted, and are lens and PSF right?",
                bad,
            ),
            stacklevel=3,
        )
