import csv
import json
import os
import runpy
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from rim_lensing.galaxies.galaxy_file import Galaxies, read_galaxies, write_galaxy_file
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.publishing import publishing, whole_folders
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.training_data import TrainingData
from rim_lensing.training.rim_training import Recipe, train_rim
from rim_lensing.zoo import zoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are published under TensorFlow", allow_module_level=True)

import tensorflow as tf

TRAIN = Path(__file__).parents[2] / "train"
SYSTEMS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished training run of two steps, with its last checkpoint."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    network = RIM(get_preset("tiny16"))
    network.build()
    recipe = Recipe(steps=2, batch=2, steps_per_epoch=1, learning_rate=1e-3)
    simulator = MockSimulator(draw_procedural_galaxies(3, 5), Priors(), network.config)
    train_rim(
        network,
        recipe,
        TrainingData(simulator, recipe.batch, recipe.steps_per_epoch, recipe.seed),
        [simulator.draw(np.random.default_rng(0), 4)],
        {
            "preset": "tiny16",
            "galaxies": None,
            "training_galaxies": 3,
            "initial_weights": None,
            "priors": Priors().to_dict(),
        },
        directory,
    )
    return directory


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """A galaxy file with three galaxies to validate on."""
    path = tmp_path_factory.mktemp("galaxies") / "galaxies.h5"
    stamps = draw_procedural_galaxies(5, 8, side=32)
    train, validation = (
        Galaxies(part, tuple(f"{kind}{i}" for i in range(len(part))), (kind,) * len(part))
        for kind, part in (("train", stamps[:2]), ("validation", stamps[2:]))
    )
    return write_galaxy_file(path, train, validation, seed=0, made_by="a test")


@pytest.fixture(scope="module")
def published(run, galaxies, tmp_path_factory):
    output = tmp_path_factory.mktemp("published") / "zoo"
    return publishing.publish(run, "rim_test", galaxies, systems=SYSTEMS, output=output)


def measurements(folder):
    return json.loads((folder / publishing.METRICS).read_text())


def test_folder_is_complete(published):
    zoo.verify(published)
    assert {path.name for path in published.iterdir()} == {
        *("README.md", "config.json", "golden.npz", "metadata.json", "metrics.json"),
        *("pictures", "rim.weights.h5", "saved_model"),
    }
    assert {path.name for path in (published / "pictures").iterdir()} == {
        *("best.png", "median.png", "worst.png", "learning_curve.png")
    }
    assert [path.name for path in published.parent.iterdir()] == ["rim_test"]


def test_metadata(published):
    metadata = zoo.read_metadata(published)
    assert metadata["training"]["steps"] == 2
    assert metadata["training"]["seed"] == 0
    assert metadata["training"]["finished"]
    assert metadata["versions"]["keras"] == keras.__version__
    assert metadata["parameters"] == zoo.load_pretrained(published).network.count_params()
    assert zoo.find_pretrained(published).description == metadata["description"]


def test_weights_are_those_of_the_run(run, published):
    trained = RIM(get_preset("tiny16"))
    trained.build()
    trained.load_weights(run / "rim.weights.h5")
    for ours, theirs in zip(
        zoo.load_pretrained(published).network.get_weights(), trained.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_golden_pair_is_reproduced(published):
    with np.load(published / "golden.npz") as pair:
        inputs = {name: pair[name] for name in ("image", "noise", "psf", "lens")}
        source = zoo.load_pretrained(published).reconstruct(**inputs).source
        np.testing.assert_allclose(source, pair["source"], rtol=1e-4)


def test_measured_on_the_file_and_on_procedural_galaxies(published):
    real, procedural = measurements(published)
    assert (real["galaxies"], procedural["galaxies"]) == ("galaxies.h5", "procedural")
    assert real["distinct_galaxies"] == 3
    assert procedural["distinct_galaxies"] == SYSTEMS
    for content in (real, procedural):
        assert content["systems"] == content["summary"]["all"]["systems"] == SYSTEMS
        assert content["standard_errors"]["all"]["median_rms_error"] > 0
        for kind in ("noise", "magnification"):
            bins = [values for label, values in content["summary"].items() if kind in label]
            assert sum(values["systems"] for values in bins) == SYSTEMS


def test_card_has_the_numbers(published):
    card = (published / "README.md").read_text()
    for content in measurements(published):
        assert f"{content['summary']['all']['median_rms_error']:.2%} ±" in card
    assert "--galaxies galaxies.h5 --systems 6\n" in card
    assert str(published) not in card
    found = measurements(published)[0]["summary"]["all"]
    assert f"| below 0.5% | {found['median_rms_error']:.2%} |" in card
    assert f"| 3% | {found['median_abs_flux_error']:.2%} |" in card
    assert f"one half up to k = {found['coherence_reach']} |" in card


def test_card_says_what_the_galaxies_of_the_training_are(published, galaxies, tmp_path):
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    facts = zoo.read_metadata(folder)
    assert "galaxy_kinds" not in facts["training"]
    facts["training"] |= {"galaxies": galaxies.name, "galaxies_sha256": zoo.sha256(galaxies)}
    del facts["files"]
    zoo.write_metadata(folder, facts)
    publishing.update_card(folder, galaxies, systems=2)
    kinds = Counter(read_galaxies(galaxies, "train").kinds)
    assert zoo.read_metadata(folder)["training"]["galaxy_kinds"] == kinds
    text = ", ".join(f"{count} of {kind}" for kind, count in kinds.most_common())
    assert f"{kinds.total()} pictures in that split: {text}" in (folder / "README.md").read_text()


def test_evaluate_measures_the_same_numbers(published, galaxies, capsys):
    program = runpy.run_path(str(TRAIN / "evaluate.py"))
    assert program["main"]([str(published), "--galaxies", str(galaxies), "--systems", "6"]) == 0
    before, after = capsys.readouterr().out.split("published:")
    rows = [line for line in before.splitlines() if line.startswith("|")]
    assert rows == [line for line in after.splitlines() if line.startswith("|")]


def test_card_says_by_what_the_model_was_trained(published, run):
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    training = zoo.read_metadata(published)["training"]
    assert training["machines"] == [rows[0]["machine"]]
    assert training["git_commits"] == [rows[0]["commit"]] * bool(rows[0]["commit"])
    assert f"| trained with | {rows[0]['machine']}" in (published / "README.md").read_text()


def test_measurements_on_galaxies_are_not_lost_unasked(published, tmp_path):
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    before = (folder / "README.md").read_bytes()
    with pytest.raises(ValueError, match="galaxies.h5, which would be lost: give that file"):
        publishing.update_card(folder, systems=2)
    with pytest.raises(ValueError, match="galaxies.h5, which would be lost: give that file"):
        publishing.update_card(folder, galaxies=tmp_path / "others.h5", systems=2)
    with pytest.raises(ValueError, match="`systems` must be from 1"):
        publishing.update_card(folder, systems=0)
    assert (folder / "README.md").read_bytes() == before


def test_card_is_made_anew_of_more_systems(published, galaxies, tmp_path, capsys):
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    kept = ["rim.weights.h5", "golden.npz", "config.json", "pictures/learning_curve.png"]
    before = {name: (folder / name).read_bytes() for name in kept}
    program = runpy.run_path(str(TRAIN / "evaluate.py"))
    options = ["--galaxies", str(galaxies), "--systems", "4", "--update-card"]
    assert program["main"]([str(folder), *options]) == 0
    zoo.verify(folder)
    assert {name: (folder / name).read_bytes() for name in kept} == before
    assert [content["systems"] for content in measurements(folder)] == [4, 4]
    card = (folder / "README.md").read_text()
    assert card in capsys.readouterr().out
    assert "--galaxies galaxies.h5 --systems 4\n" in card and "--systems 6" not in card
    facts = zoo.read_metadata(folder)
    assert facts["training"] == zoo.read_metadata(published)["training"]
    assert [path.name for path in tmp_path.iterdir()] == ["rim_test"]
    with pytest.raises(ValueError, match="--update-card: the card is about the model's own grid"):
        program["main"]([str(folder), "--update-card", "--image-grid", "32", "0.15"])


def test_card_of_a_damaged_model_is_left_alone(published, tmp_path):
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    (folder / "golden.npz").write_bytes(b"damaged")
    before = (folder / "README.md").read_bytes()
    with pytest.raises(ValueError, match="golden.npz"):
        publishing.update_card(folder, systems=2)
    assert (folder / "README.md").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rim_test"]


def test_saved_model_and_card_are_made_anew(published, tmp_path):
    """Of what an older version wrote: one function, another card."""
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    shutil.rmtree(folder / "saved_model")
    old = tf.Module()
    old.serve = tf.function(lambda image: image, [tf.TensorSpec((None, 16, 16), tf.float32)])
    tf.saved_model.save(old, str(folder / "saved_model"))
    (folder / "saved_model" / "assets" / "old").write_text("of before")
    (folder / "README.md").write_text("an older text")
    facts = zoo.read_metadata(folder)
    del facts["files"]
    zoo.write_metadata(folder, facts)
    kept = ["rim.weights.h5", "golden.npz", "config.json", "metrics.json", "pictures/best.png"]
    before = {name: (folder / name).read_bytes() for name in kept}
    program = runpy.run_path(str(TRAIN / "export.py"))
    assert program["main"]([str(folder)]) == 0
    zoo.verify(folder)
    assert {name: (folder / name).read_bytes() for name in kept} == before
    assert (folder / "README.md").read_bytes() == (published / "README.md").read_bytes()
    assert not (folder / "saved_model" / "assets" / "old").exists()
    again = zoo.read_metadata(folder)
    assert again["exported"]["versions"]["tensorflow"] == tf.__version__
    assert {key: again[key] for key in facts} == facts
    pair = np.load(folder / "golden.npz")
    inputs = [pair[name] for name in ("image", "noise", "psf", "lens")]
    source = tf.saved_model.load(str(folder / "saved_model")).serve(*inputs)["source"]
    assert np.max(np.abs(source - pair["source"])) < 1e-5 * pair["source"].max()
    assert [path.name for path in tmp_path.iterdir()] == ["rim_test"]


@pytest.fixture
def quickly(monkeypatch):
    """Leave out what other tests look at."""
    parts = replace(
        publishing._PARTS["rim"],
        export=lambda model, directory: None,
        draw_pictures=lambda model, evaluations: {},
    )
    monkeypatch.setitem(publishing._PARTS, "rim", parts)
    monkeypatch.setattr(publishing, "write_golden", lambda *arguments: None)


def test_checkpoint_of_an_unfinished_run(run, tmp_path, quickly):
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("run.json", "log.csv", "checkpoint.weights.h5"):
        (unfinished / name).write_bytes((run / name).read_bytes())
    with h5py.File(unfinished / "checkpoint.weights.h5", "a") as file:
        file.attrs["epochs_done"] = 1
    program = runpy.run_path(str(TRAIN / "publish.py"))
    arguments = [str(unfinished), "--name", "rim_early", "--output", str(tmp_path / "zoo")]
    with pytest.raises(FileNotFoundError, match="--checkpoint"):
        program["main"](arguments)
    assert program["main"]([*arguments, "--checkpoint", "--systems", "3"]) == 0
    folder = tmp_path / "zoo" / "rim_early"
    assert not zoo.read_metadata(folder)["training"]["finished"]
    assert zoo.read_metadata(folder)["training"]["steps"] == 1
    assert "unfinished" in (folder / "README.md").read_text()


def run_with(run, directory, **changes):
    """Copy a run, its description changed."""
    shutil.copytree(run, directory)
    description = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(description | changes))
    return directory


def test_what_a_run_may_have_seen_is_no_measurement(run, galaxies, tmp_path, monkeypatch):
    monkeypatch.setattr("rim_lensing.publishing.publishing.write_golden", None)
    options = {"output": tmp_path / "zoo", "systems": 2}
    other_file = run_with(run, tmp_path / "other", galaxies_sha256="5c3b602524b7a13e")
    with pytest.raises(ValueError, match="trained on a file with another content.*galaxies.h5"):
        publishing.publish(other_file, "rim_b", galaxies, **options)
    priors = Priors().on_field(0.5).to_dict()
    small_field = run_with(run, tmp_path / "small", priors=priors)
    with pytest.raises(ValueError, match="others, as with --field"):
        publishing.publish(small_field, "rim_b", **options)
    assert not (tmp_path / "zoo").exists()


def test_weights_that_are_not_numbers_are_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    network = RIM(get_preset("tiny16"))
    network.build()
    network.set_weights([np.full_like(values, np.nan) for values in network.get_weights()])
    network.save_weights(tmp_path / "run" / "rim.weights.h5")
    with pytest.raises(ValueError, match="not finite"):
        publishing.publish(tmp_path / "run", "rim_b", output=tmp_path / "zoo")


def test_the_old_model_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr("os.rename", second_fails)
    with pytest.raises(OSError, match="no space"):
        whole_folders.move_into_place(tmp_path / "new", tmp_path / "old", overwrite=True)
    assert (tmp_path / "old" / "weights").read_text() == "old"
    assert not list(tmp_path.glob("*.old"))


def test_a_model_that_came_to_exist_meanwhile_is_not_replaced(tmp_path):
    for name in ("new", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    with pytest.raises(FileExistsError, match="has come to exist"):
        whole_folders.move_into_place(tmp_path / "new", tmp_path / "other", overwrite=False)
    assert (tmp_path / "other" / "weights").read_text() == "other"


def test_a_model_that_a_kill_left_aside_comes_back(published, run, tmp_path):
    shutil.copytree(published, tmp_path / ".rim_a.123.part.old")
    # Its successor, half written days ago; and one that another process writes now.
    for name, hours in ((".rim_a.abandoned.part", 48), (".rim_a.at_work.part", 2)):
        (tmp_path / name).mkdir()
        then = time.time() - 3600 * hours
        os.utime(tmp_path / name, (then, then))
    with pytest.raises(FileExistsError, match="--overwrite"):
        publishing.publish(run, "rim_a", systems=2, output=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"rim_a", ".rim_a.at_work.part"}
    zoo.verify(tmp_path / "rim_a")


def test_a_folder_that_a_kill_left_aside_is_measured(published, galaxies, tmp_path, monkeypatch):
    """Given by a relative path, which is no path within the zoo."""
    shutil.copytree(published, tmp_path / "zoo" / ".rim_a.123.part.old")
    monkeypatch.chdir(tmp_path)
    program = runpy.run_path(str(TRAIN / "evaluate.py"))
    program["main"](["zoo/rim_a", "--galaxies", str(galaxies), "--systems", "2", "--update-card"])
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["rim_a"]


def test_every_galaxy_file_behind_the_weights_counts(galaxies):
    this = zoo.sha256(galaxies)
    for training, same in (
        ({"galaxies": None, "galaxies_sha256": None}, True),
        ({"galaxies": "a.h5", "galaxies_sha256": this}, True),
        ({"galaxies": "a.h5", "galaxies_sha256": "other"}, False),
        ({"galaxies": "a.h5", "galaxies_sha256": None}, False),
        ({"galaxies_sha256": this, "initial_galaxies_sha256": [this]}, True),
        ({"galaxies_sha256": this, "initial_galaxies_sha256": ["other"]}, False),
        ({"galaxies_sha256": None, "initial_galaxies_sha256": ["unknown"]}, False),
        ({"galaxies_sha256": this, "initial_weights": "of_before.weights.h5"}, False),
    ):
        assert publishing.is_trained_on(training, galaxies) == same


def test_what_no_record_tells_is_not_called_another_file(published, galaxies, tmp_path):
    folder = tmp_path / "rim_test"
    shutil.copytree(published, folder)
    facts = zoo.read_metadata(folder)
    del facts["files"]
    facts["training"] |= {
        "galaxies": galaxies.name,
        "galaxies_sha256": zoo.sha256(galaxies),
        "initial_weights": "of_before.weights.h5",
    }
    zoo.write_metadata(folder, facts)
    with pytest.warns(UserWarning, match="has seen galaxies of which no record tells: make sure"):
        publishing.warn_of_other_galaxies(folder, galaxies)


def test_an_existing_model_is_replaced_only_when_told(
    run, published, tmp_path, quickly, monkeypatch
):
    folder = tmp_path / "rim_a"
    shutil.copytree(published, folder)
    before = zoo.read_metadata(folder)
    with pytest.raises(FileExistsError, match="--overwrite"):
        publishing.publish(run, "rim_a", systems=2, output=tmp_path)

    def fail(*arguments):
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setitem(publishing._PARTS, "rim", replace(publishing._PARTS["rim"], card=fail))
        with pytest.raises(RuntimeError, match="in the middle"):
            publishing.publish(run, "rim_a", systems=2, output=tmp_path, overwrite=True)
    assert zoo.read_metadata(folder) == before
    zoo.verify(folder)
    options = {"systems": 2, "output": tmp_path, "description": "second", "overwrite": True}
    publishing.publish(run, "rim_a", **options)
    assert zoo.find_pretrained(folder).description == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["rim_a"]


@pytest.mark.parametrize("name", ["../rim", "Rim", "rim-1", ""])
def test_names_are_plain(run, tmp_path, name):
    with pytest.raises(ValueError, match="`name` must be lower-case"):
        publishing.publish(run, name, output=tmp_path)


def test_too_many_systems_are_refused_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("rim_lensing.publishing.publishing.read_run", None)
    with pytest.raises(ValueError, match="`systems` must be from 1 to 2000. Received: 2001"):
        publishing.publish(run, "rim_tiny", output=tmp_path, systems=2001)
    assert not list(tmp_path.iterdir())


def test_a_run_that_does_not_tell_its_preset_is_named(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    described = json.loads((run / "run.json").read_text())
    del described["preset"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="cannot be read: KeyError\\('preset'\\)"):
        publishing.publish(tmp_path / "run", "rim_b", output=tmp_path / "zoo")


def test_damaged_run_is_named(run, tmp_path):
    (tmp_path / "run.json").write_text("{")
    (tmp_path / "log.csv").write_text("epoch\n1\n")
    (tmp_path / "rim.weights.h5").write_bytes((run / "rim.weights.h5").read_bytes())
    with pytest.raises(ValueError, match=f"The training run {tmp_path} cannot be read"):
        publishing.publish(tmp_path, "rim_b", output=tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
