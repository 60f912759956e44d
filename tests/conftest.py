"""Quiet TensorFlow, and a small untrained model in a folder as the zoo has them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Return a function that writes an untrained model of a preset, and returns its folder."""
    import keras

    from rim_lensing import zoo
    from rim_lensing.networks.presets import get_preset
    from rim_lensing.networks.rim import RIM
    from rim_lensing.simulation.priors import Priors

    def write(preset: str, name: str = "untrained"):
        folder = tmp_path_factory.mktemp("zoo") / name
        folder.mkdir()
        keras.utils.set_random_seed(3)
        network = RIM(get_preset(preset))
        network.build()
        network.save_weights(folder / zoo.WEIGHTS)
        zoo.write_config(folder, network.config, Priors(psf_sigma=(0.0, 0.5)))
        facts = {"description": f"{preset}, untrained", "parameters": network.count_params()}
        zoo.write_metadata(folder, facts)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_folder(model_folder):
    """An untrained tiny16; not to be changed."""
    return model_folder("tiny16")


@pytest.fixture(scope="session")
def tiny_mocks():
    """Four mock systems on tiny16's grids."""
    import numpy as np

    from rim_lensing.networks.presets import get_preset
    from rim_lensing.simulation.mock_observations import MockSimulator
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.simulation.procedural import draw_procedural_galaxies

    simulator = MockSimulator(draw_procedural_galaxies(4, 1), Priors(), get_preset("tiny16"))
    return simulator.draw(np.random.default_rng(1), 4)
