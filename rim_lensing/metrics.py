"""How good a reconstruction is (DESIGN section 6). Everything is per system, on numpy arrays."""

import numpy as np

from rim_lensing.simulation.priors import NOISE_BINS


def rms_error(source, true_source) -> np.ndarray:
    """Root mean square over pixels of S - S_true, over the peak of S_true; to (batch,)."""
    error = np.sqrt(np.mean((np.asarray(source) - true_source) ** 2, axis=(1, 2)))
    return error / np.max(true_source, axis=(1, 2))


def flux_error(source, true_source) -> np.ndarray:
    """sum(S) / sum(S_true) - 1, signed; (batch, n, n) to (batch,)."""
    return np.sum(source, axis=(1, 2)) / np.sum(true_source, axis=(1, 2)) - 1


def chi2_per_pixel(residual, noise) -> np.ndarray:
    """Mean over the unmasked pixels of (residual / noise)^2; (batch, m, m) to (batch,).

    A pixel with infinite noise is masked.
    """
    noise = np.broadcast_to(noise, np.shape(residual))
    return np.sum((residual / noise) ** 2, axis=(1, 2)) / np.sum(np.isfinite(noise), axis=(1, 2))


def summarise(rms, flux, chi2, noise_level) -> dict[str, dict[str, float]]:
    """Medians of the three measures over all systems and in each bin of the noise.

    Args:
        rms: rms errors over the peak, (systems,).
        flux: Signed flux errors, (systems,).
        chi2: chi^2 per pixel, (systems,).
        noise_level: rms of the noise over the image's peak, (systems,).

    Returns:
        For "all" and for each bin such as "0.1-1%": how many systems, the median rms error, the
        median |flux error|, the flux bias (median), the median chi^2 per pixel, and the 90th
        percentile of the rms error. Bins without systems are left out.
    """
    bins = {"all": np.ones(len(rms), bool)}
    for low, high in NOISE_BINS:
        bins[f"{100 * low:g}-{100 * high:g}%"] = (noise_level >= low) & (noise_level < high)
    return {
        name: {
            "systems": int(chosen.sum()),
            "median_rms_error": float(np.median(rms[chosen])),
            "rms_error_90th_percentile": float(np.percentile(rms[chosen], 90)),
            "median_abs_flux_error": float(np.median(np.abs(flux[chosen]))),
            "flux_bias": float(np.median(flux[chosen])),
            "median_chi2_per_pixel": float(np.median(chi2[chosen])),
        }
        for name, chosen in bins.items()
        if chosen.any()
    }
