"""Seconds per training step of a RIM, and what its recipe takes.

    python benchmarks/training_speed.py paper192 --batch 1
    python benchmarks/training_speed.py hst192 --batch 4 --precision mixed_bfloat16
    KERAS_BACKEND=jax python benchmarks/training_speed.py euclid64

Trains a new network of the preset on one batch of mock systems of procedural galaxies over and
over, on whatever device the backend finds. The first step compiles and is timed apart. Floating
point operations are those of direct convolutions: a training step has three times the forward ones.
"""

import argparse
import resource
import time
from dataclasses import replace

from rim_lensing.program import run

TRAINING_OVER_FORWARD = 3
"""The gradients with respect to inputs and to kernels cost as much as the forward pass, each."""


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset", metavar="PRESET", help="of the RIM, such as paper192")
    parser.add_argument("--batch", type=int, help="systems per step; default: its recipe's")
    parser.add_argument("--steps", type=int, default=3, help="that are timed")
    parser.add_argument("--precision", default="float32", help="or mixed_bfloat16")
    options = parser.parse_args(arguments)
    for name in ("batch", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be positive. Received: {value}")
    return options


def main(arguments=None) -> int:
    """Measure, and print what was measured."""
    options = parse_arguments(arguments)
    from rim_lensing.networks.presets import get_preset

    config = get_preset(options.preset)
    import keras
    import numpy as np

    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.networks.losses import UnrolledRMSError
    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.training.rim_training import recipe_of

    recipe = replace(recipe_of(options.preset), precision=options.precision)
    batch = options.batch or recipe.batch
    galaxies = draw_procedural_galaxies(batch, 0, side=96)
    mocks = MockSimulator(galaxies, Priors(), config).draw(np.random.default_rng(0), batch)
    model = RIM(config, recipe.precision)
    model.build()
    model.compile(optimizer=recipe.optimizer(), loss=UnrolledRMSError.from_rim_config(config))
    seconds = []
    for _ in range(1 + options.steps):
        started = time.perf_counter()
        model.train_on_batch(mocks.network_inputs(), mocks.source)
        seconds.append(time.perf_counter() - started)
    first, step = seconds[0], float(np.median(seconds[1:]))
    operations = 2 * TRAINING_OVER_FORWARD * config.multiply_adds
    hours = recipe.steps * step * recipe.batch / batch / 3600
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{options.preset} ({model.count_params():,} weights), {keras.backend.backend()}, "
        f"{recipe.precision}, "
        f"batch {batch}\n"
        f"  first step      {first:.1f} s\n"
        f"  a step          {step:.2f} s (median of {options.steps}; "
        f"{min(seconds[1:]):.2f} to {max(seconds[1:]):.2f})\n"
        f"  per system      {operations / 1e12:.3g} TFLOP, {step / batch:.3g} s, "
        f"{operations * batch / step / 1e9:.0f} GFLOP/s\n"
        f"  peak memory     {peak:.1f} GiB of the host\n"
        f"  its recipe      {recipe.steps} steps of {recipe.batch}: "
        f"{operations * recipe.batch * recipe.steps / 1e18:.3g} EFLOP, "
        f"{hours:.3g} hours at this rate"
    )
    return 0


if __name__ == "__main__":
    run(main)
