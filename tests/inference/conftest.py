"""Source models that need no training, and mocks on their grids."""

import importlib.util
from pathlib import Path

import pytest

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
    from rim_lensing.inference.rim_reconstructor import RIMReconstructor
    from rim_lensing.simulation.priors import Priors

    priors = Priors(theta_E=(0.3, 2.2), psf_sigma=(0.0, 0.5), min_magnification=2.0)
    return RIMReconstructor(ridge.RidgeNetwork(), "ridge", priors)


@pytest.fixture(scope="session")
def linear_model(ridge):
    from rim_lensing.inference.semilinear_inversion import SemilinearInversion

    return SemilinearInversion(geometry=ridge.CONFIG)
