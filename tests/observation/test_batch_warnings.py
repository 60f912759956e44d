"""A warning about a batch names few systems in its text, and has all of them."""

import ast
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import rim_lensing
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.chi2_warning import warn_of_chi2
from rim_lensing.reconstruction.training_range import warn_of_prediction, warn_outside_training
from rim_lensing.simulation.priors import Priors

BATCH = 25
BAD = np.arange(BATCH) % 5 != 2


def observed(**changes):
    image = np.zeros((BATCH, 16, 16))
    image[:, 6:9, 6:9] = 1.0
    arguments = {"image": image, "noise": 0.01, "psf": 0.1, "lens": np.zeros((BATCH, 8))}
    arguments["lens"][:, [0, 7]] = 1.0
    return check_observation(**arguments | changes, image_grid=PixelGrid(16, 0.3))


def steep():
    lens = np.zeros((BATCH, 8))
    lens[:, 0], lens[:, 7] = 1.0, np.where(BAD, 1.9, 1.0)
    observed(lens=lens)


def masked():
    mask = np.ones((BATCH, 16, 16), bool)
    mask[BAD, 6:9, 6:9] = False
    image = np.zeros((BATCH, 16, 16))
    image[:, 6:9, 6:9], image[:, 12:15, 12:15] = 1.0, 0.5
    observed(mask=mask, image=image)


def blurred():
    kernels = gaussian_on_pixels(np.where(BAD, 2.0, 0.2), 15)
    warn_outside_training(observed(psf=kernels, noise=0.05), Priors(psf_sigma=(0.0, 0.3)))


def predicted():
    lens, std = np.zeros((BATCH, 7)), np.full((BATCH, 7), 0.01)
    lens[:, 0] = np.where(BAD, 9.0, 1.0)
    warn_of_prediction(lens, std, Priors())


WARNED = {
    "slope": steep,
    "mask": masked,
    "training range": blurred,
    "prediction": predicted,
    "chi^2": lambda: warn_of_chi2(np.where(BAD, 5.0, 1.0)),
}


@pytest.mark.parametrize("name", WARNED)
def test_a_warning_has_all_of_its_systems(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNED[name]()
    (said,) = [one.message for one in caught if "in 20 of 25" in str(one.message)]
    assert isinstance(said, rim_lensing.SystemsWarning) and isinstance(said, UserWarning)
    assert said.systems == tuple(np.flatnonzero(BAD))
    assert "(index 0, 1, 3, 4, 5, 6, 8, 9, 10, 11, ...)" in str(said)
    again = pickle.loads(pickle.dumps(said))
    assert again.systems == said.systems and str(again) == str(said)


def test_every_warning_that_names_systems_has_them_all():
    for path in Path(rim_lensing.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "warnings.warn":
                continue
            names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
            assert "which_systems" not in names or "SystemsWarning" in names, path
