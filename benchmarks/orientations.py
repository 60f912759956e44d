"""Whether a RIM's scatter limits its sources: the mean over the eight orientations of a system.

    python benchmarks/orientations.py rim_euclid64 --galaxies galaxies.h5

A system turned or mirrored, reconstructed and turned back, is an estimate of the same source with
another error of the network. Were that error what is wrong, their mean would be better. Prints
median rms errors by noise, of one and of the mean, on development systems, whose galaxies neither
training nor the validation set has. 64 systems of rim_hst192 take eight minutes on two cores.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rim_lensing import metrics
from rim_lensing.lensing.symmetries import SYMMETRIES, lens_matrix, restore_image, transform_image
from rim_lensing.program import run
from rim_lensing.simulation.galaxy_pool import development_galaxies
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import NOISE_BINS, Priors
from rim_lensing.zoo import load_pretrained

SEED = 5


def main(arguments=None) -> int:
    """Simulate, reconstruct eight times, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="of the zoo, or a folder")
    parser.add_argument("--galaxies", type=Path, help="HDF5 file; default: procedural galaxies")
    parser.add_argument("--systems", type=int, default=64, help="how many")
    options = parser.parse_args(arguments)
    if options.systems < 1:
        raise ValueError(f"--systems must be positive. Received: {options.systems}")
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")
    model = load_pretrained(options.model)
    galaxies = development_galaxies(options.galaxies)
    simulator = MockSimulator(galaxies, Priors(), model.network.config)
    mocks = simulator.draw(np.random.default_rng(SEED), options.systems)
    sources = []
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        for symmetry in tqdm(range(SYMMETRIES), unit="orientation"):
            found = model.reconstruct(
                transform_image(mocks.image, symmetry),
                noise=transform_image(mocks.noise, symmetry),
                psf=transform_image(mocks.psf, symmetry),
                lens=mocks.lens @ lens_matrix(symmetry).T,
            )
            sources.append(restore_image(found.source, symmetry))
    print(table(mocks.noise_level, np.array(sources), mocks.source))
    return 0


def table(noise: np.ndarray, sources: np.ndarray, truth: np.ndarray) -> str:
    """Return median rms errors of the first and of the mean of all, by noise, as Markdown.

    Args:
        noise: (batch,), over the peak of the noiseless image.
        sources: (orientations, batch, n, n).
        truth: (batch, n, n).
    """
    one = metrics.rms_error(sources[0], truth)
    mean = metrics.rms_error(sources.mean(axis=0), truth)
    lines = [
        f"| noise | systems | one | mean of {len(sources)} | ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    for low, high in ((0.0, np.inf), *NOISE_BINS):
        inside = (noise >= low) & (noise < high)
        if not inside.any():
            continue
        label = "all" if high == np.inf else f"{100 * low:g}-{100 * high:g}%"
        ratio = np.median(mean[inside] / one[inside])
        lines.append(
            f"| {label} | {inside.sum()} | {np.median(one[inside]):.3%} "
            f"| {np.median(mean[inside]):.3%} | {ratio:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
