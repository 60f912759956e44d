import csv
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "train" / "train_rim.py"
SETTINGS = [
    *("--preset", "tiny16", "--procedural", "40", "--batch", "4", "--development-systems", "8"),
    *("--steps", "15", "--steps-per-epoch", "3", "--seed", "7"),
]


def start(output, *extra):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *SETTINGS, "--output", str(output), *extra],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process):
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


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


def test_run_leaves_what_it_promises(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert names == {"checkpoint.weights.h5", "log.csv", "pictures", "rim.weights.h5", "run.json"}
    assert len(list((uninterrupted / "pictures").glob("*.png"))) == 5
    with open(uninterrupted / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["steps"]) for row in rows] == [3, 6, 9, 12, 15]
    assert all(0 < float(row["development all median_rms_error"]) < 1 for row in rows)
    description = json.loads((uninterrupted / "run.json").read_text())
    assert description["recipe"]["seed"] == 7


def test_killed_run_resumes_bit_exactly(uninterrupted, tmp_path):
    """kill -9 in the middle of an epoch, the same command again, the same weights and log."""
    output = tmp_path / "killed"
    process = start(output)
    deadline = time.monotonic() + 300
    while not (output / "pictures" / "epoch_00002.png").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (output / "rim.weights.h5").exists()
    code, text = finished(start(output))
    assert code == 0, text
    whole, resumed = (weights_in(d / "rim.weights.h5") for d in (uninterrupted, output))
    assert whole.keys() == resumed.keys() and len(whole) > 10
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    assert (output / "log.csv").read_text().count("\n") == 6


def test_finished_run_is_not_overwritten(uninterrupted):
    before = (uninterrupted / "rim.weights.h5").read_bytes()
    code, text = finished(start(uninterrupted))
    assert code != 0
    assert "finished run" in text and "Traceback" not in text
    assert (uninterrupted / "rim.weights.h5").read_bytes() == before


def test_checkpoint_of_an_unknown_run_is_not_continued(tmp_path):
    output = tmp_path / "foreign"
    output.mkdir()
    (output / "checkpoint.weights.h5").write_bytes(b"whose?")
    code, text = finished(start(output))
    assert code != 0
    assert "other settings" in text and "Traceback" not in text


def test_other_settings_do_not_continue_a_run(uninterrupted, tmp_path):
    output = tmp_path / "other"
    output.mkdir()
    description = json.loads((uninterrupted / "run.json").read_text())
    description["recipe"]["seed"] = 8
    (output / "run.json").write_text(json.dumps(description))
    code, text = finished(start(output))
    assert code != 0
    assert "other settings (recipe.seed: 8 there, 7 here)" in text and "Traceback" not in text
    (output / "run.json").write_text("{}")
    code, text = finished(start(output))
    assert code != 0
    assert "run.json cannot be read" in text and "Traceback" not in text


def test_a_run_of_before_an_option_existed_is_resumed(uninterrupted, tmp_path):
    """Its run.json lacks the option: it had the default."""
    output = tmp_path / "old"
    shutil.copytree(uninterrupted, output)
    (output / "rim.weights.h5").unlink()
    description = json.loads((output / "run.json").read_text())
    for option in ("block", "first_update"):
        del description["config"][option]
    del description["recipe"]["precision"]
    (output / "run.json").write_text(json.dumps(description))
    code, text = finished(start(output))
    assert code == 0, text
    for name, value in weights_in(uninterrupted / "rim.weights.h5").items():
        np.testing.assert_array_equal(value, weights_in(output / "rim.weights.h5")[name])


def test_corrupt_checkpoint_is_named(uninterrupted, tmp_path):
    output = tmp_path / "corrupt"
    output.mkdir()
    (output / "run.json").write_bytes((uninterrupted / "run.json").read_bytes())
    (output / "checkpoint.weights.h5").write_bytes(b"not an HDF5 file")
    code, text = finished(start(output))
    assert code != 0
    assert "checkpoint.weights.h5 cannot be read" in text and "Traceback" not in text


def test_small_field_first_then_the_whole(tmp_path):
    """The weights of --field 8 start a run of the preset's own field; the lenses fit the field."""
    small = tmp_path / "small"
    code, text = finished(start(small, "--field", "8", "--steps", "3"))
    assert code == 0, text
    description = json.loads((small / "run.json").read_text())
    config, priors = description["config"], description["priors"]
    assert (config["source_side"], config["image_side"], config["psf_side"]) == (8, 8, 5)
    assert priors["theta_E"] == [0.25, 1.1] and priors["psf_sigma"] == [0.0, 0.1]
    weights = small / "rim.weights.h5"
    code, text = finished(
        start(tmp_path / "whole", "--initial-weights", str(weights), "--steps", "3")
    )
    assert code == 0, text
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["config"]["source_side"] == 16
    code, text = finished(start(tmp_path / "uneven", "--field", "0"))
    assert code == 1 and "field of 0 source pixels" in text and "Traceback" not in text


def test_unknown_preset_and_missing_galaxies(tmp_path):
    code, text = finished(start(tmp_path / "a", "--preset", "euclid46"))
    assert code != 0 and "Did you mean 'euclid64'" in text and "Traceback" not in text
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    code, text = finished(start(tmp_path / "c", "--initial-weights", str(damaged)))
    assert code != 0 and "damaged.weights.h5 does not hold" in text and "Traceback" not in text
    code, text = finished(start(tmp_path / "d", "--development-systems", "0"))
    assert code != 0 and "--development-systems must be positive" in text
    code, text = finished(start(tmp_path / "e", "--precision", "float16"))
    assert code != 0 and "argument --precision: invalid choice: 'float16'" in text
    code, text = finished(start(tmp_path / "b", "--galaxies", str(tmp_path / "none.h5")))
    assert code != 0 and "none.h5" in text and "Traceback" not in text


def test_layers_are_trained_in_bfloat16_and_their_weights_kept_in_float32(uninterrupted, tmp_path):
    """Gradients of 8 bits lead to other weights, but not far away."""
    output = tmp_path / "bfloat16"
    code, text = finished(start(output, "--precision", "mixed_bfloat16"))
    assert code == 0, text
    assert json.loads((output / "run.json").read_text())["recipe"]["precision"] == "mixed_bfloat16"
    rough, exact = (weights_in(run / "rim.weights.h5") for run in (output, uninterrupted))
    assert {value.dtype for value in rough.values()} == {np.dtype("float32")}
    difference = max(np.abs(rough[name] - exact[name]).max() for name in exact)
    assert 1e-7 < difference < 0.1


WITHOUT_TENSORFLOW = """
import os, runpy, sys
for name in ("tensorflow", "astropy", "lenstronomy"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_trains_on_jax_where_there_is_no_tensorflow(tmp_path):
    """A machine of DESIGN section 8: JAX, and neither TensorFlow nor astropy."""
    pytest.importorskip("jax", reason="jax is an optional backend")
    output = tmp_path / "jax"
    settings = [*SETTINGS, "--steps", "4", "--steps-per-epoch", "2", "--output", str(output)]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, str(PROGRAM), *settings],
        env=os.environ
        | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    with open(output / "log.csv", newline="") as file:
        assert [int(row["steps"]) for row in csv.DictReader(file)] == [2, 4]
    assert "cell" in str(sorted(weights_in(output / "rim.weights.h5")))


def test_every_epoch_says_where_it_was_trained(uninterrupted):
    with open(uninterrupted / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # Outside of a checkout there is no commit, and none is written.
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for row in rows:
        assert re.match(f"tensorflow on (.+ and )?{os.cpu_count()} cores of ", row["machine"])
        assert commit.startswith(row["commit"].removesuffix("-dirty"))
        assert bool(commit) == bool(row["commit"])


@pytest.fixture
def copied_run(uninterrupted, tmp_path):
    """A run that lacks its finished weights, as one that was killed."""
    output = tmp_path / "killed"
    shutil.copytree(uninterrupted, output)
    (output / "rim.weights.h5").unlink()
    return output


def test_a_log_that_is_not_the_checkpoints_is_refused(copied_run):
    lines = (copied_run / "log.csv").read_text().splitlines(keepends=True)
    (copied_run / "log.csv").write_text("".join(lines[:-1]))
    code, text = finished(start(copied_run))
    assert code != 0
    assert "log.csv has 4 rows" in text and "Traceback" not in text


def test_a_directory_in_which_another_process_trains_is_refused(copied_run):
    handle = os.open(copied_run, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        code, text = finished(start(copied_run))
    finally:
        os.close(handle)
    assert code != 0
    assert f"Another process is training in {copied_run}" in text and "Traceback" not in text
    assert not (copied_run / "rim.weights.h5").exists()


def test_weights_that_are_not_numbers_do_not_replace_the_checkpoint(copied_run):
    checkpoint = copied_run / "checkpoint.weights.h5"
    with h5py.File(checkpoint, "a") as file:
        file.attrs["epochs_done"] = 3
        file.visititems(
            lambda name, item: (
                item.write_direct(np.full(item.shape, np.nan, item.dtype))
                if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim > 1
                else None
            )
        )
    before = checkpoint.read_bytes()
    (copied_run / ".123.checkpoint.weights.h5").write_bytes(b"half a file")
    code, text = finished(start(copied_run))
    assert code != 0
    assert "not finite after epoch 4" in text
    assert checkpoint.read_bytes() == before
    assert not list(copied_run.glob(".*"))
