"""Make the lens of `rim-lensing demo`: python train/make_demo_lens.py.

The galaxy is procedural and the noise is drawn here: the file holds nobody's data.
"""

import argparse
import sys
from pathlib import Path

DEFAULT_OUTPUT = Path(__file__).parents[1] / "rim_lensing" / "demo" / "mock_lens.fits"


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make the lens of `rim-lensing demo`.")
    parser.add_argument("--seed", type=int, default=20, help="of galaxy, lens and noise")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="FITS file, replaced")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Draw one system and write it."""
    options = parse_arguments(arguments)
    import numpy as np

    from rim_lensing.demo import DemoLens, write_demo_lens
    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors

    config = get_preset("euclid64")
    priors = Priors(
        theta_E=(1.2, 1.6), noise=(0.01, 0.02), psf_sigma=(0.07, 0.08), min_magnification=6.0
    )
    generator = np.random.default_rng(options.seed)
    simulator = MockSimulator(draw_procedural_galaxies(1, generator), priors, config)
    mock = simulator.draw(generator, 1)
    lens = DemoLens(
        image=mock.image[0],
        noise=mock.noise[0],
        psf=mock.psf[0],
        lens=mock.lens[0],
        source=mock.source[0],
        image_pixel_scale=config.image_pixel_scale,
        source_pixel_scale=config.source_pixel_scale,
    )
    write_demo_lens(lens, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
