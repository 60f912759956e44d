"""What limits a RIM's sources: its own scatter, or that it has not seen the galaxies?

    python benchmarks/error_limits.py rim_euclid64 --galaxies galaxies.h5

A system turned or mirrored, reconstructed and turned back, is an estimate of the same source with
another error of the network. Were that error what is wrong, the mean over the eight orientations
would be better. And were the galaxies too few, those that the RIM was trained on would come out
better than others, behind the same lenses, with the same noise. Prints median rms errors by noise,
with bootstrapped standard errors: of development galaxies, which neither training nor the
validation set has, once and as the mean of eight; and of galaxies of the training.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from bootstrap import with_error
from tqdm import tqdm

from rim_lensing import metrics
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, restore_image, transform_image
from rim_lensing.program import run
from rim_lensing.simulation.galaxy_pool import development_galaxies, training_galaxies
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import NOISE_BINS, Priors
from rim_lensing.zoo import load_pretrained

SEED = 5


def main(arguments=None) -> int:
    """Simulate, reconstruct, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="of the zoo, or a folder")
    parser.add_argument("--galaxies", type=Path, required=True, help="HDF5 file")
    parser.add_argument("--systems", type=int, default=256, help="how many of each kind")
    options = parser.parse_args(arguments)
    if options.systems < 1:
        raise ValueError(f"--systems must be positive. Received: {options.systems}")
    if not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")
    model = load_pretrained(options.model)

    def draw(galaxies):
        simulator = MockSimulator(galaxies, Priors(), model.network.config)
        return simulator.draw(np.random.default_rng(SEED), options.systems)

    new, seen = (
        draw(development_galaxies(options.galaxies)),
        draw(training_galaxies(options.galaxies, 0, 0)),
    )
    sources = []
    with tqdm(total=SYMMETRIES + 1, unit="run") as progress, warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        for symmetry in range(SYMMETRIES):
            sources.append(reconstruct(model, new, symmetry))
            progress.update()
        of_seen = reconstruct(model, seen)
        progress.update()
    errors = {
        "one": metrics.rms_error(sources[0], new.source),
        f"mean of {SYMMETRIES}": metrics.rms_error(np.mean(sources, axis=0), new.source),
        "galaxies of the training": metrics.rms_error(of_seen, seen.source),
    }
    print(table(errors, (new.noise_level, new.noise_level, seen.noise_level)))
    return 0


def reconstruct(model, mocks, symmetry: int = 0) -> np.ndarray:
    """Return sources (batch, n, n) that were found in another orientation, in their own."""
    found = model.reconstruct(
        transform_image(mocks.image, symmetry),
        noise=transform_image(mocks.noise, symmetry),
        psf=transform_image(mocks.psf, symmetry),
        lens=mocks.lens @ lens_matrix(symmetry).T,
    )
    return restore_image(found.source, symmetry)


def table(errors: dict[str, np.ndarray], noise: tuple[np.ndarray, ...]) -> str:
    """Return medians by noise, and their standard errors, as Markdown.

    Args:
        errors: By what was reconstructed, rms over the peak, (systems,).
        noise: Of the same systems, over the peak of the noiseless image.
    """
    lines = [f"| noise | {' | '.join(errors)} |", "| --- |" + " --- |" * len(errors)]
    for low, high in ((0.0, np.inf), *NOISE_BINS):
        label = "all" if high == np.inf else f"{100 * low:g}-{100 * high:g}%"
        cells = [
            with_error(values[(levels >= low) & (levels < high)], np.median, "{:.3%}")
            for values, levels in zip(errors.values(), noise, strict=True)
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
