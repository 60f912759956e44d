"""Train a lens CNN: python train/train_lens_cnn.py --preset euclid64 --galaxies F --output DIR.

A run that was killed is resumed by the same command, bit for bit from its last checkpoint.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", required=True, help="euclid64, hst192 or tiny16")
    parser.add_argument(
        "--galaxies", type=Path, help="HDF5 file of prepare_galaxies.py; default: procedural ones"
    )
    parser.add_argument(
        "--procedural",
        type=int,
        help="procedural galaxies in the pool (default 4000, or half the real ones)",
    )
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--batch", type=int, help="images per step")
    parser.add_argument("--learning-rate", type=float, help="of Adam, at the start")
    parser.add_argument("--steps-per-epoch", type=int, help="between checkpoints")
    parser.add_argument("--seed", type=int, help="of weights and draws (default 0)")
    parser.add_argument("--development-systems", type=int, default=500)
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Train."""
    options = parse_arguments(arguments)
    config = get_lens_cnn_preset(options.preset)
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")
    if options.development_systems < 1:
        raise ValueError(
            f"--development-systems must be positive. Received: {options.development_systems}"
        )
    import keras
    import numpy as np

    from rim_lensing.lens_cnn_training import LENS_CNN_RECIPE, train_lens_cnn
    from rim_lensing.networks.lens_cnn import LensCNN
    from rim_lensing.simulation.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.simulation.lens_training_data import LensTrainingData
    from rim_lensing.simulation.mock_observations import MockSimulator, concatenate
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo import sha256

    chosen = {
        name: getattr(options, name)
        for name in ("steps", "batch", "learning_rate", "steps_per_epoch", "seed")
        if getattr(options, name) is not None
    }
    recipe = replace(LENS_CNN_RECIPE, **chosen)
    paper_priors = Priors()
    priors = replace(paper_priors, log_noise_fraction=0.5)

    keras.utils.set_random_seed(recipe.seed)
    pool = training_galaxies(options.galaxies, options.procedural, recipe.seed)
    data = LensTrainingData(
        pool,
        priors,
        config,
        recipe.batch,
        recipe.steps_per_epoch,
        config.dropout_units,
        recipe.seed,
    )
    simulator = MockSimulator(development_galaxies(options.galaxies), paper_priors, config)
    generator, wanted = np.random.default_rng(0), options.development_systems
    # All at once takes gigabytes: nine rays for every source pixel of every system.
    development = concatenate(
        [simulator.draw(generator, min(16, wanted - i)) for i in range(0, wanted, 16)]
    )
    model = LensCNN(config)
    model.build()
    description = {
        "preset": options.preset,
        "galaxies": options.galaxies.name if options.galaxies else None,
        "galaxies_sha256": sha256(options.galaxies) if options.galaxies else None,
        "training_galaxies": len(pool),
        "development_systems": options.development_systems,
        "priors": priors.to_dict(),
    }
    train_lens_cnn(model, recipe, data, development, description, options.output)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)
