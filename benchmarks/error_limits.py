"""What limits a RIM's sources: its own scatter, or that it has not seen the galaxies?

    python benchmarks/error_limits.py rim_euclid64 --galaxies galaxies.h5

A system turned or mirrored, reconstructed and turned back, is an estimate of the same source with
another error of the network. Were that error what is wrong, the mean over the eight orientations
would be better. And were the galaxies too few, those that the RIM was trained on would come out
better than others, behind lenses and in noise from the same priors. Prints median rms errors by
noise, with bootstrapped standard errors: of development galaxies, which neither training nor the
validation set has, once and as the mean of eight; and of galaxies of the training. The last column
says how sharp the first is: the true source without any noise, seen with a Gaussian beam of this
width (FWHM), would have the same error.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from bootstrap import with_error
from tqdm import tqdm

from rim_lensing import metrics
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.galaxies.galaxy_pool import development_galaxies, training_galaxies
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, restore_image, transform_image
from rim_lensing.program import run
from rim_lensing.publishing.publishing import warn_of_other_galaxies
from rim_lensing.simulation.mock_observations import MockObservations, MockSimulator
from rim_lensing.simulation.priors import NOISE_BINS, Priors
from rim_lensing.zoo.zoo import find_pretrained, load_pretrained

_SEED = 5
SIGMAS_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


def main(arguments=None) -> int:
    """Simulate, reconstruct, compare."""
    options = read_options(__doc__, arguments)
    model = load_pretrained(options.model)
    geometry = model.network.config
    new = draw(development_galaxies(options.galaxies), geometry, options.systems)
    seen = draw(training_galaxies(options.galaxies, 0, 0), geometry, options.systems)
    sources = []
    with tqdm(total=SYMMETRIES + 1, unit="run") as progress, warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        for symmetry in range(SYMMETRIES):
            sources.append(reconstruct(model, new, symmetry))
            progress.update()
        of_seen = reconstruct(model, seen)
        progress.update()
    one = metrics.rms_error(sources[0], new.source)
    mean = metrics.rms_error(np.mean(sources, axis=0), new.source)
    beams = equivalent_beams(one, new.source, geometry.source_pixel_scale)
    columns = {
        "one": (one, new.noise_level, "{:.3%}"),
        f"mean of {SYMMETRIES}": (mean, new.noise_level, "{:.3%}"),
        "galaxies of the training": (
            metrics.rms_error(of_seen, seen.source),
            seen.noise_level,
            "{:.3%}",
        ),
        "beam (arcsec)": (beams, new.noise_level, "{:.3f}"),
    }
    print(table(columns))
    return 0


def read_options(text: str, arguments=None) -> argparse.Namespace:
    """Read the command line of a measurement on development systems.

    Args:
        text: Whose first line says what it does.
        arguments: Of the command line.

    Raises:
        ValueError: No systems, or a model that is not a RIM of the zoo.
        FileNotFoundError: There is no such galaxy file.

    Warns:
        UserWarning: The model was trained on other galaxies.
    """
    parser = argparse.ArgumentParser(description=text.split("\n")[0])
    parser.add_argument("model", help="a RIM of the zoo, or a folder")
    parser.add_argument("--galaxies", type=Path, required=True, help="HDF5 file")
    parser.add_argument("--systems", type=int, default=256, help="how many of each kind")
    options = parser.parse_args(arguments)
    if options.systems < 1:
        raise ValueError(f"--systems must be positive. Received: {options.systems}")
    if not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")
    warn_of_other_galaxies(find_pretrained(options.model, "rim").directory, options.galaxies)
    return options


def draw(galaxies: np.ndarray, geometry: Geometry, systems: int) -> MockObservations:
    """Return systems of these galaxies (n, side, side), always the same ones."""
    simulator = MockSimulator(galaxies, Priors(), geometry)
    return simulator.draw(np.random.default_rng(_SEED), systems)


def reconstruct(model, mocks, symmetry: int = 0) -> np.ndarray:
    """Return sources (batch, n, n) that were found in another orientation, in their own."""
    found = model.reconstruct(
        transform_image(mocks.image, symmetry),
        noise=transform_image(mocks.noise, symmetry),
        psf=transform_image(mocks.psf, symmetry),
        lens=mocks.lens @ lens_matrix(symmetry).T,
    )
    return restore_image(found.source, symmetry)


def equivalent_beams(errors, sources, pixel_scale: float) -> np.ndarray:
    """Return the widths (FWHM, arcsec) of Gaussian beams that err as much as a method, (batch,).

    Convolved with a Gaussian of standard deviation s, a source changes by

        rms^2 = sum_k |S_k|^2 (1 - exp(-2 pi^2 s^2 k^2))^2 / n^4

    (Parseval; S_k its discrete Fourier transform, k in cycles per arcsec), which grows with s. At
    most the field's side: what errs more does not show the source at all.

    Args:
        errors: rms over the peak, (batch,).
        sources: The true ones, dark at their borders, (batch, n, n).
        pixel_scale: Of the sources, arcsec.
    """
    side = sources.shape[-1]
    power = np.abs(np.fft.fft2(sources)) ** 2 / side**4
    frequency = np.fft.fftfreq(side, pixel_scale)
    squared = frequency[:, None] ** 2 + frequency**2
    wanted = np.asarray(errors) * np.max(sources, axis=(1, 2))
    low, high = np.zeros(len(sources)), np.full(len(sources), side * pixel_scale)
    for _ in range(30):
        width = (low + high) / 2
        sigma = width[:, None, None] * SIGMAS_PER_FWHM
        lost = 1 - np.exp(-2 * (np.pi * sigma) ** 2 * squared)
        too_wide = np.sqrt(np.sum(power * lost**2, axis=(1, 2))) > wanted
        low, high = np.where(too_wide, low, width), np.where(too_wide, width, high)
    return (low + high) / 2


def table(columns: dict[str, tuple[np.ndarray, np.ndarray, str]]) -> str:
    """Return medians by noise, and their standard errors, as Markdown.

    Args:
        columns: By name: values of systems, (systems,); the noise of these systems, over the peak
            of the noiseless image; the form of the number.
    """
    lines = [f"| noise | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for low, high in ((0.0, np.inf), *NOISE_BINS):
        label = "all" if high == np.inf else f"{100 * low:g}-{100 * high:g}%"
        cells = [
            with_error(values[(levels >= low) & (levels < high)], np.median, form)
            for values, levels, form in columns.values()
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
