"""Models in other processes: sent to new ones they work, in a fork that would hang they say so."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from rim_lensing.lens_fit.residual_test import check_residuals
from rim_lensing.networks.presets import get_preset
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.zoo.zoo import load_pretrained

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])


@pytest.fixture(scope="module")
def arguments(mock):
    return mock(LENS)


@pytest.fixture(scope="module")
def models(tiny_folder, tiny_cnn_folder):
    rim, cnn = load_pretrained(tiny_folder), load_pretrained(tiny_cnn_folder)
    linear = SemilinearInversion(geometry=get_preset("tiny16"))
    return {
        "rim": rim,
        "refined": rim.refined(),
        "other pixels": rim.with_image_grid(16, 0.3001),
        "network": rim.network,
        "linear": linear,
        "cnn": cnn,
        "rebinned": cnn.with_image_grid(16, 0.2999),
    }


KINDS = ("rim", "refined", "other pixels", "network", "linear", "cnn", "rebinned")


def answer(model, arguments) -> np.ndarray:
    """Return what a model says, in this process or in another."""
    if hasattr(model, "predict") and not hasattr(model, "fit"):
        return np.stack(tuple(model.predict(**arguments)))
    if hasattr(model, "fit"):
        inputs = {name: np.asarray(value, "float32")[None] for name, value in arguments.items()}
        inputs["noise"] = np.full_like(inputs["image"], arguments["noise"])
        inputs["psf"] = np.full((1, 5, 5), 1 / 25, "float32")
        return model.predict_on_batch(inputs | {"lens": LENS[None].astype("float32")})
    return model.reconstruct(**arguments, lens=LENS).source


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_answers_as_the_model_does(models, arguments, kind):
    model = models[kind]
    expected = answer(model, arguments)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other is not model
        np.testing.assert_allclose(answer(other, arguments), expected, rtol=1e-5, atol=1e-6)


def test_a_pickle_holds_the_weights_once_and_no_code(models):
    model = models["rim"]
    weights = sum(array.nbytes for array in model.network.get_weights())
    text = pickle.dumps(model)
    assert len(text) < weights + 20_000
    assert copy.deepcopy(model).network is not model.network
    for word in (b"FuncGraph", b"_load_model_from_fileobj", b"CodeType", b"cloudpickle"):
        assert word not in text


def test_likelihoods_of_a_copy_are_the_models(models, ridge, arguments):
    from rim_lensing.observation.checks import check_observation

    grid = models["rim"].image_grid
    seen = check_observation(**arguments, lens=LENS, image_grid=grid, psf_side=5)
    ours = models["rim"].lens_likelihood(seen).values_and_gradients(seen.lens)
    other = pickle.loads(pickle.dumps(models["rim"])).lens_likelihood(seen)
    for one, another in zip(ours, other.values_and_gradients(seen.lens), strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(seen)).image, seen.image)


def test_results_pickle(models, arguments):
    result = models["linear"].reconstruct(**arguments, lens=LENS)
    prediction = models["cnn"].predict(**arguments)
    test = check_residuals(result, models["linear"])
    for value in (result, prediction, test):
        again = pickle.loads(pickle.dumps(value))
        assert repr(again) == repr(value)
        assert repr(copy.deepcopy(value)) == repr(value)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.source, result.source)
    assert again.metrics() == result.metrics()


@pytest.mark.slow
def test_spawned_processes_work_with_models(models, arguments):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        sent = {kind: pool.submit(answer, models[kind], arguments) for kind in KINDS}
        for kind, future in sent.items():
            np.testing.assert_allclose(
                future.result(), answer(models[kind], arguments), rtol=1e-5, atol=1e-6
            )


@pytest.mark.slow
def test_joblib_works_with_models(models, arguments):
    """loky's processes; it sends functions, as dask does, by cloudpickle."""
    joblib = pytest.importorskip("joblib")
    model = models["refined"]
    jobs = (joblib.delayed(lambda one: one.reconstruct(**arguments, lens=LENS))(model),) * 2
    for found in joblib.Parallel(n_jobs=2, backend="loky")(jobs):
        expected = model.reconstruct(**arguments, lens=LENS)
        np.testing.assert_allclose(found.source, expected.source, rtol=1e-5, atol=1e-6)


FORK = """
import faulthandler, os, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
{before}
import rim_lensing
from rim_lensing.lensing.critical_curves import critical_curves
lens = [1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03]
generator = np.random.default_rng(0)
seen = dict(image=1 + generator.random((16, 16)), noise=0.1, psf=0.1)
model = cnn = None
{parent}

def uses():
    yield lambda: rim_lensing.load_pretrained(sys.argv[1])
    yield lambda: critical_curves(lens)
    if model is not None:
        yield lambda: model.reconstruct(**seen, lens=lens)
        yield lambda: cnn.predict(**seen)

child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(200, exit=True)
    for use in uses():
        try:
            use()
            print("worked", flush=True)
        except RuntimeError as error:
            print(error, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
# As workers of multiprocessing end: TensorFlow's own clean-up waits for its threads, too.
os._exit(os.waitstatus_to_exitcode(status))
"""

USED = """
model, cnn = rim_lensing.load_pretrained(sys.argv[1]), rim_lensing.load_pretrained(sys.argv[2])
model.reconstruct(**seen, lens=lens)
cnn.predict(**seen)
"""


def forked(folders, before="", parent="", backend="tensorflow") -> list[str]:
    """Return what a forked child says of each use."""
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(before=before, parent=parent), *map(str, folders)],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("before", "parent", "backend", "named"),
    [
        ("", USED, "tensorflow", "TensorFlow"),
        ("import tensorflow; tensorflow.constant(1.0)", "", "tensorflow", "TensorFlow"),
        ("", "import jax; jax.numpy.ones(1)", "jax", "JAX"),
    ],
    ids=["after our models ran", "after TensorFlow ran", "after JAX ran"],
)
def test_a_fork_that_would_hang_says_what_to_do(
    tiny_folder, tiny_cnn_folder, before, parent, backend, named
):
    said = forked((tiny_folder, tiny_cnn_folder), before, parent, backend)
    assert len(said) == (4 if parent == USED else 2)
    for line in said:
        assert f"forked after {named} had computed" in line
        assert "spawn" in line and "forkserver" in line and "pickles" in line


def test_a_package_that_a_forked_child_imports_sees_the_fork(tiny_folder):
    """The parent never imported it."""
    before = "import tensorflow; tensorflow.constant(1.0)\nif os.fork(): sys.exit(os.wait()[1])"
    said = forked((tiny_folder,), before)
    assert len(said) == 2 and all("forked after TensorFlow had computed" in line for line in said)


def test_a_fork_before_anything_ran_works(tiny_folder, tiny_cnn_folder):
    parent = "import tensorflow, rim_lensing.reconstruction.rim_reconstructor"
    assert forked((tiny_folder, tiny_cnn_folder), parent=parent) == ["worked"] * 2
