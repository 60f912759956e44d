"""How strong a cutout's noise is, and how it hangs together, measured where the sky is blank."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from rim_lensing.observation.correlated_noise import MIN_PAIRS, REACH, noise_correlation

OUTLIER = 4.0
"""In robust standard deviations: a blank pixel beyond is no noise."""

CHANCE = 1e-4
"""Probability with which white noise is taken for correlated."""

NOTICEABLE = 0.02
"""Noise maps that are right to this are left as they are."""


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """What blank sky says of a noise map.

    Args:
        factor: The scatter of blank sky over its noise map.
        factor_error: Of the factor, by chance.
        correlation: Coefficients by distance, see `noise_correlation`; None where white noise
            explains what is seen, or too few pixels tell.
        pixels: Blank ones.
    """

    factor: float
    factor_error: float
    correlation: np.ndarray | None
    pixels: int


def noise_level(sky: np.ndarray, noise: np.ndarray, blank: np.ndarray) -> NoiseLevel:
    """Measure the scatter of blank pixels in units of their noise, and its correlation.

    White noise is told by the sum of the squared coefficients of distances up to REACH times their
    pairs, which is a chi-squared of 24 freedoms.

    Args:
        sky: Of blank pixels, about 0, see `sky_noise`, (y, x).
        noise: rms, (y, x).
        blank: True where there is nothing but noise, (y, x).
    """
    from scipy.stats import chi2

    normalised = np.where(blank, sky / np.where(blank, noise, 1), 0)
    values = normalised[blank]
    middle = np.median(values)
    factor = 1.4826 * np.median(np.abs(values - middle))
    blank = blank & (np.abs(normalised - middle) < OUTLIER * factor)
    number = int(blank.sum())
    # A median absolute deviation has 0.37 of the information of a standard deviation.
    error = factor / np.sqrt(2 * 0.37 * number)
    correlation = None
    pairs = _pairs(blank, REACH)
    if pairs.min() >= MIN_PAIRS and factor > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = noise_correlation(normalised / factor, blank)
        half = found.size // 2
        statistic = (found.ravel()[:half] ** 2 * pairs.ravel()[:half]).sum()
        if chi2.sf(statistic, half) < CHANCE:
            correlation = found
            # Correlated pixels say less of the scatter.
            error *= np.sqrt((found**2).sum())
    return NoiseLevel(float(factor), float(error), correlation, number)


def correct_noise(
    noise: np.ndarray | None,
    measured: NoiseLevel,
    light: np.ndarray,
    electrons: float | None,
) -> tuple[np.ndarray, float | None, list[str]]:
    """Return the noise map, by what a given one was multiplied, and what there is to say.

    A map is multiplied by its factor. Without a map, and on top of one number for all pixels, the
    photon noise of the light is added where electrons are known. Where drizzling shares photons
    between neighbours, single pixels scatter by less than photons do: the variance is divided by
    the sum of the correlation, as the sky's is.

    Args:
        noise: As given, (y, x), or None: the measured factor is then the rms itself.
        measured: Of the blank sky.
        light: The sky subtracted and smooth, (y, x).
        electrons: Per unit of the image, None if not known.
    """
    factor, said = measured.factor, []
    shared = 1.0 if measured.correlation is None else max(measured.correlation.sum(), 1.0)
    if noise is None:
        rms = np.full(light.shape, factor)
        said.append(f"No noise map is given: the rms of blank sky, {factor:.4g}, is taken.")
        constant, changed = True, None
    else:
        wrong = abs(factor - 1) > max(3 * measured.factor_error, NOTICEABLE)
        changed = factor if wrong else 1.0
        if wrong:
            said.append(
                f"The noise map is too {'large' if factor < 1 else 'small'} by a factor of "
                f"{max(factor, 1 / factor):.3g} on {measured.pixels} pixels of blank sky: "
                f"multiplied by {factor:.3g}."
            )
        else:
            said.append(
                f"The noise map agrees with the scatter of {measured.pixels} pixels of blank sky "
                f"({factor:.3f} +- {measured.factor_error:.3f})."
            )
        rms = noise * changed
        constant = np.ptp(noise[np.isfinite(noise)]) == 0
    if constant and electrons is not None:
        rms = np.sqrt(rms**2 + np.maximum(light, 0) / electrons / shared)
        said.append(
            "Photon noise of galaxies is added to it"
            + (
                f", less by {np.sqrt(shared):.3g} since pixels share photons."
                if shared > 1
                else "."
            )
        )
    elif constant:
        said.append(
            "Photon noise of the bright core is missing in it: give the exposure time in seconds "
            "(and the gain where the image is in counts; of an image in another unit nothing tells "
            "the electrons), or a noise map."
        )
    return rms, changed, said


def electrons_per_unit(unit, exposure: float | None, gain: float | None) -> float | None:
    """Return how many electrons one unit of the image is, None if it is not told.

    Args:
        unit: Of the image, such as "electron/s", "ELECTRONS", "DN/s". None is taken for counts per
            second, or electrons per second where no gain is given; fluxes, such as "MJy/sr", tell
            nothing of electrons.
        exposure: In seconds.
        gain: Electrons per count (DN, ADU); not needed where the unit is electrons.
    """
    name = "electron/s" if unit is None else str(unit).lower().replace(" ", "")
    is_rate = name.endswith(("/s", "/sec", "s-1", "s**-1", "/second"))
    is_electrons = name == "e" or name.startswith(("e-", "e/", "electron", "photon"))
    is_counts = name.startswith(("dn", "adu", "count", "ct"))
    if not (is_electrons or is_counts) or (is_rate and exposure is None):
        return None
    if is_counts and gain is None:
        return None
    per_count = gain if is_counts or (unit is None and gain is not None) else 1.0
    return per_count * (exposure if is_rate else 1.0)


def smooth_light(light: np.ndarray, used: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the light averaged over a PSF, so that photon noise is not told by noise.

    Args:
        light: (y, x), the sky subtracted.
        used: True where a pixel is, (y, x); a pixel without used ones near has 0.
        kernel: PSF on the image's pixels, (k, k).
    """
    weight = fftconvolve(used.astype("float64"), kernel, mode="same")
    total = fftconvolve(np.where(used, light, 0), kernel, mode="same")
    return np.where(weight > 0.1, total / np.maximum(weight, 0.1), 0)


def _pairs(blank: np.ndarray, reach: int) -> np.ndarray:
    used = blank.astype("float64")
    sums = fftconvolve(used, used[::-1, ::-1], mode="full")
    row, column = blank.shape[0] - 1, blank.shape[1] - 1
    return np.round(sums[row - reach : row + reach + 1, column - reach : column + reach + 1])
