"""From a training run of a lens CNN to a model of the zoo: two steps of the smallest network."""

import json
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.publishing import publishing
from rim_lensing.simulation.lens_training_data import LensTrainingData
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors
from rim_lensing.training.lens_cnn_training import train_lens_cnn
from rim_lensing.training.training_run import Recipe
from rim_lensing.zoo import zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are published under TensorFlow", allow_module_level=True)

import tensorflow as tf

TRAIN = Path(__file__).parents[2] / "train"
SYSTEMS = 6
INPUTS = ("image", "noise", "psf")
ELSEWHERE = """
import sys
sys.modules["rim_lensing"] = sys.modules["keras"] = None  # importing them fails
import numpy as np, tensorflow as tf
folder, pair, work = sys.argv[1:]
inputs = dict(np.load(pair))
outputs = tf.saved_model.load(folder).serve(inputs["image"], inputs["noise"], inputs["psf"])
np.savez(work + "/outputs.npz", **{name: value.numpy() for name, value in outputs.items()})
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished training run."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    network = LensCNN(get_lens_cnn_preset("tiny16"))
    network.build()
    recipe = Recipe(steps=2, batch=8, steps_per_epoch=1, learning_rate=1e-3)
    stamps = draw_procedural_galaxies(3, 5)
    units = network.config.dropout_units
    train_lens_cnn(
        network,
        recipe,
        LensTrainingData(stamps, Priors(), network.config, 8, 1, units, seed=0),
        MockSimulator(stamps, Priors(), network.config).draw(np.random.default_rng(0), 4),
        {
            "preset": "tiny16",
            "galaxies": None,
            "training_galaxies": 3,
            "priors": Priors().to_dict(),
        },
        directory,
    )
    return directory


@pytest.fixture(scope="module")
def published(run, tmp_path_factory, few_development_galaxies):
    output = tmp_path_factory.mktemp("published") / "zoo"
    with pytest.MonkeyPatch.context() as patch:
        quick = partial(publishing.calibrate, systems=8, rates=(0.0, 0.05))
        patch.setattr(publishing, "calibrate", quick)
        return publishing.publish(run, "cnn_test", systems=SYSTEMS, output=output)


def golden(folder):
    with np.load(folder / "golden.npz") as pair:
        return {name: pair[name] for name in pair}


def test_folder_is_complete(published):
    zoo.verify(published)
    assert {path.name for path in published.iterdir()} == {
        *("README.md", "config.json", "golden.npz", "metadata.json", "metrics.json"),
        *("pictures", "lens_cnn.weights.h5", "saved_model"),
    }
    assert {path.name for path in (published / "pictures").iterdir()} == {
        *("predictions.png", "calibration.png", "learning_curve.png")
    }


def test_weights_are_those_of_the_run_and_the_calibration_is_kept(run, published):
    trained = LensCNN(get_lens_cnn_preset("tiny16"))
    trained.build()
    trained.load_weights(run / "lens_cnn.weights.h5")
    model = zoo.load_pretrained(published)
    for ours, theirs in zip(model.network.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    calibration = zoo.read_metadata(published)["calibration"]
    assert (calibration["systems"], calibration["galaxies"]) == (8, ["procedural"])
    chosen = calibration["scan"][1]
    assert model.network.config.dropout == chosen["dropout"] == 0.05
    assert model.std_factors == tuple(chosen["std_factors"]) != (1.0,) * 7


def test_golden_pair_is_reproduced(published):
    pair = golden(published)
    lens, std = zoo.load_pretrained(published).predict(*(pair[name] for name in INPUTS))
    np.testing.assert_allclose(lens, pair["lens"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(std, pair["std"], rtol=1e-4)


def test_saved_model_agrees_where_neither_package_nor_keras_is(published, tmp_path):
    folder = published / "saved_model"
    arguments = [str(folder), str(published / "golden.npz"), str(tmp_path)]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], check=True, cwd=tmp_path)
    pair = golden(published)
    expected = zoo.load_pretrained(published).predict(*(pair[name] for name in INPUTS))
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert set(outputs) == {"lens", "std", "aleatoric", "epistemic"}
        for name in outputs:
            np.testing.assert_allclose(
                outputs[name], getattr(expected, name), rtol=1e-3, atol=1e-5, err_msg=name
            )


def test_saved_model_takes_masks_and_any_batch(published):
    pair = golden(published)
    image, noise, psf = (pair[name] for name in INPUTS)
    noise[:, 3] = np.inf
    image[:, 3] = np.nan
    serve = tf.saved_model.load(str(published / "saved_model")).serve
    lens, std = zoo.load_pretrained(published).predict(image, noise, psf, np.isfinite(noise))
    whole = serve(image, noise, psf)
    np.testing.assert_allclose(whole["lens"], lens, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(whole["std"], std, rtol=1e-3)
    one = serve(image[1:], noise[1:], psf[1:])
    np.testing.assert_allclose(one["lens"], lens[1:], rtol=1e-3, atol=1e-5)


def test_saved_model_is_small_and_without_paths(published):
    folder = published / "saved_model"
    files = [path for path in folder.rglob("*") if path.is_file()]
    weights = 4 * zoo.find_pretrained(published).parameters
    assert sum(path.stat().st_size for path in files) < weights + 500_000
    here = str(Path(zoo.__file__).parents[1]).encode()
    assert not any(here in path.read_bytes() for path in files)


def test_card_has_the_numbers(published):
    card = (published / "README.md").read_text()
    (content,) = json.loads((published / publishing.METRICS).read_text())
    assert content["summary"]["theta_E"]["systems"] == SYSTEMS
    for row in content["summary"].values():
        assert f"{row['median_error']:.4f} ±" in card
    for row in zoo.read_metadata(published)["calibration"]["scan"]:
        assert f"| {row['dropout']:g} | {row['score']:.4f} |" in card
    assert str(published) not in card


def test_evaluate_measures_the_same_numbers(published, capsys):
    program = runpy.run_path(str(TRAIN / "evaluate.py"))
    assert program["main"]([str(published), "--systems", str(SYSTEMS)]) == 0
    before, after = capsys.readouterr().out.split("published:")
    rows = [line for line in before.splitlines() if line.startswith("|")]
    assert rows == [line for line in after.splitlines() if line.startswith("|")]
    with pytest.raises(ValueError, match="must be a RIM"):
        program["main"]([str(published), "--image-grid", "32", "0.15"])


def test_a_run_that_is_not_finished_is_named(run, tmp_path):
    for name in ("run.json", "log.csv", "checkpoint.weights.h5"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(FileNotFoundError, match="lens_cnn.weights.h5 is missing.*--checkpoint"):
        publishing.publish(tmp_path, "cnn_b", output=tmp_path / "zoo")


def test_a_run_of_no_known_kind_is_refused(run, tmp_path):
    (tmp_path / "log.csv").touch()
    (tmp_path / "run.json").write_text('{"config": {"depth": 3}}')
    with pytest.raises(ValueError, match="no kind of model.*depth"):
        publishing.publish(tmp_path, "cnn_c", output=tmp_path / "zoo")
