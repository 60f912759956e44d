"""Train a RIM: python train/train_rim.py --preset euclid64 --galaxies galaxies.h5 --output DIR.

A run that was killed is resumed by the same command, bit for bit from its last checkpoint.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rim_lensing.networks.presets import get_preset


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", required=True, help="paper192, hst192, euclid64 or tiny16")
    parser.add_argument(
        "--galaxies", type=Path, help="HDF5 file of prepare_galaxies.py; default: procedural ones"
    )
    parser.add_argument(
        "--procedural",
        type=int,
        help="procedural galaxies in the pool (default 4000, or half the real ones)",
    )
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument("--batch", type=int, help="systems per step")
    parser.add_argument("--learning-rate", type=float, help="of Adam, at the start")
    parser.add_argument("--steps-per-epoch", type=int, help="between checkpoints")
    parser.add_argument("--seed", type=int, help="of weights and draws (default 0)")
    parser.add_argument("--development-systems", type=int, default=96)
    parser.add_argument("--initial-weights", type=Path, help="start from these weights")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Train."""
    options = parse_arguments(arguments)
    config = get_preset(options.preset)
    for path in (options.galaxies, options.initial_weights):
        if path and not path.exists():
            raise FileNotFoundError(f"There is no file {path}")
    if options.development_systems < 1:
        raise ValueError(
            f"--development-systems must be positive. Received: {options.development_systems}"
        )
    import keras
    import numpy as np

    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.simulation.training_data import TrainingData
    from rim_lensing.training import COMPACT_RECIPE, Recipe, train_rim
    from rim_lensing.zoo import sha256

    is_paper = options.preset == "paper192"
    chosen = {
        name: getattr(options, name)
        for name in ("steps", "batch", "learning_rate", "steps_per_epoch", "seed")
        if getattr(options, name) is not None
    }
    recipe = replace(Recipe() if is_paper else COMPACT_RECIPE, **chosen)
    paper_priors = Priors()
    noise = {"noise_per_batch": True} if is_paper else {"log_noise_fraction": 0.5}
    priors = replace(paper_priors, **noise)

    keras.utils.set_random_seed(recipe.seed)
    pool = training_galaxies(options.galaxies, options.procedural, recipe.seed)
    data = TrainingData(
        MockSimulator(pool, priors, config), recipe.batch, recipe.steps_per_epoch, recipe.seed
    )
    kept_apart = development_galaxies(options.galaxies)
    development = MockSimulator(kept_apart, paper_priors, config).draw(
        np.random.default_rng(0), options.development_systems
    )
    model = RIM(config)
    model.build()
    if options.initial_weights:
        try:
            model.load_weights(options.initial_weights)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{options.initial_weights} does not hold weights of {options.preset}: {error}"
            ) from error
    description = {
        "preset": options.preset,
        "galaxies": options.galaxies.name if options.galaxies else None,
        "galaxies_sha256": sha256(options.galaxies) if options.galaxies else None,
        "training_galaxies": len(pool),
        "initial_weights": options.initial_weights.name if options.initial_weights else None,
        "initial_weights_sha256": (
            sha256(options.initial_weights) if options.initial_weights else None
        ),
        "development_systems": options.development_systems,
        "priors": priors.to_dict(),
    }
    train_rim(model, recipe, data, development, description, options.output)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)
