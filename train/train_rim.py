"""Train a RIM: python train/train_rim.py --preset euclid64 --galaxies galaxies.h5 --output DIR.

A run that was killed is resumed by the same command from its last checkpoint, on a CPU bit for bit.
"""

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
    options = parser.parse_args(arguments)
    config = get_preset(options.preset)
    field = 1.0
    if options.field is not None:
        field = options.field / config.source_side
        config = config.on_field(options.field)
    check_options(options, "rim")
    import keras
    import numpy as np

    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.simulation.training_data import TrainingData
    from rim_lensing.training.rim_training import recipe_of, train_rim, training_priors

    recipe = chosen_recipe(options, recipe_of(options.preset))
    priors = training_priors(options.preset).on_field(field)

    keras.utils.set_random_seed(recipe.seed)
    pool = training_galaxies(options.galaxies, options.procedural, recipe.seed)
    data = TrainingData(
        MockSimulator(pool, priors, config), recipe.batch, recipe.steps_per_epoch, recipe.seed
    )
    kept_apart = development_galaxies(options.galaxies)
    development = MockSimulator(kept_apart, Priors().on_field(field), config).draw(
        np.random.default_rng(0), options.development_systems
    )
    model = RIM(config, recipe.precision)
    model.build()
    load_initial_weights(model, options)
    description = describe_run(options, len(pool), priors)
    train_rim(model, recipe, data, development, description, options.output)
    return 0


if __name__ == "__main__":
    run(main, "interrupted; the same command resumes from the last checkpoint")
