"""Where the RIM begins, against dense linear algebra."""

import keras
import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.inversion.regularization import regularization_matrix
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks import initial_source
from rim_lensing.networks.initial_source import BRIGHT, DARK, dark, inverted

IMAGE, SOURCE = PixelGrid(14, 0.2), PixelGrid(12, 0.15)
LENSES = np.array([[1.0, 0.1, -0.05, 0.02, 0.01, 0.03, 0.0], [0.7, 0, 0, 0, 0, 0, 0]], "float32")


def sigmoid(eta):
    return 1 / (1 + np.exp(-keras.ops.convert_to_numpy(eta).astype("float64")))


@pytest.fixture(scope="module")
def model():
    kernel = np.outer(*2 * [np.array([0.25, 0.5, 0.25], "float32")])[None]
    return ForwardModel(LENSES, kernel, IMAGE, SOURCE)


@pytest.fixture(scope="module")
def data(model):
    """Image and noise of two blobs of half the flux scale; a corner of the second is masked."""
    generator = np.random.default_rng(3)
    x, y = SOURCE.coordinates()
    blobs = 0.5 * np.exp(-((x - np.array([0.1, -0.2])[:, None, None]) ** 2 + y**2) / 0.1)
    noise = np.full((2, 14, 14), 0.02, "float32")
    image = keras.ops.convert_to_numpy(model.predict(blobs.astype("float32")))
    image = image + noise * generator.standard_normal(image.shape).astype("float32")
    noise[1, :5, :5], image[1, :5, :5] = np.inf, 0.0
    return image.astype("float32"), noise


def curvature(model, noise):
    ones = np.ones((2, 12, 12), "float32")
    return model.adjoint(model.predict(ones) / noise**2)


def gradient_prior():
    """Squared differences of neighbours, and of the outermost pixels and the darkness beyond."""
    step = np.eye(13, 12) - np.eye(13, 12, -1)
    one = step.T @ step
    return np.kron(one, np.eye(12)) + np.kron(np.eye(12), one)


def test_its_prior_is_that_of_the_linear_inversion():
    """And was before the linear inversion's took to it: the published weights began there."""
    found = regularization_matrix("gradient", 12).toarray()
    np.testing.assert_allclose(found, gradient_prior(), atol=1e-14)


def test_ends_at_the_semilinear_inversion(model, data, monkeypatch):
    monkeypatch.setattr(initial_source, "ITERATIONS", 200)
    monkeypatch.setattr(initial_source, "DARK", 1e-9)
    image, noise = data
    # A source that stays within the sigmoid's range, so that nothing is cut off.
    found = sigmoid(inverted(model, image + 0.2 * (noise < np.inf), noise, curvature(model, noise)))
    strength = initial_source.STRENGTH / SOURCE.pixel_scale**2
    for i, response in enumerate(model.as_matrix()):
        weight = 1 / noise[i].ravel() ** 2.0
        left = response.T @ (weight[:, None] * response) + strength * gradient_prior()
        bright = (image[i] + 0.2 * (noise[i] < np.inf)).ravel()
        expected = np.linalg.solve(left, response.T @ (weight * bright)).reshape(12, 12)
        np.testing.assert_allclose(found[i], np.clip(expected, 1e-9, BRIGHT), atol=1e-5)


def test_is_closer_to_the_truth_than_darkness(model, data):
    image, noise = data
    x, y = SOURCE.coordinates()
    truth = 0.5 * np.exp(-((x - np.array([0.1, -0.2])[:, None, None]) ** 2 + y**2) / 0.1)
    found = sigmoid(inverted(model, image, noise, curvature(model, noise)))
    assert np.abs(found - truth).max() < 0.4 * np.abs(sigmoid(dark(2, 12)) - truth).max()
    assert found.min() >= 0.99 * DARK and found.max() <= BRIGHT + 1e-6


def test_an_image_without_signal_is_dark(model):
    nothing, noise = np.zeros((2, 14, 14), "float32"), np.full((2, 14, 14), 0.1, "float32")
    eta = keras.ops.convert_to_numpy(inverted(model, nothing, noise, curvature(model, noise)))
    np.testing.assert_allclose(eta, keras.ops.convert_to_numpy(dark(2, 12)), rtol=1e-5)
