"""Sums of components, short forms and given deflections: one array, one way to the deflections."""

import json

import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lensing.given_deflections import GIVEN, Deflections
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES, LensParameters
from rim_lensing.lensing.mass_components import EPL, SIE, SIS, Multipole, Shear
from rim_lensing.lensing.mass_model import (
    SHORT_FORMS,
    MassModel,
    as_lens,
    deflections_on_rays,
)
from rim_lensing.lensing.mass_profiles import deflection

GRID = PixelGrid(16, 0.2)
SCENE = MassModel(
    lens=EPL(1.2, 0.1, -0.2, 0.03, -0.02, 1.1),
    shear=Shear(0.03, -0.02),
    boxy=Multipole(4, 0.02, 0.01, 0.03, -0.02),
    perturber=SIS(0.07, 0.9, -0.4),
)


def test_names_and_values():
    assert SCENE.names[:2] == ("lens.theta_E", "lens.e1")
    assert SCENE.names[-3:] == ("perturber.theta_E", "perturber.x", "perturber.y")
    assert SCENE.values[-3:].tolist() == [0.07, 0.9, -0.4]
    assert SCENE.index("perturber.x") == SCENE.index("boxy.x") + 3
    assert SCENE.index("slope") == 5
    with pytest.raises(ValueError, match="more than one"):
        SCENE.index("x")
    with pytest.raises(ValueError, match=r"no parameter.*lens.theta_E"):
        SCENE.index("lens.mass")
    with pytest.raises(ValueError, match="dot"):
        MassModel(**{"a.b": SIS()})
    with pytest.raises(ValueError, match="at least one"):
        MassModel()


def test_the_form_does_not_depend_on_the_values():
    other = SCENE.with_values(SCENE.values + 0.01)
    assert other != SCENE and other.form == SCENE.form and hash(other.form) == hash(SCENE.form)
    np.testing.assert_allclose(other.values, SCENE.values + 0.01)
    assert MassModel(lens=Multipole(3)).form != MassModel(lens=Multipole(4)).form
    assert MassModel(a=SIS()).form != MassModel(b=SIS()).form


def test_a_sum_against_lenstronomy():
    model = LensModel(["EPL", "SHEAR", "MULTIPOLE", "SIS"])
    keywords = [
        {"theta_E": 1.2, "e1": 0.1, "e2": -0.2, "center_x": 0.03, "center_y": -0.02, "gamma": 2.1},
        {"gamma1": 0.03, "gamma2": -0.02},
        {
            "m": 4,
            "a_m": np.hypot(0.02, 0.01),
            "phi_m": np.arctan2(0.01, 0.02) / 4,
            "center_x": 0.03,
            "center_y": -0.02,
        },
        {"theta_E": 0.07, "center_x": 0.9, "center_y": -0.4},
    ]
    for s in (1, 3):
        x, y = GRID.coordinates(s)
        array, form = as_lens(SCENE)
        found = ops.convert_to_numpy(form.on_rays(array, GRID, s))
        assert found.shape == (1, 2, 16 * s, 16 * s) and found.dtype == "float32"
        np.testing.assert_allclose(found[0], model.alpha(x, y, keywords), atol=1e-5)


@pytest.mark.parametrize("columns", [7, 8])
def test_short_forms_are_mass_models(columns):
    row = np.array([[1.2, 0.1, -0.2, 0.03, -0.02, 0.04, 0.01, 1.3][:columns]], "float32")
    x, y = GRID.coordinates()
    expected = [ops.convert_to_numpy(each) for each in deflection(row, x[None], y[None])]
    found = ops.convert_to_numpy(deflections_on_rays(row, GRID))
    np.testing.assert_allclose(found[:, 0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], expected[1], atol=1e-6)
    assert SHORT_FORMS[columns].labels == (*PARAMETER_NAMES, "slope")[:columns]
    array, form = as_lens(LensParameters(*row[0].tolist()))
    assert form is SHORT_FORMS[columns]
    np.testing.assert_array_equal(array, row)
    assert form.with_values(row[0]).components["lens"].theta_E == pytest.approx(1.2)


def test_sie_and_shear_are_the_short_form():
    assert MassModel(lens=SIE(1.3), shear=Shear(0.1)).form == SHORT_FORMS[7]
    assert MassModel(lens=EPL(1.3), shear=Shear(0.1)).form != SHORT_FORMS[8]
    assert SCENE.labels == SCENE.names


@pytest.mark.parametrize("supersampling", [1, 2])
def test_given_deflections_equal_the_profiles_own(supersampling):
    array, form = as_lens(SCENE)
    maps = ops.convert_to_numpy(form.on_rays(array, GRID, supersampling))[0]
    given, read = as_lens(Deflections(*maps), batch=2)
    assert read is GIVEN and given.shape == (2, 2, 16 * supersampling, 16 * supersampling)
    source = np.random.default_rng(0).uniform(size=(2, 12, 12)).astype("float32")
    kernel, grid = np.ones((1, 1, 1), "float32"), PixelGrid(12, 0.1)
    own = form.on_rays(np.repeat(array, 2, axis=0), GRID, supersampling)
    images = [
        ops.convert_to_numpy(ForwardModel(rays, kernel, GRID, grid, supersampling).predict(source))
        for rays in (own, given)
    ]
    np.testing.assert_array_equal(*images)
    if supersampling > 1:
        # What needs one ray a pixel alone takes their mean.
        mean = maps.reshape(2, 16, 2, 16, 2).mean(axis=(2, 4))
        np.testing.assert_allclose(
            ops.convert_to_numpy(GIVEN.on_rays(given, GRID))[0], mean, atol=1e-6
        )
    with pytest.raises(ValueError, match=r"rays of the image.*Received: 16 x 16"):
        GIVEN.on_rays(np.zeros((1, 2, 16, 16)), GRID, 3)


def test_lenses_that_are_none_are_refused():
    other = MassModel(lens=SIE(), perturber=SIS())
    for lens, words in (
        ([SCENE, other], "same components"),
        ([SCENE, SCENE.values], "same components"),
        ([SCENE] * 3, "one system or all 2"),
        (Deflections(np.zeros((3, 8, 8)), np.zeros((3, 8, 8))), "one system or all 2"),
    ):
        with pytest.raises(ValueError, match=words):
            as_lens(lens, batch=2)
    with pytest.raises(ValueError, match="square maps"):
        Deflections(np.zeros((8, 8)), np.zeros((8, 9)))
    with pytest.raises(ValueError, match="finite"):
        Deflections(np.full((8, 8), np.nan), np.zeros((8, 8)))
    with pytest.raises(ValueError, match="on_rays"):
        deflections_on_rays(np.zeros((1, 11)), GRID)


def test_described_and_back():
    described = json.loads(json.dumps(SCENE.describe(SCENE.values)))
    assert described["boxy"]["kind"] == "Multipole" and described["boxy"]["m"] == 4
    assert MassModel.from_description(described) == SCENE
    with pytest.raises(ValueError, match="kind"):
        MassModel.from_description({"lens": {"kind": "SIX", "theta_E": 1.0}})
