import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.lensing.mass_components import SIE, SIS
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
from rim_lensing.simulation.priors import Priors
from rim_lensing.zoo import zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is TensorFlow's", allow_module_level=True)

import tensorflow as tf

from rim_lensing.zoo.saved_model import export_saved_model

NAMES = {"image": "image", "noise": "noise_map", "psf": "psf", "lens": "lens_parameters"}
ELSEWHERE = """
import sys
sys.modules["rim_lensing"] = None  # importing it fails
import numpy as np, tensorflow as tf
folder, work = sys.argv[1:]
inputs = dict(np.load(work + "/inputs.npz"))
outputs = tf.saved_model.load(folder).serve(**inputs)
np.savez(work + "/outputs.npz", **{name: value.numpy() for name, value in outputs.items()})
"""


@pytest.fixture(scope="module")
def network(tiny_folder):
    return zoo.load_pretrained(tiny_folder).network


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    export_saved_model(network, folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tiny_mocks):
    """Mocks with a masked row and a noise map."""
    inputs = {name: value.copy() for name, value in tiny_mocks.network_inputs().items()}
    inputs["noise"] *= np.linspace(1, 2, 16, dtype="float32")
    inputs["noise"][:, 3] = np.inf
    return inputs


def served(inputs):
    return {NAMES[name]: value for name, value in inputs.items()}


def test_agrees_with_keras_where_the_package_is_not(network, folder, inputs, tmp_path):
    np.savez(tmp_path / "inputs.npz", **served(inputs))
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder), str(tmp_path)], check=True, cwd=tmp_path
    )
    outputs = np.load(tmp_path / "outputs.npz")
    history = network.predict(inputs, verbose=0)
    assert np.max(np.abs(outputs["history"] - history)) < 1e-5 * history.max()
    np.testing.assert_array_equal(outputs["source"], outputs["history"][:, -1])
    model_image = predicted_image(network, inputs, outputs["source"])
    assert np.max(np.abs(outputs["model_image"] - model_image)) < 1e-5 * model_image.max()


def predicted_image(network, inputs, source):
    from rim_lensing.forward_model.forward_model import ForwardModel

    config = network.config
    forward = ForwardModel(inputs["lens"], inputs["psf"], config.image_grid, config.source_grid)
    return keras.ops.convert_to_numpy(forward.predict(source))


def test_any_batch_and_both_ways_to_call(folder, inputs):
    loaded = tf.saved_model.load(str(folder))
    whole = loaded.serve(*served(inputs).values())
    one = {name: tf.constant(value[2:3]) for name, value in served(inputs).items()}
    single = loaded.signatures["serving_default"](**one)
    assert single["history"].shape == (1, 3, 16, 16)
    np.testing.assert_allclose(single["source"][0], whole["source"][2], rtol=1e-3, atol=1e-6)


def test_signature_has_names(folder):
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == set(NAMES.values())
    assert set(signature.structured_outputs) == {"source", "model_image", "history"}


def test_deflections_of_any_package_are_served(folder, inputs, network):
    """Here lenstronomy's, of the same lenses and of a scene that has no seven numbers."""
    loaded, (x, y) = tf.saved_model.load(str(folder)), network.config.image_grid.coordinates()
    names = ("theta_E", "e1", "e2", "center_x", "center_y")
    maps = []
    for row in inputs["lens"].astype("float64"):
        keywords = [dict(zip(names, row, strict=False)), {"gamma1": row[5], "gamma2": row[6]}]
        maps.append(LensModel(["SIE", "SHEAR"]).alpha(x, y, keywords))
    given = served(inputs)
    given["deflections"] = np.array(maps, "float32")
    expected = loaded.serve(**{name: given[name] for name in NAMES.values()})
    del given["lens_parameters"]
    for serve in (
        loaded.serve_deflections,
        lambda **tensors: loaded.signatures["serve_deflections"](
            **{name: tf.constant(value) for name, value in tensors.items()}
        ),
    ):
        found = serve(**given)
        for name in ("source", "model_image"):
            scale = float(np.max(expected[name]))
            assert np.max(np.abs(found[name] - expected[name])) < 1e-3 * scale
    scene = MassModel(lens=SIE(1.0, 0.2), perturber=SIS(0.1, 0.9, 0.3))
    maps = scene.form.on_rays(np.repeat(scene.values[None], 4, axis=0), network.config.image_grid)
    rim = RIMReconstructor(network, "tiny", Priors(psf_sigma=(0, 1)))
    arguments = inputs | {"lens": scene, "noise": np.where(np.isinf(inputs["noise"]), 1.0, 0.02)}
    mask = np.isfinite(inputs["noise"])
    result = rim.reconstruct(mask=mask, **arguments)
    noise = np.where(mask, arguments["noise"], np.inf).astype("float32")
    source = loaded.serve_deflections(inputs["image"], noise, inputs["psf"], maps)["source"]
    assert np.max(np.abs(source - result.source)) < 1e-4 * result.source.max()


@pytest.mark.parametrize("unit", [1e-20, 1e6])
def test_the_unit_of_flux_does_not_matter(folder, inputs, unit):
    serve = tf.saved_model.load(str(folder)).serve
    expected = serve(**served(inputs))["source"].numpy()
    unit = np.float32(unit)
    scaled = inputs | {"image": inputs["image"] * unit, "noise": inputs["noise"] * unit}
    source = serve(**served(scaled))["source"].numpy() / unit
    assert np.max(np.abs(source - expected)) < 1e-3 * expected.max()


def test_weights_are_in_the_file_once(network, folder):
    largest = max(network.get_weights(), key=np.size)
    assert (folder / "saved_model.pb").read_bytes().count(largest.tobytes()) == 1


def test_small_and_without_paths(network, folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    weights = 4 * network.count_params()
    assert sum(path.stat().st_size for path in files) < weights + 1_000_000
    here = str(Path(zoo.__file__).parents[1]).encode()
    assert not any(here in path.read_bytes() for path in files)


@pytest.mark.parametrize("kernel", [3, 11])
def test_paper_options_export_too(tmp_path, tiny_mocks, kernel):
    """Kernels of 11 are convolved in tiles on a CPU."""
    values = get_preset("tiny16").to_dict()
    values |= {"likelihood_input": "raw", "flux_scale": "unit", "skip": False}
    values |= {"kernel_sizes": (kernel,) * 5}
    network = RIM(values)
    network.build()
    export_saved_model(network, tmp_path / "saved_model")
    inputs = {name: value.copy() for name, value in tiny_mocks.network_inputs().items()}
    inputs["noise"] *= np.full((16, 16), 0.3, "float32")
    mask = np.ones((16, 16), bool)
    mask[3] = False
    expected = RIMReconstructor(network, "paper", Priors()).reconstruct(mask=mask, **inputs)
    inputs["image"][:, ~mask], inputs["noise"][:, ~mask] = np.nan, np.inf
    history = tf.saved_model.load(str(tmp_path / "saved_model")).serve(**served(inputs))["history"]
    assert np.max(np.abs(history - expected.history)) < 1e-4 * expected.history.max()
