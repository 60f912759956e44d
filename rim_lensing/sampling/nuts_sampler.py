"""The No-U-Turn sampler (Hoffman & Gelman 2014) of TensorFlow Probability, many chains at once.

All chains take their leapfrog steps together, so that the RIM differentiates one batch. The
parameters are whitened by the Gauss-Newton covariance at the start. L is bilinear: where a ray
crosses from one source pixel to the next the gradient jumps, which costs acceptance.
"""

import functools
import os
from collections.abc import Callable

import keras
import numpy as np
from emcee import State

from rim_lensing.lens_fit.lens_covariance import gauss_newton_covariance
from rim_lensing.lens_fit.lens_posterior import LensPosterior
from rim_lensing.sampling.chain_file import ChainFile
from rim_lensing.sampling.sampling_settings import INTER_OP_THREADS, SAMPLERS

_WARM_UP = SAMPLERS["nuts"].warm_up
_MAX_TREE_DEPTH = 5
_TARGET_ACCEPTANCE = 0.8
_FIRST_STEP_SIZE = 0.5


def check_threads() -> None:
    """Refuse a process in which NUTS would wait for itself for ever.

    Its graph calls Python, which runs the RIM's graph: with one thread for operations, the one that
    waits for Python, none is left for the RIM.

    Raises:
        ValueError: TensorFlow has one such thread, as it has by default on one core.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = int(os.environ.get(INTER_OP_THREADS) or 0)
    if (tf.config.threading.get_inter_op_parallelism_threads() or said or cores) == 1:
        raise ValueError(
            "`method` 'nuts' needs two threads between operations, and TensorFlow has one here: "
            f"set the environment variable {INTER_OP_THREADS}=2 before TensorFlow is imported"
        )


def nuts_sampler(
    posterior: LensPosterior,
    file: ChainFile,
    positions: np.ndarray,
    seed: int,
    watch: Callable[[], None],
) -> Callable[[int], None]:
    """Return a function that adds a number of steps to a chain; its first call is the warm-up.

    Args:
        posterior: What is sampled: `log_posterior_and_gradient`, and `residuals` for whitening.
        file: Of the chain; it goes on from the last step that it holds. A warm-up that was cut
            short begins anew.
        positions: Of the chains if there is no step yet, (chains, p).
        seed: Of the random numbers.
        watch: Called after every step.
    """
    import tensorflow as tf
    import tensorflow_probability as tfp

    middle = positions.mean(axis=0)
    root = np.linalg.cholesky(gauss_newton_covariance(posterior, middle))

    def evaluate(points):
        values, slopes = posterior.log_posterior_and_gradient(middle + points @ root.T)
        return values, slopes @ root

    @tf.custom_gradient
    def target(points):
        values, slopes = tf.numpy_function(evaluate, [points], (tf.float64, tf.float64))
        values, slopes = tf.reshape(values, (len(positions),)), tf.reshape(slopes, positions.shape)
        return values, lambda upstream: upstream[:, None] * slopes

    def sampler(step_size: float):
        return tfp.mcmc.NoUTurnSampler(
            target, tf.constant(step_size, tf.float64), max_tree_depth=_MAX_TREE_DEPTH
        )

    @functools.cache
    def compiled_step(kernel):
        return tf.function(kernel.one_step)

    def run(kernel, steps: int):
        """Add steps, and return the kernel's last results."""
        lenses = file.backend.get_last_sample().coords if file.steps else positions
        points = tf.constant(np.linalg.solve(root, (lenses - middle).T).T)
        # Within a graph: eagerly, custom_gradient would see the variables of the RIM.
        results = tf.function(kernel.bootstrap_results)(points)
        for number in range(file.steps, file.steps + steps):
            seeds = tf.constant([seed, number])
            points, results = compiled_step(kernel)(points, results, seed=seeds)
            _save(file, middle + points.numpy() @ root.T, results)
            watch()
        return results

    def warm_up():
        file.backend.reset(*positions.shape)
        file.keep(warm_up=_WARM_UP)
        adapting = tfp.mcmc.DualAveragingStepSizeAdaptation(
            sampler(_FIRST_STEP_SIZE),
            num_adaptation_steps=_WARM_UP,
            target_accept_prob=tf.constant(_TARGET_ACCEPTANCE, tf.float64),
        )
        results = run(adapting, _WARM_UP)
        file.keep(step_size=float(np.mean(results.new_step_size)))

    sampling = functools.cache(sampler)

    def advance(steps: int) -> None:
        step_size = file.note("step_size")
        if step_size:
            run(sampling(step_size), steps)
        else:
            warm_up()

    return advance


def _save(file: ChainFile, lenses: np.ndarray, results) -> None:
    """Write one step, with each chain's mean acceptance probability."""
    nuts = getattr(results, "inner_results", results)
    acceptance = np.exp(np.minimum(nuts.log_accept_ratio.numpy(), 0))
    # The random numbers follow from seed and step: there is no state to keep.
    state = State(lenses, log_prob=nuts.target_log_prob.numpy(), random_state=())
    file.backend.grow(1, None)
    file.backend.save_step(state, acceptance)
