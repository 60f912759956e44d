"""Quiet TensorFlow, small untrained models in folders as the zoo has them, mocks, and source models
that need no training."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What NUTS asks for; on one core it is not the default.
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Return a function that writes an untrained model of a preset, and returns its folder."""
    import keras

    from rim_lensing.networks.presets import get_preset
    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo import zoo

    def write(preset: str, name: str = "untrained"):
        folder = tmp_path_factory.mktemp("zoo") / name
        folder.mkdir()
        keras.utils.set_random_seed(3)
        network = RIM(get_preset(preset))
        network.build()
        config = zoo.ModelConfig("rim", network.config, Priors(psf_sigma=(0.0, 0.5)))
        network.save_weights(folder / config.weights)
        zoo.write_config(folder, config)
        facts = {"description": f"{preset}, untrained", "parameters": network.count_params()}
        zoo.write_metadata(folder, facts)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_folder(model_folder):
    """An untrained tiny16; not to be changed."""
    return model_folder("tiny16")


@pytest.fixture(scope="session")
def tiny_cnn_folder(tmp_path_factory):
    """An untrained lens CNN of tiny16, with factors for its standard deviations."""
    import keras

    from rim_lensing.networks.lens_cnn import LensCNN
    from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo import zoo

    folder = tmp_path_factory.mktemp("zoo") / "cnn_untrained"
    folder.mkdir()
    keras.utils.set_random_seed(5)
    network = LensCNN(get_lens_cnn_preset("tiny16"))
    network.build()
    factors = (0.5, 0.9, 0.9, 1.1, 1.1, 2.0, 2.0)
    config = zoo.ModelConfig("lens_cnn", network.config, Priors(psf_sigma=(0.0, 0.5)), factors)
    network.save_weights(folder / config.weights)
    zoo.write_config(folder, config)
    facts = {"description": "tiny16 CNN, untrained", "parameters": network.count_params()}
    zoo.write_metadata(folder, facts)
    return folder


@pytest.fixture(scope="session")
def few_development_galaxies():
    """Calibrate on three galaxies: drawing 250 takes most of a minute."""
    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.publishing import lens_cnn_calibration

    stamps = draw_procedural_galaxies(3, 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lens_cnn_calibration, "development_galaxies", lambda path: stamps)
        yield


@pytest.fixture(scope="session")
def tiny_mocks():
    """Four mock systems on tiny16's grids."""
    import numpy as np

    from rim_lensing.galaxies.procedural import draw_procedural_galaxies
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors

    simulator = MockSimulator(draw_procedural_galaxies(4, 1), Priors(), get_preset("tiny16"))
    return simulator.draw(np.random.default_rng(1), 4)


@pytest.fixture(scope="session")
def galaxy_file(tmp_path_factory):
    """A file of six galaxies, one of them to validate on; not to be changed."""
    from rim_lensing.galaxies.galaxy_file import Galaxies, write_galaxy_file
    from rim_lensing.galaxies.procedural import draw_procedural_galaxies

    stamps = draw_procedural_galaxies(6, 9, side=96)
    names = tuple(f"galaxy{i}" for i in range(6))
    train = Galaxies(stamps[:5], names[:5], ("cosmos",) * 5)
    validation = Galaxies(stamps[5:], names[5:], ("cosmos",))
    path = tmp_path_factory.mktemp("galaxies") / "galaxies.h5"
    return write_galaxy_file(path, train, validation, 0, "test")


_HOLD = """
import sys, time, h5py
with h5py.File(sys.argv[1], sys.argv[2]) as file:
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def hold():
    """Return a function: another process holds an HDF5 file open, for some seconds at most."""
    holders = []

    def start(path, mode: str, seconds: float = 60):
        command = [sys.executable, "-c", _HOLD, str(path), mode, str(seconds)]
        holders.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "held\n"

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


_SPEC = importlib.util.spec_from_file_location(
    "ridge_network", Path(__file__).with_name("ridge_network.py")
)


@pytest.fixture(scope="session")
def ridge():
    """The module `ridge_network`."""
    module = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def mock(ridge):
    """Return image, noise and psf of a lens."""
    return ridge.mock


@pytest.fixture(scope="session")
def ridge_model(ridge):
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor
    from rim_lensing.simulation.priors import Priors

    priors = Priors(theta_E=(0.3, 2.2), psf_sigma=(0.0, 0.5), min_magnification=2.0)
    return RIMReconstructor(ridge.RidgeNetwork(), "ridge", priors)


@pytest.fixture(scope="session")
def linear_model(ridge):
    from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

    return SemilinearInversion(geometry=ridge.CONFIG)
