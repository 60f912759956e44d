"""How good a reconstruction is (DESIGN section 6). Everything is per system, on numpy arrays."""

import numpy as np
from scipy import special

from rim_lensing.simulation.priors import NOISE_BINS

FOOTPRINT = 0.01
"""Of the peak: the galaxy, without the empty sky around it."""

_SIGNAL_SIGMAS = 3.0
_SMALLEST_TAIL = 1e-300


def rms_error(source, true_source) -> np.ndarray:
    """Root mean square over pixels of S - S_true, over the peak of S_true; to (batch,)."""
    error = np.sqrt(np.mean((np.asarray(source) - true_source) ** 2, axis=(1, 2)))
    return error / np.max(true_source, axis=(1, 2))


def galaxy_error(source, true_source) -> np.ndarray:
    """`rms_error` over the pixels whose truth is above FOOTPRINT of its peak; to (batch,).

    Stamps of galaxies are zero outside of the galaxy: a RIM learns that, a Gaussian prior cannot.
    Here this is not counted.
    """
    peak = np.max(true_source, axis=(1, 2), keepdims=True)
    inside = true_source > FOOTPRINT * peak
    squares = np.sum(np.where(inside, (source - true_source) / peak, 0.0) ** 2, axis=(1, 2))
    return np.sqrt(squares / inside.sum(axis=(1, 2)))


def flux_error(source, true_source) -> np.ndarray:
    """sum(S) / sum(S_true) - 1, signed; (batch, n, n) to (batch,)."""
    return np.sum(source, axis=(1, 2)) / np.sum(true_source, axis=(1, 2)) - 1


def chi2_per_pixel(residual, noise) -> np.ndarray:
    """Mean over the unmasked pixels of (residual / noise)^2; (batch, m, m) to (batch,).

    A pixel with infinite noise is masked; its residual may be anything, even NaN.
    """
    chi2, pixels = _chi2(residual, noise)
    return chi2 / pixels


def chi2_significance(residual, noise, fitted_parameters=0.0) -> np.ndarray:
    """Return by how many sigma chi^2 is larger than that of pure noise; (batch,).

    A Gaussian deviate has the same one-sided probability as the chi^2 under the chi^2
    distribution with (unmasked pixels - `fitted_parameters`) degrees of freedom. Positive: there
    is more in the residuals than noise. Negative: the model has fitted noise. Finite however
    improbable the residuals are.

    Args:
        residual: (batch, m, m).
        noise: rms of the noise, broadcast to the same shape; infinite where masked.
        fitted_parameters: How many degrees of freedom the model has taken from the data, (batch,)
            or a number: 0 for a truth, N_s - lambda tr(A^-1 R) for a linear inversion (Suyu et al.
            2006).

    Raises:
        ValueError: `fitted_parameters` is negative, or leaves no degree of freedom.
    """
    chi2, pixels = _chi2(residual, noise)
    fitted = np.broadcast_to(np.asarray(fitted_parameters, dtype="float64"), chi2.shape)
    if not np.all((fitted >= 0) & (fitted < pixels)):
        raise ValueError(
            "`fitted_parameters` must be at least 0 and less than the number of unmasked pixels, "
            f"{pixels.min()}. Received: {fitted_parameters}"
        )
    return _sigmas_of_chi2(chi2, pixels - fitted)


def coherence_spectrum(source, true_source) -> tuple[np.ndarray, np.ndarray]:
    """Coherence of two images, equation 8 of the paper: C(k) = P12 / sqrt(P11 P22).

    The powers are sums over the Fourier modes whose wavenumber rounds to k, of the real part of
    F1 F2* for P12. The spectrum of a test set is the mean over its systems, as in the paper's
    figure 5: every system weighs the same, however bright or sharp it is.

    Args:
        source: (batch, n, n).
        true_source: (batch, n, n), any unit.

    Returns:
        k = 1, 2, ..., n // 2 in cycles per side of the grid, and C(k) (batch, n // 2) between -1
        and 1. Where one of the two has no power, C(k) = 0: nothing correlates with it.

    Raises:
        ValueError: The two do not have the same shape (batch, n, n).
    """
    source, true_source = (np.asarray(image, dtype="float64") for image in (source, true_source))
    shape = source.shape
    if true_source.shape != shape or len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(
            "`source` and `true_source` must have the same shape (batch, n, n). "
            f"Received: {shape} and {true_source.shape}"
        )
    side = shape[1]
    frequencies = np.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(frequencies[:, None], frequencies)).astype(int).ravel()
    wavenumbers = np.arange(1, side // 2 + 1)
    in_ring = (ring[:, None] == wavenumbers).astype("float64")
    # In units of its own peak, so that no flux unit makes the powers under- or overflow.
    first, second = (
        np.fft.fft2(image / _peak(image)).reshape(shape[0], -1) for image in (source, true_source)
    )
    power_1, power_2 = (np.abs(modes) ** 2 @ in_ring for modes in (first, second))
    cross = (first * second.conj()).real @ in_ring
    norm = np.sqrt(power_1) * np.sqrt(power_2)
    return wavenumbers, np.divide(cross, norm, out=np.zeros_like(cross), where=norm > 0)


def coherence_reach(coherence) -> int:
    """Return the k up to which the mean of spectra (batch, n // 2) is one half or more; or 0."""
    below = np.flatnonzero(np.mean(coherence, axis=0) < 0.5)
    return int(below[0]) if len(below) else np.shape(coherence)[1]


def log_prior(source, strength, regularization: str = "gradient") -> np.ndarray:
    """Log-density of sources under the prior of the semilinear inversion (paper section 3).

    log p = -lambda/2 s'Rs + N/2 log lambda + 1/2 log det R - N/2 log 2 pi, N = n^2 source pixels
    (Suyu et al. 2006).

    Args:
        source: (batch, n, n).
        strength: lambda, (batch,) or a number, in the sources' unit to the power of -2.
        regularization: Form of R, see `inversion.regularization.REGULARIZATIONS`.

    Returns:
        (batch,). Of two sources in the same prior, `log_prior_distance` states the difference in
        sigma; `prior_significance` states whether one source is a likely draw from the prior.

    Raises:
        ValueError: A strength that is not positive, or a regularization that does not exist.
    """
    from rim_lensing.inversion.regularization import log_det_regularization

    norm, strength, pixels = _prior_norm(source, strength, regularization)
    log_det = log_det_regularization(regularization, np.shape(source)[1])
    return 0.5 * (pixels * np.log(strength / (2 * np.pi)) + log_det - strength * norm)


def log_prior_distance(log_prior, reference) -> np.ndarray:
    """Return how far two log-densities are apart, in the sigma of the paper's section 3.

    The paper calls a source that is 85 below another in log-prior "about 13 sigma worse". That is
    sqrt(2 x 85) = 13.04: the distance at which a Gaussian in one dimension has fallen by so much.
    It is not a distance in units of the prior's own scatter: the log-density of a source that is
    drawn from the prior scatters by sqrt(N/2), 136 for 192 x 192 pixels (`prior_significance`).

    Args:
        log_prior: (batch,), of `log_prior`.
        reference: Log-density of the source to compare with, (batch,).

    Returns:
        (batch,): negative where `log_prior` is the lower one.
    """
    difference = np.asarray(log_prior) - reference
    return np.sign(difference) * np.sqrt(2 * np.abs(difference))


def prior_significance(source, strength, regularization: str = "gradient") -> np.ndarray:
    """Return by how many sigma sources are rougher than draws from the prior; (batch,).

    lambda s'Rs of a draw follows the chi^2 distribution with N degrees of freedom; stated as in
    `chi2_significance`. Arguments and errors as in `log_prior`.
    """
    norm, strength, pixels = _prior_norm(source, strength, regularization)
    return _sigmas_of_chi2(strength * norm, np.full(len(norm), pixels))


def summarise(rms, flux, chi2, significance, noise_level) -> dict[str, dict[str, float]]:
    """Medians of the measures over all systems and in each bin of the noise.

    Args:
        rms: rms errors over the peak, (systems,).
        flux: Signed flux errors, (systems,).
        chi2: chi^2 per pixel, (systems,).
        significance: Of chi^2, see `chi2_significance`, (systems,).
        noise_level: rms of the noise over the image's peak, (systems,).

    Returns:
        For "all" and for each bin such as "0.1-1%": how many systems, the median rms error, the
        median |flux error|, the flux bias (median), the median chi^2 per pixel, the share of
        systems that leave signal in their residuals (chi^2 more than 3 sigma above noise's), and
        the 90th percentile of the rms error. Bins without systems are left out.
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
            "share_with_signal_left": float(np.mean(significance[chosen] > _SIGNAL_SIGMAS)),
        }
        for name, chosen in bins.items()
        if chosen.any()
    }


def _chi2(residual, noise) -> tuple[np.ndarray, np.ndarray]:
    """Return chi^2 and the number of unmasked pixels, both (batch,)."""
    residual = np.asarray(residual)
    noise = np.broadcast_to(noise, residual.shape)
    used = np.isfinite(noise)
    normalised = np.where(used, residual, 0.0) / np.where(used, noise, 1.0)
    return np.sum(normalised**2, axis=(1, 2), dtype="float64"), np.sum(used, axis=(1, 2))


def _peak(images: np.ndarray) -> np.ndarray:
    """Return the largest |value| of each image, (batch, 1, 1); 1 of one that is all zero."""
    peak = np.abs(images).max(axis=(1, 2), keepdims=True)
    return np.where(peak > 0, peak, 1.0)


def _prior_norm(source, strength, regularization) -> tuple[np.ndarray, np.ndarray, int]:
    """Return s'Rs (batch,), the strengths (batch,) and the number of source pixels."""
    from rim_lensing.inversion.regularization import regularization_matrix

    source = np.asarray(source, dtype="float64")
    if source.ndim != 3 or source.shape[1] != source.shape[2]:
        raise ValueError(f"`source` must be (batch, n, n). Received: shape {source.shape}")
    strength = np.broadcast_to(np.asarray(strength, dtype="float64"), len(source))
    if not np.all(np.isfinite(strength) & (strength > 0)):
        raise ValueError(f"`strength` must be positive and finite. Received: {strength}")
    flat = source.reshape(len(source), -1)
    matrix = regularization_matrix(regularization, source.shape[1])
    return np.sum(flat * (matrix @ flat.T).T, axis=1), strength, flat.shape[1]


def _sigmas_of_chi2(chi2: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Return the Gaussian deviate of the same one-sided probability, signed; (batch,)."""
    above = chi2 > degrees
    tail = np.where(above, special.chdtrc(degrees, chi2), special.chdtr(degrees, chi2))
    sigmas = np.where(above, -1.0, 1.0) * special.ndtri(np.maximum(tail, _SMALLEST_TAIL))
    far = tail < _SMALLEST_TAIL
    # Where the probability underflows, beyond 37 sigma: the saddlepoint approximation r* =
    # r + log(u/r)/r for a Gamma variate (Barndorff-Nielsen 1991), good to 1/(200 degrees) sigma.
    shape, value = 0.5 * degrees[far], np.maximum(0.5 * chi2[far], np.finfo(float).tiny)
    root = np.sqrt(2 * (value - shape - shape * np.log(value / shape)))
    root = np.copysign(root, value - shape)
    sigmas[far] = root + np.log((value - shape) / np.sqrt(shape) / root) / root
    return sigmas
