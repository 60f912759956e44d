"""Train a RIM: python train/train_rim.py --preset euclid64 --galaxies galaxies.h5 --output DIR.

A run that was killed is resumed by the same command from its last checkpoint, on a CPU bit for bit.
"""

import argparse
from pathlib import Path

from training_command import (
    check_options,
    chosen_recipe,
    describe_run,
    load_initial_weights,
    training_parser,
)

from rim_lensing.networks.presets import PRESETS, get_preset
from rim_lensing.program import run


def main(arguments=None) -> int:
    """Train."""
    parser = training_parser(__doc__.split("\n")[0], PRESETS, "systems", development_systems=96)
    parser.add_argument(
        "--field",
        type=int,
        metavar="PIXELS",
        help="train on source fields of this side, with lenses and galaxies as much smaller: the "
        "weights, being convolutions, then start (--initial-weights) a run on the whole field",
    )
    parser.add_argument(
        "--sky",
        action="store_true",
        help="train on the recipe `sky` (docs/training.md) and not on the paper's; the file of "
        "--galaxies is one of prepare_galaxies.py --outskirts",
    )
    parser.add_argument(
        "--psf-kernels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FITS",
        help="with --sky: measured PSFs, (k, k) or (number, k, k), for a share of the systems",
    )
    parser.add_argument(
        "--paper-galaxies",
        type=Path,
        metavar="HDF5",
        help="with --sky: every third batch is of the paper's recipe, of this file's galaxies",
    )
    options = parser.parse_args(arguments)
    config = get_preset(options.preset)
    field = 1.0
    if options.field is not None:
        field = options.field / config.source_side
        config = config.on_field(options.field)
    _check(options)
    import keras

    from rim_lensing.networks.rim import RIM
    from rim_lensing.training.rim_training import recipe_of, train_rim

    recipe = chosen_recipe(options, recipe_of(options.preset))
    keras.utils.set_random_seed(recipe.seed)
    systems = _sky_systems if options.sky else _paper_systems
    data, development, galaxies, priors, more = systems(options, config, recipe, field)
    model = RIM(config, recipe.precision)
    model.build()
    load_initial_weights(model, options)
    description = describe_run(options, galaxies, priors) | more
    if more.get("paper_galaxies_sha256"):
        before = description.get("initial_galaxies_sha256") or []
        description["initial_galaxies_sha256"] = [*before, more["paper_galaxies_sha256"]]
    train_rim(model, recipe, data, development, description, options.output)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be trained with, before anything slow is imported."""
    check_options(options, "rim")
    for path in (*options.psf_kernels, options.paper_galaxies):
        if path and not path.exists():
            raise FileNotFoundError(f"There is no file {path}")
    if not options.sky and (options.psf_kernels or options.paper_galaxies):
        raise ValueError("--psf-kernels and --paper-galaxies go with --sky")
    if options.sky and options.field is not None:
        raise ValueError("--field goes without --sky, whose fields have several sizes already")


def _paper_systems(options: argparse.Namespace, config, recipe, field: float) -> tuple:
    """Return training data, development systems, number of galaxies, priors and no more facts."""
    import numpy as np

    from rim_lensing.galaxies.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.simulation.training_data import TrainingData
    from rim_lensing.training.rim_training import training_priors

    priors = training_priors(options.preset).on_field(field)
    pool = training_galaxies(options.galaxies, options.procedural, recipe.seed)
    data = TrainingData(
        MockSimulator(pool, priors, config), recipe.batch, recipe.steps_per_epoch, recipe.seed
    )
    kept_apart = development_galaxies(options.galaxies)
    development = MockSimulator(kept_apart, Priors().on_field(field), config).draw(
        np.random.default_rng(0), options.development_systems
    )
    return data, [development], len(pool), priors, {}


def _sky_systems(options: argparse.Namespace, config, recipe, field: float) -> tuple:
    """Return the same of the recipe `sky`, and what else run.json says of it."""
    import numpy as np

    from rim_lensing.galaxies.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.sky.psf_shapes import read_kernels
    from rim_lensing.simulation.sky.ranges import SKY_PRIORS, SKY_RANGES
    from rim_lensing.simulation.sky.simulator import SkySimulator
    from rim_lensing.simulation.sky.training_data import SkyTrainingData
    from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies
    from rim_lensing.training.rim_training import training_priors
    from rim_lensing.zoo.zoo import sha256

    kernels, paper = read_kernels(options.psf_kernels), None
    pool = training_galaxies(
        options.galaxies, options.procedural, recipe.seed, draw_winged_galaxies
    )
    if options.paper_galaxies:
        of_paper = training_galaxies(options.paper_galaxies, options.procedural, recipe.seed)
        paper = MockSimulator(of_paper, training_priors(options.preset), config)
    simulator = SkySimulator(pool, config, kernels=kernels)
    data = SkyTrainingData(simulator, recipe.batch, recipe.steps_per_epoch, recipe.seed, paper)
    kept_apart = development_galaxies(options.galaxies, draw=draw_winged_galaxies)
    unseen = SkySimulator(kept_apart, config, kernels=kernels)
    sides = unseen.image_sides
    counts = [len(part) for part in np.array_split(range(options.development_systems), len(sides))]
    development = [
        unseen.draw(np.random.default_rng([0, side]), count, side)
        for side, count in zip(sides, counts, strict=True)
        if count
    ]
    more = {
        "sky": SKY_RANGES.to_dict(),
        "psf_kernels": [path.name for path in options.psf_kernels],
        "paper_galaxies_sha256": options.paper_galaxies and sha256(options.paper_galaxies),
    }
    return data, development, len(pool), SKY_PRIORS, more


if __name__ == "__main__":
    run(main, "interrupted; the same command resumes from the last checkpoint")
