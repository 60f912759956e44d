"""Lens parameters: conversions against lenstronomy's, accepted forms, and refusals."""

import numpy as np
import pytest
from lenstronomy.Util import param_util

from rim_lensing.lensing.lens_parameters import (
    MAX_ELLIPTICITY,
    PARAMETER_NAMES,
    LensParameters,
    as_lens_array,
    axis_ratio_from_ellipticity,
    ellipticity_from_axis_ratio,
    from_paper_parameters,
    to_paper_parameters,
)

ROW = [1.2, 0.1, -0.05, 0.02, 0.03, 0.04, -0.06]


@pytest.mark.parametrize("q", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("phi", [-1.2, 0.0, 0.4, 1.5])
def test_ellipticity_against_lenstronomy(q, phi):
    e1, e2 = ellipticity_from_axis_ratio(q, phi)
    np.testing.assert_allclose((e1, e2), param_util.phi_q2_ellipticity(phi, q), atol=1e-14)
    phi_back, q_back = param_util.ellipticity2phi_q(e1, e2)
    np.testing.assert_allclose(axis_ratio_from_ellipticity(e1, e2), (q_back, phi_back), atol=1e-12)


def test_paper_parameters():
    # q = 1 - 0.5, major axis at 30 degrees; shear of 0.1 that stretches along 60 degrees.
    epsilon = 0.5 * np.cos(np.pi / 6), 0.5 * np.sin(np.pi / 6)
    gamma = 0.1 * np.cos(np.pi / 3), 0.1 * np.sin(np.pi / 3)
    ours = from_paper_parameters(1.1, *epsilon, 0.02, -0.03, *gamma)
    e1, e2 = param_util.phi_q2_ellipticity(np.pi / 6, 0.5)
    gamma1, gamma2 = param_util.shear_polar2cartesian(np.pi / 3, 0.1)
    np.testing.assert_allclose(ours, [1.1, e1, e2, 0.02, -0.03, gamma1, gamma2], atol=1e-12)
    opposite = from_paper_parameters(1.1, *np.negative(epsilon), 0.02, -0.03, *np.negative(gamma))
    np.testing.assert_allclose(opposite, ours, atol=1e-12)


def test_paper_parameters_round_trip():
    generator = np.random.default_rng(1)
    lens = generator.uniform(-0.4, 0.4, (50, 7))
    lens[:, 0] += 1
    lens[0, 1:] = 0
    paper = to_paper_parameters(lens)
    assert np.all(paper[:, 1] >= 0) and np.all(paper[:, 5] >= 0)
    np.testing.assert_allclose(from_paper_parameters(*paper.T), lens, atol=1e-12)


def test_order_of_the_columns():
    named = dict(zip(PARAMETER_NAMES, ROW, strict=True))
    np.testing.assert_array_equal(np.asarray(LensParameters(**named)), ROW)
    assert np.asarray(LensParameters(**named, slope=0.9)).tolist() == [*ROW, 0.9]
    assert LensParameters.from_array(ROW) == LensParameters(**named)
    assert LensParameters.from_array([[*ROW, 0.9]]) == LensParameters(**named, slope=0.9)


@pytest.mark.parametrize(
    "lens",
    [
        LensParameters(*ROW),
        dict(zip(PARAMETER_NAMES, ROW, strict=True)),
        ROW,
        np.array([ROW]),
        [LensParameters(*ROW)],
    ],
    ids=["LensParameters", "dict", "row", "array", "list"],
)
def test_accepted_forms(lens):
    array = as_lens_array(lens, batch=None if isinstance(lens, np.ndarray) else 3)
    assert array.dtype == "float32"
    assert array.shape == ((1, 7) if isinstance(lens, np.ndarray) else (3, 7))
    np.testing.assert_array_equal(array, np.broadcast_to(np.float32(ROW), array.shape))


def test_a_list_with_one_slope_gives_all_a_slope():
    array = as_lens_array([LensParameters(1.0), LensParameters(1.5, slope=0.8)])
    np.testing.assert_allclose(array[:, [0, 7]], [[1.0, 1.0], [1.5, 0.8]], rtol=1e-7)


def test_a_slope_that_is_named_is_a_parameter():
    assert as_lens_array({"theta_E": 1.5, "slope": 1.0}).tolist() == [[1.5, *[0] * 6, 1]]
    assert as_lens_array([LensParameters(1.5), {"theta_E": 1, "slope": 1}]).shape == (2, 8)
    assert as_lens_array(LensParameters(1.5, slope=1.0)).shape == (1, 7)


@pytest.mark.parametrize("start", [[1.2, 0.1], {"theta_e": 1}, "1.2", [np.nan, *ROW[1:]]])
def test_an_argument_of_another_name_is_called_by_it(start):
    with pytest.raises(ValueError, match="`start` must"):
        as_lens_array(start, name="start")


def test_unnamed_parameters_are_zero():
    assert as_lens_array({"theta_E": 1.5}).tolist() == [[1.5, 0, 0, 0, 0, 0, 0]]
    batch = as_lens_array([{"theta_E": 1.5}, {"theta_E": 1.0, "e2": 0.25}])
    assert batch.tolist() == [[1.5, 0, 0, 0, 0, 0, 0], [1, 0, 0.25, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        ({"theta_e": 1.0}, r"`lens` must name theta_E.*Received: \['theta_e'\]"),
        ("theta_E=1.2", r"`lens` must be LensParameters, a dictionary.*Received: 'theta_E=1.2'"),
        (object(), r"`lens` must be LensParameters, a dictionary.*Received: <object"),
        ({"theta_E": 1.0, "q": 0.5}, r"may name \['e1'.*Received: \['q', 'theta_E'\]"),
        ([{"theta_E": 1.0}, {"q": 0.5}], r"`lens` must name theta_E.*Received: \['q'\]"),
        ([{"theta_E": 1.0}, 1.0], r"`lens` must name theta_E.*Received: 1.0"),
        (ROW[:6], r"`lens` must have 7 numbers.*gamma2.*Received: shape \(6,\)"),
        (np.ones((2, 2, 7)), r"Received: shape \(2, 2, 7\)"),
        ({"theta_E": None}, "`theta_E` must be a finite number. Received: None"),
        ({"theta_E": 1.0, "e1": np.nan}, "`e1` must be a finite number. Received: nan"),
        ({"theta_E": [1.0, 1.2]}, r"`theta_E` must be a finite number. Received: \[1.0, 1.2\]"),
        ([[np.nan, *ROW[1:]]], "`lens` must be finite.*Received: .*nan"),
        ([-1.0, *ROW[1:]], "`theta_E` must not be negative.*Received: theta_E=-1"),
        ([1.0, 0.7, 0.7, 0, 0, 0, 0], f"at most {MAX_ELLIPTICITY}.*Received: .e.=0.9899"),
        ([*ROW, 2.0], "`slope`.*between 0 and 2.*Received: slope=.2.0"),
        ([*ROW, 0.0], "`slope`.*between 0 and 2.*Received: slope=.0.0"),
    ],
)
def test_refusals(lens, message):
    with pytest.raises(ValueError, match=message):
        as_lens_array(lens)


def test_wrong_batch_is_refused():
    with pytest.raises(ValueError, match="`lens` must describe one system or all 3.*2 systems"):
        as_lens_array(np.array([ROW, ROW]), batch=3)


@pytest.mark.parametrize("array", [ROW[:3], [*ROW, 1.0, 1.0], [ROW, ROW], 1.0])
def test_from_array_takes_one_row(array):
    with pytest.raises(ValueError, match="`lens` must be one row of 7.*Received: shape"):
        LensParameters.from_array(array)


@pytest.mark.parametrize("axis_ratio", [0.0, -0.5, 1.01, np.nan])
def test_axis_ratio_is_checked(axis_ratio):
    with pytest.raises(ValueError, match=r"`axis_ratio` must lie in \(0, 1\].*Received"):
        ellipticity_from_axis_ratio(axis_ratio, 0.0)


@pytest.mark.parametrize("e1", [1.0, -1.2, np.nan])
def test_ellipticity_is_checked(e1):
    with pytest.raises(ValueError, match="must be below 1.*Received"):
        axis_ratio_from_ellipticity(e1, 0.0)
