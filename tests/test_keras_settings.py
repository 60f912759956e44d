"""The user's keras.json decides nothing: the same answers in every data format and precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, warnings
from pathlib import Path
import keras
import numpy as np

warnings.simplefilter("ignore")
floatx, scratch = sys.argv[1], Path(sys.argv[2])
assert keras.config.floatx() == floatx
assert keras.config.image_data_format() == "channels_first"

import rim_lensing
from rim_lensing.zoo.zoo import zoo_directory

# As published, at the tolerances of the zoo's own test.
for name, keys in (("rim_euclid64", ("source",)), ("lens_cnn_euclid64", ("lens", "std"))):
    model = rim_lensing.load_pretrained(name)
    golden = dict(np.load(zoo_directory() / name / "golden.npz"))
    inputs = {key: golden[key] for key in ("image", "noise", "psf")}
    if name.startswith("rim"):
        found = {"source": model.reconstruct(**inputs, lens=golden["lens"]).source}
    else:
        found = dict(zip(("lens", "std"), model.predict(**inputs), strict=True))
    for key in keys:
        scale = np.abs(golden[key]).max()
        np.testing.assert_allclose(found[key], golden[key], atol=2e-4 * scale, err_msg=name)

from rim_lensing.demo import read_demo_lens
from rim_lensing.lensing.critical_curves import critical_curves

mock = read_demo_lens()
model = rim_lensing.load_pretrained("rim_euclid64")
result = model.refined().reconstruct(mock.image, mock.noise, mock.psf, mock.lens)
assert 0.9 < result.chi2 < 1.1, result.chi2
linear = rim_lensing.SemilinearInversion()
assert 0.5 < linear.reconstruct(mock.image, mock.noise, mock.psf, mock.lens).chi2 < 1.1
assert critical_curves(mock.lens)

from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.lens_training_data import LensTrainingData
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.simulation.training_data import TrainingData
from rim_lensing.training.lens_cnn_training import train_lens_cnn
from rim_lensing.training.rim_training import train_rim
from rim_lensing.training.training_run import Recipe

galaxies = draw_procedural_galaxies(4, 1)


def rim_data(simulator, config):
    return TrainingData(simulator, 4, 2, 0)


def cnn_data(simulator, config):
    return LensTrainingData(galaxies, Priors(), config, 4, 2, config.dropout_units, 0)


losses = []
for kind, config, data, train in (
    (RIM, get_preset("tiny16"), rim_data, train_rim),
    (LensCNN, get_lens_cnn_preset("tiny16"), cnn_data, train_lens_cnn),
):
    simulator = MockSimulator(galaxies, Priors(), config)
    keras.utils.set_random_seed(0)
    network = kind(config)
    network.build()
    recipe = Recipe(steps=2, batch=4, steps_per_epoch=2)
    development = simulator.draw(np.random.default_rng(1), 2)
    development = [development] if kind is RIM else development
    output = scratch / kind.__name__
    train(network, recipe, data(simulator, config), development, {}, output)
    assert {str(variable.dtype) for variable in network.trainable_variables} == {"float32"}
    row = (output / "log.csv").read_text().splitlines()
    losses.append(float(dict(zip(row[0].split(","), row[1].split(","), strict=False))["loss"]))
print("losses", *losses)

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from rim_lensing.zoo.saved_model import export_saved_model

    rim = RIM(get_preset("tiny16"))
    rim.build()
    export_saved_model(rim, scratch / "saved")
    seen = simulator.draw(np.random.default_rng(2), 2)
    inputs = seen.network_inputs()
    served = tf.saved_model.load(scratch / "saved").serve(
        *(tf.constant(inputs[key]) for key in ("image", "noise", "psf", "lens"))
    )
    ours = keras.ops.convert_to_numpy(rim(inputs))[:, -1]
    np.testing.assert_allclose(served["source"].numpy(), ours, rtol=1e-4, atol=1e-5)
assert keras.config.floatx() == floatx, "the user's setting has changed"
assert keras.config.image_data_format() == "channels_first"
"""


@pytest.mark.parametrize(
    ("backend", "floatx"),
    [
        ("tensorflow", "float16"),
        pytest.param("tensorflow", "float64", marks=pytest.mark.slow),
        pytest.param("jax", "float16", marks=pytest.mark.slow),
        pytest.param("jax", "float64", marks=pytest.mark.slow),
    ],
)
def test_keras_json_decides_nothing(tmp_path, backend, floatx):
    settings = {"image_data_format": "channels_first", "floatx": floatx, "backend": backend}
    (tmp_path / "keras.json").write_text(json.dumps(settings | {"epsilon": 1e-7}))
    environment = os.environ | {
        "KERAS_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
    }
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, floatx, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "losses" in done.stdout
