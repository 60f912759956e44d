"""One system as a least-squares problem: operators against loops, masks, bad input."""

import numpy as np
import pytest
from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.lensing.grids import PixelGrid


def test_the_three_forms_of_the_response_agree_with_loops(make_system, dense):
    system, generator = make_system(14, 11), np.random.default_rng(0)
    expected = dense.response(system)
    source, data = generator.standard_normal(121), generator.standard_normal(196)
    np.testing.assert_allclose(system.response().toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(system.apply(source), expected @ source, atol=1e-11)
    np.testing.assert_allclose(system.adjoint(data), expected.T @ data, atol=1e-11)


def test_predicts_what_the_forward_model_predicts(make_system):
    system = make_system(14, 11)
    lens = np.float32([[0.9, 0.12, -0.08, 0.03, -0.02, 0.03, 0.02]])
    model = ForwardModel(
        lens, system.psf[None].astype("float32"), PixelGrid(14, 4 / 14), PixelGrid(11, 2.4 / 11)
    )
    source = np.random.default_rng(1).uniform(size=(11, 11))
    expected = ops.convert_to_numpy(model.predict(source[None].astype("float32")))[0]
    np.testing.assert_allclose(system.predict(source.ravel()), expected.ravel(), atol=1e-5)


def test_without_a_source_are_the_data_that_it_leaves(make_system, dense):
    system, source = make_system(14, 11), np.random.default_rng(0).standard_normal(121)
    left = system.without(source)
    expected = system.data - dense.response(system) @ source
    np.testing.assert_allclose(left.data, expected, atol=1e-11)
    assert left.n_data == system.n_data and left is not system


def test_masked_pixels_have_no_weight_and_no_data(make_system):
    system = make_system(14, 11)
    masked = system.weight.reshape(14, 14) == 0
    assert masked.sum() == 12 and masked[:3, :4].all() and system.n_data == 196 - 12
    assert np.all(system.data[masked.ravel()] == 0) and np.isfinite(system.data).all()
    rms = 1 / system.weight[system.weight > 0]
    assert system.log_noise == pytest.approx(np.sum(np.log(rms)))


def test_the_far_wings_of_a_kernel_are_dropped(make_system):
    kernel = np.zeros((9, 9))
    kernel[4, 4], kernel[4, 6], kernel[0, 0] = 1.0, 1e-3, 1e-12
    system = make_system(14, 11)
    small = LinearSystem(system.lensing, kernel, np.ones((14, 14)), np.ones((14, 14)))
    assert small.psf.shape == (5, 5) and small.psf[2, 4] == 1e-3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image": np.ones((14, 13))}, "`image` and `noise` must be"),
        ({"noise": np.ones((13, 13))}, "`image` and `noise` must be"),
        ({"noise": np.zeros((14, 14))}, "`noise` must be positive"),
        ({"noise": np.full((14, 14), np.inf)}, "finite in at least one"),
        ({"noise": np.full((14, 14), np.nan)}, "`noise` must be positive"),
        ({"psf": np.ones((4, 4)) / 16}, "`psf` must have an odd number of pixels"),
        ({"psf": np.ones((15, 15)) / 225}, "`psf` must not be larger than the image"),
        ({"psf": np.ones((3, 5)) / 15}, r"`psf` must be \(k, k\)"),
        ({"lensing": np.ones((196, 120))}, r"`lensing` must be \(m\^2, n\^2\)"),
        ({"lensing": np.full((196, 121), np.nan)}, "`lensing` must be finite"),
        ({"image": np.full((14, 14), np.nan)}, "`image` must be finite in every used pixel"),
    ],
)
def test_refuses(make_system, changes, message):
    system, ones = make_system(14, 11), np.ones((14, 14))
    arguments = {"lensing": system.lensing, "psf": system.psf, "image": ones, "noise": ones}
    with pytest.raises(ValueError, match=message):
        LinearSystem(**arguments | changes)


def test_another_lens_behind_the_same_data(make_system):
    system, other = make_system(16, 16), make_system(16, 16, seed=5)
    system.response()
    again = system.with_lensing(other.lensing)
    expected = (system.blur() @ other.lensing).toarray() * system.weight[:, None]
    np.testing.assert_allclose(again.response().toarray(), expected, rtol=1e-12)
    source = np.random.default_rng(0).standard_normal(256)
    np.testing.assert_allclose(again.apply(source), expected @ source, atol=1e-9)
    assert system.lensing is not again.lensing
    with pytest.raises(ValueError, match="`lensing` must be"):
        system.with_lensing(other.lensing[:-1])
