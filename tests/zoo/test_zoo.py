import json
import os
import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.observation.masks import Mask
from rim_lensing.zoo import zoo

SHIPPED = [model.name for model in zoo.list_pretrained()]
RIMS, CNNS = (
    [model.name for model in zoo.list_pretrained() if model.kind == kind] for kind in zoo.KINDS
)
NETWORK_INPUTS = ("image", "noise", "psf", "lens")


@pytest.fixture
def small_zoo(tiny_folder, tmp_path, monkeypatch):
    """A zoo of two models that may be damaged."""
    for name in ("rim_small", "rim_other"):
        shutil.copytree(tiny_folder, tmp_path / name)
    monkeypatch.setattr(zoo, "zoo_directory", lambda: tmp_path)
    return tmp_path


def golden(folder):
    with np.load(folder / "golden.npz") as file:
        return {name: file[name] for name in file}


def test_the_default_model_is_shipped():
    from rim_lensing.commands.results import DEFAULT_MODEL

    assert DEFAULT_MODEL in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_is_complete(name):
    folder = zoo.find_pretrained(name).directory
    zoo.verify(folder)
    listed = set(zoo.read_metadata(folder)["files"])
    weights = zoo.find_pretrained(name).weights.name
    assert {"config.json", weights, "golden.npz", "metrics.json", "README.md"} <= listed
    assert "saved_model/saved_model.pb" in listed
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == listed | {"metadata.json"}


@pytest.mark.parametrize("name", RIMS)
def test_shipped_rim_reproduces_its_golden_pair(name):
    model = zoo.load_pretrained(name)
    pair = golden(zoo.find_pretrained(name).directory)
    source = model.reconstruct(**{key: pair[key] for key in NETWORK_INPUTS}).source
    peak = pair["source"].max(axis=(1, 2), keepdims=True)
    assert np.max(np.abs(source - pair["source"]) / peak) < 1e-4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
@pytest.mark.parametrize("name", RIMS)
def test_shipped_saved_rim_reproduces_the_golden_pair(name):
    import tensorflow as tf

    folder = zoo.find_pretrained(name).directory
    pair = golden(folder)
    serve = tf.saved_model.load(str(folder / "saved_model")).serve
    source = serve(*(pair[key] for key in NETWORK_INPUTS))["source"]
    peak = pair["source"].max(axis=(1, 2), keepdims=True)
    assert np.max(np.abs(source - pair["source"]) / peak) < 1e-4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
@pytest.mark.parametrize("name", RIMS)
def test_shipped_saved_rim_takes_deflections_and_masks_as_the_model_does(name):
    """Half of the image is masked: what no used pixel sees has the floor of the curvature."""
    import tensorflow as tf

    folder = zoo.find_pretrained(name).directory
    pair, model = golden(folder), zoo.load_pretrained(name)
    mask = np.ones(pair["image"].shape[1:], bool)
    mask[: len(mask) // 2] = False
    given = {key: pair[key][:1] for key in NETWORK_INPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        source = model.reconstruct(**given, mask=Mask(mask, allow_hidden_arcs=True)).source
    given["noise"] = np.where(mask, given["noise"], np.inf).astype("float32")
    grid, rays = model.image_grid, model.network.config.supersampling
    given["lens"] = deflections_on_rays(given["lens"], grid, rays)
    serve = tf.saved_model.load(str(folder / "saved_model")).serve_deflections
    served = serve(*(given[key] for key in NETWORK_INPUTS))["source"]
    assert np.max(np.abs(served - source)) < 1e-4 * pair["source"].max()


@pytest.mark.parametrize("name", CNNS)
def test_shipped_lens_cnn_reproduces_its_golden_pair(name):
    pair = golden(zoo.find_pretrained(name).directory)
    lens, std = zoo.load_pretrained(name).predict(*(pair[key] for key in NETWORK_INPUTS[:3]))
    np.testing.assert_allclose(lens, pair["lens"], atol=1e-4)
    np.testing.assert_allclose(std, pair["std"], rtol=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
@pytest.mark.parametrize("name", CNNS)
def test_shipped_saved_lens_cnn_reproduces_the_golden_pair(name):
    import tensorflow as tf

    folder = zoo.find_pretrained(name).directory
    pair = golden(folder)
    serve = tf.saved_model.load(str(folder / "saved_model")).serve
    served = serve(*(pair[key] for key in NETWORK_INPUTS[:3]))
    np.testing.assert_allclose(served["lens"], pair["lens"], atol=1e-4)
    np.testing.assert_allclose(served["std"], pair["std"], rtol=1e-3)


def test_list_and_load(small_zoo, tiny_mocks):
    models = zoo.list_pretrained()
    assert [model.name for model in models] == ["rim_other", "rim_small"]
    assert models[0].image_grid.side == 16
    assert models[0].description == "tiny16, untrained"
    model = zoo.load_pretrained("rim_small")
    assert model.name == "rim_small"
    assert model.priors.psf_sigma == (0.0, 0.5)
    assert model.network.count_params() == models[0].parameters
    inputs = tiny_mocks.network_inputs()
    from_path = zoo.load_pretrained(small_zoo / "rim_other")
    np.testing.assert_array_equal(
        from_path.reconstruct(**inputs).source, model.reconstruct(**inputs).source
    )


def test_both_kinds_are_listed_and_loaded(small_zoo, tiny_cnn_folder, tiny_mocks):
    shutil.copytree(tiny_cnn_folder, small_zoo / "cnn_small")
    cnn, rim, _ = zoo.list_pretrained()
    assert (cnn.name, cnn.kind, rim.kind) == ("cnn_small", "lens_cnn", "rim")
    assert cnn.image_grid == rim.image_grid and cnn.source_grid is None
    model = zoo.load_pretrained("cnn_small")
    assert model.network.count_params() == cnn.parameters
    assert model.std_factors == (0.5, 0.9, 0.9, 1.1, 1.1, 2.0, 2.0)
    assert model.priors.psf_sigma == (0.0, 0.5)
    lens, std = model.predict(tiny_mocks.image, tiny_mocks.noise, tiny_mocks.psf)
    assert lens.shape == std.shape == (4, 7)


def test_what_a_killed_publication_left_is_no_model(small_zoo, tiny_folder):
    names = [model.name for model in zoo.list_pretrained()]
    shutil.copytree(tiny_folder, small_zoo / ".rim_new.123.part")
    assert [model.name for model in zoo.list_pretrained()] == names


def test_the_wrong_kind_is_named(tiny_folder, tiny_cnn_folder):
    message = "must be a RIM, which .*Received: cnn_untrained, a lens CNN, which predicts"
    with pytest.raises(ValueError, match=message):
        zoo.find_pretrained(tiny_cnn_folder, "rim")
    with pytest.raises(ValueError, match="must be a lens CNN.*Received: untrained, a RIM"):
        zoo.find_pretrained(tiny_folder, "lens_cnn")


@pytest.mark.parametrize("factors", [[1.0], [1.0] * 6 + [0.0], [1.0] * 6 + [float("nan")], None])
def test_factors_that_are_none_are_refused(tiny_cnn_folder, tmp_path, factors):
    content = json.loads((tiny_cnn_folder / zoo.CONFIG).read_text()) | {"std_factors": factors}
    (tmp_path / zoo.CONFIG).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{tmp_path / zoo.CONFIG} is damaged"):
        zoo.read_config(tmp_path)


@pytest.mark.parametrize("rows", [[[1.0] * 7], [[1.0] * 7, [2.0] * 6], [[1.0] * 7, [-1.0] * 7]])
def test_interval_factors_that_are_none_are_refused(tiny_cnn_folder, tmp_path, rows):
    content = json.loads((tiny_cnn_folder / zoo.CONFIG).read_text()) | {"interval_factors": rows}
    (tmp_path / zoo.CONFIG).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{tmp_path / zoo.CONFIG} is damaged"):
        zoo.read_config(tmp_path)


def test_unknown_name_gets_the_nearest_and_the_list(small_zoo):
    with pytest.raises(ValueError, match="mean 'rim_small'.*Models: rim_other, rim_small"):
        zoo.load_pretrained("rim_smal")


@pytest.mark.parametrize("name", [zoo.CONFIG, "rim.weights.h5", zoo.METADATA])
def test_missing_file_is_named(small_zoo, name):
    path = small_zoo / "rim_small" / name
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{path} is missing"):
        zoo.load_pretrained("rim_small")


@pytest.mark.parametrize("name", [zoo.CONFIG, "rim.weights.h5", zoo.METADATA])
def test_truncated_file_is_named(small_zoo, name):
    path = small_zoo / "rim_small" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=str(path)):
        zoo.load_pretrained("rim_small")


def test_changed_bit_is_found(small_zoo):
    path = small_zoo / "rim_small" / "rim.weights.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sha256 differs"):
        zoo.load_pretrained("rim_small")


def test_config_that_was_edited_is_refused(small_zoo):
    path = small_zoo / "rim_small" / zoo.CONFIG
    path.write_text(path.read_text().replace('"steps": 3', '"steps": 4'))
    with pytest.raises(ValueError, match=f"{path} is not the file that was published"):
        zoo.load_pretrained("rim_small")


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"kind": "cnn"}', '{"kind": "rim", "config": {"depth": 1}}']
)
def test_config_of_another_kind_is_refused(small_zoo, content):
    path = small_zoo / "rim_small" / zoo.CONFIG
    path.write_text(content)
    with pytest.raises(ValueError, match=str(path)):
        zoo.find_pretrained("rim_small")


def test_metadata_that_lists_nothing_is_refused(small_zoo):
    path = small_zoo / "rim_small" / zoo.METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {}}))
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        zoo.load_pretrained("rim_small")


def run_python(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_zoo_is_listed_without_keras():
    code = "import sys, rim_lensing as r; r.list_pretrained(); print('keras' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_weights_load_under_jax(tiny_folder, tiny_mocks, tmp_path):
    inputs = tiny_mocks.network_inputs()
    np.savez(tmp_path / "inputs.npz", **inputs)
    code = (
        "import sys, numpy as np, rim_lensing as r; folder, work = sys.argv[1:];"
        "inputs = dict(np.load(work + '/inputs.npz'));"
        "np.save(work + '/source.npy', r.load_pretrained(folder).reconstruct(**inputs).source);"
        "print('tensorflow' in sys.modules)"
    )
    assert run_python(code, tiny_folder, tmp_path, KERAS_BACKEND="jax").strip() == "False"
    expected = zoo.load_pretrained(tiny_folder).reconstruct(**inputs).source
    np.testing.assert_allclose(np.load(tmp_path / "source.npy"), expected, rtol=1e-3, atol=1e-5)
