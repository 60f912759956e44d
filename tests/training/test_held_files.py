"""Weights and checkpoints that another process holds open are not called damaged."""

import json
import runpy
import shutil
from argparse import Namespace
from pathlib import Path

import h5py
import pytest

from rim_lensing.files import hdf5_files
from rim_lensing.files.hdf5_files import FileHeldError
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.priors import Priors
from rim_lensing.training.finished_run import read_run
from rim_lensing.training.training_run import Recipe, TrainingRun
from rim_lensing.zoo.zoo import load_pretrained

TRAIN = Path(__file__).parents[2] / "train"


@pytest.fixture
def weights(tiny_folder, tmp_path):
    return shutil.copy(tiny_folder / "rim.weights.h5", tmp_path / "checkpoint.weights.h5")


@pytest.fixture
def rim():
    network = RIM(get_preset("tiny16"))
    network.build()
    return network


def resume(rim, weights):
    rim.compile(optimizer=Recipe().optimizer())
    TrainingRun(weights.parent, None, None).resume(rim)


def publish(rim, weights):
    recipe = {"steps": 1, "steps_per_epoch": 1}
    described = {"config": rim.config.to_dict(), "priors": Priors().to_dict(), "recipe": recipe}
    (weights.parent / "run.json").write_text(json.dumps(described))
    (weights.parent / "log.csv").write_text("epoch\n")
    read_run(weights.parent, from_checkpoint=True)


def start_from(rim, weights):
    command = runpy.run_path(str(TRAIN / "training_command.py"))
    command["load_initial_weights"](rim, Namespace(initial_weights=weights, preset="tiny16"))


@pytest.mark.parametrize("use", [resume, publish, start_from])
def test_weights_that_are_being_written_are_not_called_damaged(
    use, rim, weights, hold, monkeypatch
):
    with h5py.File(weights, "a") as file:
        file.attrs["epochs_done"] = 1
    monkeypatch.setattr(hdf5_files, "PATIENCE", 0.1)
    hold(weights, "a")
    with pytest.raises(FileHeldError, match=f"{weights} is being written by another process"):
        use(rim, weights)


def test_a_model_whose_weights_are_held_for_a_moment_is_loaded(tiny_folder, hold):
    hold(tiny_folder / "rim.weights.h5", "a", 1.0)
    # What h5py writes into a file that it opens is taken back when it closes it.
    hdf5_files.open_hdf5(tiny_folder / "rim.weights.h5").close()
    assert load_pretrained(tiny_folder).network.built
