"""How much of the truth a linear method has to be told to err as little as a RIM.

    python benchmarks/told_truth.py rim_euclid64 --galaxies galaxies.h5

Whether a bound on the rms error can be met at all is asked of a method that knows what none can
know: the true source without noise, seen with a Gaussian beam; how strong the detail is that the
beam has taken, pixel by pixel; and the detail's own power spectrum. What it is not told, the
detail's phases, it takes from the data, with the least mean squared error that a linear method can
have. Prints median rms errors by noise, with bootstrapped standard errors, and the wavenumber up to
which the mean coherence with the truth is one half: of the RIM, which is told nothing; of what is
told, alone; and of what is told, with the data. Development galaxies, which neither training nor
the validation set has.

It is a yardstick and not a bound: detail is not Gaussian, and a method may know that.
"""

import warnings

import numpy as np
from bootstrap import with_error
from error_limits import SIGMAS_PER_FWHM, draw, read_options
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from rim_lensing import metrics
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.galaxies.galaxy_pool import development_galaxies
from rim_lensing.inversion.conjugate_gradients import conjugate_gradients
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.program import run
from rim_lensing.simulation.priors import NOISE_BINS
from rim_lensing.zoo.zoo import load_pretrained

BEAMS = (0.075, 0.1, 0.15, 0.2, 0.4)
_TOLERANCE = 0.01  # Of the whole source, in standard deviations of the detail's prior.
_MAX_ITERATIONS = 100_000


def main(arguments=None) -> int:
    """Simulate, tell, invert, compare."""
    options = read_options(__doc__, arguments)
    model = load_pretrained(options.model)
    geometry = model.network.config
    mocks = draw(development_galaxies(options.galaxies), geometry, options.systems)
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        estimates = {options.model: model.reconstruct(**mocks.network_inputs()).source}
    for beam in BEAMS:
        told = np.stack([blur(truth, beam / geometry.source_pixel_scale) for truth in mocks.source])
        estimates[f'the truth in a {beam}" beam'] = told
        estimates[f'the truth in a {beam}" beam, and the data'] = np.empty_like(told)
    for i in tqdm(range(options.systems), unit="system"):
        lensing = lensing_matrices(mocks.lens[i : i + 1], geometry)[0]
        system = LinearSystem(lensing, mocks.psf[i], mocks.image[i], mocks.noise[i])
        for beam in BEAMS:
            estimates[f'the truth in a {beam}" beam, and the data'][i] = estimate_detail(
                system, mocks.source[i], beam / geometry.source_pixel_scale
            )
    print(table(estimates, mocks.source, mocks.noise_level))
    return 0


def blur(image: np.ndarray, fwhm: float) -> np.ndarray:
    """Return an image (n, n), float64, as a Gaussian beam of this FWHM, in pixels, sees it."""
    return gaussian_filter(np.asarray(image, "float64"), fwhm * SIGMAS_PER_FWHM, mode="constant")


def estimate_detail(system: LinearSystem, truth: np.ndarray, fwhm: float) -> np.ndarray:
    """Return the best linear estimate of a source whose blurred image is known, (n, n).

    The source is its blurred image m and detail t. The detail's covariance is C = D R D: D its rms
    near a pixel, the root of the blurred t^2; R its own autocorrelation, of which a Fourier
    transform is its power spectrum, over t't. With d = f s + n and n of unit variance, the
    posterior mean is

        s = m + C f' (f C f' + 1)^-1 (d - f m).

    Args:
        system: The data, weighted with their noise, and their response f.
        truth: The source, (n, n), in the data's unit.
        fwhm: Of the beam, in source pixels.

    Raises:
        RuntimeError: The conjugate gradients do not converge.
    """
    side = len(truth)
    told = blur(truth, fwhm)
    detail = truth - told
    spread = np.sqrt(blur(detail**2, fwhm))
    # Over the edges R goes round, where a source is dark.
    power = np.abs(rfft2(detail)) ** 2 / np.sum(detail**2)

    def covariance(values):
        spectrum = rfft2(spread * values.reshape(side, side))
        return (spread * irfft2(spectrum * power, s=(side, side))).ravel()

    weights = conjugate_gradients(
        lambda data: data + system.apply(covariance(system.adjoint(data))),
        system.without(told.ravel()).data,
        lambda residual: residual,
        _TOLERANCE,
        _MAX_ITERATIONS,
    )
    return told + covariance(system.adjoint(weights)).reshape(side, side)


def table(estimates: dict[str, np.ndarray], truth: np.ndarray, noise_level: np.ndarray) -> str:
    """Return a row per method: median rms errors by noise, reach of the coherence, as Markdown.

    Args:
        estimates: By the method's name, (systems, n, n).
        truth: (systems, n, n).
        noise_level: rms over the peak of the noiseless image, (systems,).
    """
    bins = ((0.0, np.inf), *NOISE_BINS)
    names = ["all", *(f"{100 * low:g}-{100 * high:g}% of noise" for low, high in NOISE_BINS)]
    lines = [
        f"| source | {' | '.join(names)} | coherence one half up to k |",
        "| --- |" + " --- |" * (len(bins) + 1),
    ]
    for name, sources in estimates.items():
        errors = metrics.rms_error(sources, truth)
        reach = metrics.coherence_reach(metrics.coherence_spectrum(sources, truth)[1])
        cells = [
            with_error(errors[(noise_level >= low) & (noise_level < high)], np.median, "{:.3%}")
            for low, high in bins
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {reach} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
