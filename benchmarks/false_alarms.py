"""How often the test of the residuals calls noise something else, with the true lens.

    python benchmarks/false_alarms.py --galaxies galaxies.h5

on development systems, whose galaxies neither training nor the validation set has: what
`residual_test.FALSE_ALARM` was chosen by. Prints the fraction of the systems below several
p-values, by noise; 240 systems take three minutes.
"""

import argparse
import warnings

import numpy as np
from galaxy_options import read_options
from tqdm import tqdm

from rim_lensing.galaxies.galaxy_pool import development_galaxies
from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.program import run
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import NOISE_BINS, Priors
from rim_lensing.zoo.zoo import load_pretrained

LEVELS = (0.05, 0.01, 0.001, 0.0001)
SEED, BATCH = 11, 8


def main(arguments=None) -> int:
    """Simulate, test, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="rim_euclid64", help="of the zoo, or a folder")
    options = read_options(parser, arguments, 240, BATCH)
    model = load_pretrained(options.model)
    galaxies = development_galaxies(options.galaxies)
    simulator = MockSimulator(galaxies, Priors(), model.network.config)
    generator, noise, p_values = np.random.default_rng(SEED), [], []
    with tqdm(total=options.systems, unit="system") as progress, warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        while len(p_values) < options.systems:
            mocks = simulator.draw(generator, BATCH)
            results = model.reconstruct(
                mocks.image, noise=mocks.noise, psf=mocks.psf, lens=mocks.lens
            )
            noise.extend(mocks.noise_level)
            for i in range(BATCH):
                test = check_residuals(results[i], model, seed=len(p_values))
                p_values.append(test.p_value)
                progress.update()
    print(table(np.array(noise), np.array(p_values)))
    return 0


def table(noise: np.ndarray, p_values: np.ndarray) -> str:
    """Return the fractions below LEVELS, with binomial errors, as Markdown."""
    lines = [
        f"| noise | systems | {' | '.join(f'p < {level:g}' for level in LEVELS)} |",
        "| --- | --- |" + " --- |" * len(LEVELS),
    ]
    for low, high in ((0.0, 1.0), *NOISE_BINS):
        found = p_values[(noise >= low) & (noise < high)]
        if not len(found):
            continue
        rates = [np.mean(found < level) for level in LEVELS]
        cells = [f"{rate:.1%} ± {np.sqrt(rate * (1 - rate) / len(found)):.1%}" for rate in rates]
        label = "all" if high == 1.0 else f"{100 * low:g}-{100 * high:g}%"
        lines.append(f"| {label} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
