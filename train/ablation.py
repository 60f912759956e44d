"""Which options win, at equal compute: python train/ablation.py --galaxies FILE --output DIR.

Trains every variant of a preset for as many multiply-adds of its convolutions (the start from the
inversion is not counted) as the baseline takes in `--steps` steps, and measures all on the same
systems of development galaxies. Interrupted, it goes on with the same command. The table is printed
and written to DIR/table.md.
"""

import argparse
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rim_lensing.files.hdf5_files import when_free
from rim_lensing.files.whole_files import whole_file
from rim_lensing.networks.presets import get_preset
from rim_lensing.program import run


@dataclass(frozen=True)
class Ablation:
    """What of a preset is varied.

    Args:
        variants: By label, what differs from the baseline's configuration.
        baseline: What differs from the preset's configuration in all of them.
        recipe: What differs from the preset's recipe in all of them.
        recipes: By label, variants of the baseline's own network: what differs from the recipe.
    """

    variants: dict[str, dict]
    baseline: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    recipes: dict[str, dict] = field(default_factory=dict)


ABLATIONS = {
    "euclid64": Ablation(
        {
            "baseline": {},
            "input: variance-scaled gradient": {"likelihood_input": "variance"},
            "input: asinh of the gradient": {"likelihood_input": "asinh"},
            "input: raw gradient (paper)": {"likelihood_input": "raw"},
            "state: logit alone (paper)": {"state_input": "logit"},
            "state: source alone": {"state_input": "source"},
            "T = 5": {"steps": 5},
            "T = 12": {"steps": 12},
            "stride 2": {"stride": 2},
            "widths / 2": {"channels": (16, 24, 8, 16)},
            "widths x 1.5": {"channels": (48, 72, 24, 48)},
            "loss: equal weights (paper)": {"loss_weights": "equal"},
            "no skip (paper)": {"skip": False},
            "loss: 0.1 of the flux error": {"flux_weight": 0.1},
            "blocks of 2 x 2": {"block": 2},
            "blocks of 2 x 2, second ConvGRU of 64": {"block": 2, "channels": (32, 48, 16, 64)},
            "blocks of 2 x 2, widths x 1.5, then 64": {"block": 2, "channels": (48, 72, 32, 64)},
        },
        # As it was before the ablation put the flux error into its cost.
        baseline={"flux_weight": 0.0},
        recipes={"layers trained in bfloat16": {"precision": "mixed_bfloat16"}},
    ),
    "hst192": Ablation(
        {
            "baseline": {},
            "blocks of 2 x 2, second ConvGRU of 32": {"block": 2, "channels": (32, 64, 32, 32)},
            "the same, from the inversion": {
                "block": 2,
                "channels": (32, 64, 32, 32),
                "initial_source": "inverted",
            },
            "blocks of 2 x 2": {"block": 2},
            "second ConvGRU of 128": {"channels": (32, 64, 32, 128)},
        },
        # As it was before the ablation made its blocks smaller, and it began near the inversion.
        baseline={"block": 4, "channels": (32, 64, 32, 64), "initial_source": "dark"},
        recipe={"precision": "mixed_bfloat16"},
    ),
}

CHECKPOINTS = 4
"""Of every variant's training; its steps are rounded up to a multiple."""

FINE = 5 / 16
"""Where the coherence is told, of the largest wavenumber: k = 30 on sources of 192 pixels."""


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", choices=ABLATIONS, default="euclid64")
    parser.add_argument("--field", type=int, metavar="PIXELS", help="as of train_rim.py")
    parser.add_argument("--galaxies", type=Path, help="HDF5 file; default: procedural galaxies")
    parser.add_argument("--steps", type=int, default=200, help="of the baseline")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--systems", type=int, default=256, help="to measure on")
    parser.add_argument("--output", type=Path, required=True, help="directory of all runs")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Train and measure every variant."""
    options = parse_arguments(arguments)
    import keras
    import numpy as np

    from rim_lensing import metrics
    from rim_lensing.galaxies.galaxy_pool import development_galaxies, training_galaxies
    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.simulation.training_data import TrainingData
    from rim_lensing.training.rim_training import evaluate, recipe_of, train_rim, training_priors
    from rim_lensing.training.training_run import other_settings
    from rim_lensing.zoo.zoo import sha256

    ablation = ABLATIONS[options.preset]
    baseline, part = replace(get_preset(options.preset), **ablation.baseline), 1.0
    if options.field is not None:
        part = options.field / baseline.source_side
        baseline = baseline.on_field(options.field)
    pool = training_galaxies(options.galaxies, None, options.seed)
    priors = training_priors(options.preset).on_field(part)
    kept_apart = development_galaxies(options.galaxies)
    simulator = MockSimulator(kept_apart, Priors().on_field(part), baseline)
    development = simulator.draw(np.random.default_rng(0), options.systems)
    few = simulator.draw(np.random.default_rng(1), 16)
    of_galaxies = sha256(options.galaxies) if options.galaxies else None
    rows = []
    for label in [*ablation.variants, *ablation.recipes]:
        config = replace(baseline, **ablation.variants.get(label, {}))
        cost = config.multiply_adds / baseline.multiply_adds
        steps = round(options.steps / cost)
        per_epoch = -(-steps // CHECKPOINTS)
        recipe = replace(
            recipe_of(options.preset),
            steps=CHECKPOINTS * per_epoch,
            steps_per_epoch=per_epoch,
            seed=options.seed,
        )
        recipe = replace(recipe, **ablation.recipe | ablation.recipes.get(label, {}))
        directory = options.output / f"{label}, seed {options.seed}".replace("/", "over")
        weights = directory / "rim.weights.h5"
        description = {
            "ablation": label,
            "galaxies_sha256": of_galaxies,
            "priors": priors.to_dict(),
        }
        different = other_settings(directory, config, recipe, description)
        if different:
            raise ValueError(f"{directory} is of another ablation: {'; '.join(different)}")
        if not weights.exists():
            print(f"\n{label}: {recipe.steps} steps", flush=True)
            data = TrainingData(
                MockSimulator(pool, priors, config), recipe.batch, per_epoch, options.seed
            )
            keras.utils.set_random_seed(options.seed)
            model = RIM(config, recipe.precision)
            model.build()
            train_rim(model, recipe, data, [few], description, directory)
        keras.backend.clear_session()
        model = RIM(config)
        model.build()
        when_free(partial(model.load_weights, weights), weights)
        summary, sources, _ = evaluate(model, development)
        coherence = metrics.coherence_spectrum(sources, development.source)[1].mean(axis=0)
        rows.append((label, model.count_params(), cost, recipe.steps, summary, coherence))
        with whole_file(options.output / "table.md") as temporary:
            temporary.write_text(_table(rows))
    print(_table(rows))
    return 0


def _table(rows: list) -> str:
    bins, fine = list(rows[0][4]), round(len(rows[0][5]) * FINE)
    head = ["variant", "weights", "cost of a step", "steps"]
    head += [f"median rms error, {name}" for name in bins]
    head += ["chi2 / pixel", "flux bias", f"coherence at k = {fine}"]
    lines = [head, ["---"] * len(head)]
    for label, weights, cost, steps, summary, coherence in rows:
        lines.append(
            [label, f"{weights:,}", f"{cost:.2f}", str(steps)]
            + [f"{summary[name]['median_rms_error']:.2%}" for name in bins]
            + [f"{summary['all']['median_chi2_per_pixel']:.3f}"]
            + [f"{summary['all']['flux_bias']:+.2%}", f"{coherence[fine - 1]:.3f}"]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    run(main, "interrupted; the same command resumes from the last checkpoint")
