"""Train a lens CNN: python train/train_lens_cnn.py --preset euclid64 --galaxies F --output DIR.

A run that was killed is resumed by the same command from its last checkpoint, on a CPU bit for bit.
"""

from dataclasses import replace

from training_command import (
    check_options,
    chosen_recipe,
    describe_run,
    load_initial_weights,
    training_parser,
)

from rim_lensing.networks.lens_cnn_presets import LENS_CNN_PRESETS, get_lens_cnn_preset
from rim_lensing.program import run


def main(arguments=None) -> int:
    """Train."""
    title = __doc__.split("\n")[0]
    parser = training_parser(title, LENS_CNN_PRESETS, "images", development_systems=500)
    parser.add_argument("--beta", type=float, help="of the cost (default 0.5)")
    options = parser.parse_args(arguments)
    config = get_lens_cnn_preset(options.preset)
    check_options(options, "lens_cnn")
    if options.beta is not None and not 0 <= options.beta <= 1:
        raise ValueError(f"--beta must be from 0 to 1. Received: {options.beta}")
    import keras
    import numpy as np

    from rim_lensing.galaxies.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.networks.lens_cnn import LensCNN
    from rim_lensing.simulation.lens_training_data import LensTrainingData
    from rim_lensing.simulation.mock_observations import MockSimulator, concatenate
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.training.lens_cnn_training import BETA, LENS_CNN_RECIPE, train_lens_cnn

    recipe = chosen_recipe(options, LENS_CNN_RECIPE)
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
    model = LensCNN(config, recipe.precision)
    model.build()
    load_initial_weights(model, options)
    description = describe_run(options, len(pool), priors)
    beta = BETA if options.beta is None else options.beta
    train_lens_cnn(model, recipe, data, development, description, options.output, beta)
    return 0


if __name__ == "__main__":
    run(main, "interrupted; the same command resumes from the last checkpoint")
