"""Settings of the samplers, and their check. No Keras: errors come fast."""

from dataclasses import dataclass
from importlib.util import find_spec

MAX_STEPS = 5000
"""By default. Few chains converge within 1500: benchmarks/README.md, Posterior of the lens."""

INTER_OP_THREADS = "TF_NUM_INTEROP_THREADS"
"""TensorFlow's own variable; it is read when TensorFlow starts."""

_MIN_STEPS = 10


@dataclass(frozen=True)
class SamplerSettings:
    """What the samplers differ in.

    Args:
        walkers: By default; of NUTS they are independent chains.
        walkers_per_parameter: At least so many.
        warm_up: First steps, which find the step size.
        interval: Steps between looks at the convergence.
    """

    walkers: int
    walkers_per_parameter: int
    warm_up: int
    interval: int


SAMPLERS = {
    "emcee": SamplerSettings(walkers=32, walkers_per_parameter=2, warm_up=0, interval=50),
    "nuts": SamplerSettings(walkers=16, walkers_per_parameter=0, warm_up=60, interval=20),
}
"""By name."""


def check_settings(method: str, walkers: int | None, max_steps: int, parameters: int) -> int:
    """Return the number of walkers.

    Args:
        method: One of SAMPLERS.
        walkers: None for the default.
        max_steps: Of every walker.
        parameters: Of the lens.

    Raises:
        ValueError: An unknown method, too few walkers or too few steps.
        ImportError: TensorFlow Probability, which NUTS needs, is not installed.
    """
    if method not in SAMPLERS:
        raise ValueError(f"`method` must be one of {tuple(SAMPLERS)}. Received: {method!r}")
    if method == "nuts" and find_spec("tensorflow_probability") is None:
        raise ImportError(
            "`method` 'nuts' needs TensorFlow Probability: pip install rim_lensing[nuts]"
        )
    settings = SAMPLERS[method]
    walkers = settings.walkers if walkers is None else walkers
    fewest = max(2, settings.walkers_per_parameter * parameters)
    if int(walkers) != walkers or walkers < fewest:
        raise ValueError(
            f"`walkers` must be an integer, at least {fewest} for {method}. Received: {walkers}"
        )
    shortest = settings.warm_up + _MIN_STEPS
    if int(max_steps) != max_steps or max_steps < shortest:
        raise ValueError(
            f"`max_steps` must be an integer, at least {shortest} for {method}. "
            f"Received: {max_steps}"
        )
    return int(walkers)
