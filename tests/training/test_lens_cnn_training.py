import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "train" / "train_lens_cnn.py"
SETTINGS = [
    *("--preset", "tiny16", "--procedural", "40", "--batch", "8", "--development-systems", "8"),
    *("--steps", "20", "--steps-per-epoch", "4", "--seed", "7"),
]
WEIGHTS = "lens_cnn.weights.h5"


def start(output, *extra, backend="tensorflow"):
    paths = os.pathsep.join([str(ROOT), *sys.path])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *SETTINGS, "--output", str(output), *extra],
        env=os.environ | {"PYTHONPATH": paths, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process):
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def log_of(output):
    with open(output / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights_in(path):
    values = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                values.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return values


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "whole"
    code, text = finished(start(output))
    assert code == 0, text
    return output


@pytest.mark.slow
def test_run_leaves_what_it_promises(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert names == {"checkpoint.weights.h5", "log.csv", WEIGHTS, "run.json"}
    rows = log_of(uninterrupted)
    assert [int(row["steps"]) for row in rows] == [4, 8, 12, 16, 20]
    for name in PARAMETER_NAMES:
        assert 0 < float(rows[-1][f"development {name} median_error"]) < 1
        assert 0 <= float(rows[-1][f"development {name} coverage_68"]) <= 1
    description = json.loads((uninterrupted / "run.json").read_text())
    assert description["recipe"]["seed"] == 7 and description["config"]["image_side"] == 16
    assert (
        weights_in(uninterrupted / WEIGHTS).keys()
        < weights_in(uninterrupted / "checkpoint.weights.h5").keys()
    )


@pytest.mark.slow
def test_killed_run_resumes_bit_exactly(uninterrupted, tmp_path):
    """kill -9 in the middle of a run, the same command again, the same weights and log."""
    output = tmp_path / "killed"
    process = start(output)
    deadline = time.monotonic() + 300
    while not (output / "checkpoint.weights.h5").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (output / WEIGHTS).exists()
    code, text = finished(start(output))
    assert code == 0, text
    whole, resumed = (weights_in(d / WEIGHTS) for d in (uninterrupted, output))
    assert whole.keys() == resumed.keys() and len(whole) > 10
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    assert len(log_of(output)) == 5


@pytest.mark.slow
def test_finished_run_is_not_overwritten(uninterrupted):
    before = (uninterrupted / WEIGHTS).read_bytes()
    code, text = finished(start(uninterrupted))
    assert code != 0
    assert "finished run" in text and "Traceback" not in text
    assert (uninterrupted / WEIGHTS).read_bytes() == before


@pytest.mark.slow
def test_trains_on_jax(tmp_path):
    pytest.importorskip("jax", reason="jax is an optional backend")
    output = tmp_path / "jax"
    code, text = finished(start(output, "--steps", "8", backend="jax"))
    assert code == 0, text
    first, second = log_of(output)
    name = "development theta_E median_error"
    assert first[name] != second[name]  # measured with the weights of its epoch
    assert (output / WEIGHTS).is_file()


@pytest.mark.slow
def test_starts_from_given_weights(uninterrupted, tmp_path):
    """Steps too small to move a float32 leave what is trained as it was given."""
    weights, output = uninterrupted / WEIGHTS, tmp_path / "further"
    code, text = finished(
        start(output, "--initial-weights", str(weights), "--learning-rate", "1e-12")
    )
    assert code == 0, text
    given, found = (LensCNN(get_lens_cnn_preset("tiny16")) for _ in range(2))
    for network, path in ((given, weights), (found, output / WEIGHTS)):
        network.build()
        network.load_weights(path)
    for old, new in zip(given.trainable_variables, found.trainable_variables, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-9, err_msg=old.path)
    description = json.loads((output / "run.json").read_text())
    assert description["initial_weights"] == WEIGHTS
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert description["initial_weights_sha256"] == digest
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    code, text = finished(start(tmp_path / "none", "--initial-weights", str(damaged)))
    assert code != 0 and "damaged.weights.h5 does not hold" in text and "Traceback" not in text
    assert not (tmp_path / "none").exists()


def test_bad_arguments_are_named(tmp_path):
    for extra, message in (
        (("--preset", "euclid46"), "Did you mean 'euclid64'"),
        (("--galaxies", str(tmp_path / "none.h5")), "none.h5"),
        (("--initial-weights", str(tmp_path / "none.weights.h5")), "none.weights.h5"),
        (("--development-systems", "0"), "--development-systems must be positive"),
    ):
        code, text = finished(start(tmp_path / "a", *extra))
        assert code != 0 and message in text and "Traceback" not in text
    assert not (tmp_path / "a").exists()
