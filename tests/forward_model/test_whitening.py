"""Correlated noise in the likelihood against dense algebra."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import cholesky, solve_triangular

from rim_lensing.forward_model.whitening import REACH, SMALLEST_POWER, positive_definite, whitening

SIDE = 24


def drizzled() -> np.ndarray:
    """Return the correlation of pixels that share much of what was resampled."""
    return np.array([[0.15, 0.35, 0.15], [0.35, 1.0, 0.35], [0.15, 0.35, 0.15]])


def tilted() -> np.ndarray:
    """Return the correlation of noise behind a kernel that has no symmetry."""
    kernel = np.array([[0.0, 0.2, 0.1], [0.3, 1.0, 0.1], [0.0, 0.1, 0.0]])
    spectrum = np.abs(np.fft.fft2(kernel, (16, 16))) ** 2
    found = np.fft.fftshift(np.fft.ifft2(spectrum).real)[6:11, 6:11]
    return found / found[2, 2]


def mask() -> np.ndarray:
    """Return which pixels are used: without a neighbour, a corner, and some here and there."""
    row, column = np.mgrid[:SIDE, :SIDE]
    used = np.hypot(row - 11, column - 13) > 4
    used[19:, :5] = False
    return used & (np.random.default_rng(5).random(used.shape) > 0.08)


def covariance(correlation: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return C_uu."""
    correlation = positive_definite(correlation)
    row, column = np.nonzero(used)
    down, right = row[:, None] - row, column[:, None] - column
    reach = len(correlation) // 2
    near = (np.abs(down) <= reach) & (np.abs(right) <= reach)
    down, right = np.clip(down, -reach, reach), np.clip(right, -reach, reach)
    return np.where(near, correlation[reach + down, reach + right], 0.0)


@pytest.fixture(scope="module", params=["all pixels", "mask"])
def used(request):
    return np.ones((SIDE, SIDE), bool) if request.param == "all pixels" else mask()


@pytest.mark.parametrize("correlation", [drizzled(), tilted()], ids=["drizzled", "tilted"])
def test_chi2_and_determinant_are_those_of_dense_algebra(correlation, used):
    factor = cholesky(covariance(correlation, used), lower=True)
    white = np.random.default_rng(1).standard_normal((used.sum(), 200))
    noise = np.zeros((200, SIDE, SIDE))
    noise[:, used] = (factor @ white).T
    found = whitening(correlation, used)
    chi2 = np.sum(found.whiten(noise) ** 2, axis=(1, 2))
    exact = np.sum(white**2, axis=0)
    assert np.sqrt(np.mean((chi2 / exact - 1) ** 2)) < 1e-3
    log_det = 2 * np.sum(np.log(np.diag(factor)))
    # Predicting from less leaves more over: half the difference is the Kullback-Leibler divergence.
    assert 0 < found.log_det - log_det < 0.1


def test_smooth_residuals_too_have_the_chi2_of_dense_algebra(used):
    """Those of a wrong model, whose chi^2 a likelihood compares."""
    factor = cholesky(covariance(drizzled(), used), lower=True)
    row, column = np.mgrid[:SIDE, :SIDE]
    ring = np.exp(-(((np.hypot(row - 11, column - 12) - 7) / 2) ** 2)) * used
    exact = np.sum(solve_triangular(factor, ring[used], lower=True) ** 2)
    chi2 = np.sum(whitening(drizzled(), used).whiten(ring) ** 2)
    assert chi2 == pytest.approx(exact, rel=1e-2)
    assert chi2 < 0.5 * np.sum(ring**2)


def test_nothing_is_approximate_where_the_window_holds_all_pixels_before():
    """A strip of REACH rows in which the first pixels alone are used."""
    used = np.zeros((SIDE, SIDE), bool)
    used[4:8, 7 : 7 + REACH + 1] = True
    found = whitening(tilted(), used)
    dense = covariance(tilted(), used)
    matrix = found.matrix.toarray()[np.ix_(used.ravel(), used.ravel())]
    assert np.allclose(matrix.T @ matrix, np.linalg.inv(dense), atol=1e-12)
    assert found.log_det == pytest.approx(np.linalg.slogdet(dense)[1], abs=1e-12)


def test_masked_pixels_do_not_enter():
    used = mask()
    noise = np.random.default_rng(2).standard_normal((SIDE, SIDE))
    found = whitening(drizzled(), used)
    assert np.array_equal(found.whiten(noise), found.whiten(np.where(used, noise, 7.0)))
    assert np.all(found.whiten(noise)[~used] == 0)


def test_uncorrelated_noise_is_white():
    used = mask()
    noise = np.random.default_rng(2).standard_normal((SIDE, SIDE))
    found = whitening(np.pad([[1.0]], 3), used)
    assert np.array_equal(found.whiten(noise), np.where(used, noise, 0))
    assert found.log_det == 0


def test_the_order_of_the_pixels_does_not_matter(used):
    """Of the eight symmetries of the image chi^2 scatters by what the approximation leaves."""
    correlation = tilted()
    factor = cholesky(covariance(correlation, used), lower=True)
    noise = np.zeros((SIDE, SIDE))
    noise[used] = factor @ np.random.default_rng(3).standard_normal(used.sum())
    chi2 = []
    for turns in range(4):
        for flip in (slice(None), slice(None, None, -1)):
            turned = [np.rot90(each, turns)[:, flip] for each in (correlation, used, noise)]
            chi2.append(np.sum(whitening(*turned[:2]).whiten(turned[2]) ** 2))
    assert np.ptp(chi2) < 3e-3 * np.mean(chi2)
    assert np.std(chi2) < 1e-3 * np.mean(chi2)


def test_a_correlation_that_is_none_gets_one_power_nowhere_below_the_least():
    """What is measured may have a negative power: pixels averaged two by two, and chance."""
    box = np.outer([0.5, 1.0, 0.5], [0.5, 1.0, 0.5])
    box[0, 0] = box[2, 2] = 0.4
    lifted = positive_definite(box)
    power = np.fft.fft2(np.fft.ifftshift(np.pad(lifted, 22)[:-1, :-1])).real
    assert lifted.shape == (21, 21)
    assert lifted[10, 10] == 1
    assert power.min() > 0.8 * SMALLEST_POWER
    assert np.abs(lifted[9:12, 9:12] - box).max() < 0.06
    assert np.array_equal(positive_definite(drizzled())[9:12, 9:12], drizzled())


_GRAPHS = """
import numpy as np
from keras import ops
from rim_lensing.backend import compiled, gradient, value_and_gradient
from rim_lensing.forward_model.pixel_noise import PixelNoise
from rim_lensing.forward_model.whitening import whitening
import sys

with np.load(sys.argv[1]) as file:
    used, correlation, x, rms = (file[name] for name in ("used", "correlation", "x", "rms"))
weights = np.stack([whitening(correlation, each).weights for each in used])

def half(x, rms, weights):
    return 0.5 * ops.sum(PixelNoise(rms, {"weights": weights}).normalised(x) ** 2)

def all_of_it(x, rms, weights):
    first = lambda x: gradient(lambda y: half(y, rms, weights), x)
    second = gradient(lambda y: ops.sum(first(y) ** 2), x)
    noise = PixelNoise(rms, {"weights": weights})
    return noise.normalised(x), noise.weighted(x), first(x), second

found = [ops.convert_to_numpy(each) for each in compiled(all_of_it)(x, rms, weights)]
np.savez(sys.argv[2], *found)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_graphs_and_their_gradients_are_those_of_the_matrix(tmp_path, backend):
    """The gradient of half chi^2 is C_N^-1 r, and that of its square's sum 2 C_N^-1 C_N^-1 r."""
    generator = np.random.default_rng(4)
    used = np.stack([mask(), np.ones((SIDE, SIDE), bool)])
    rms = np.where(used, generator.uniform(0.5, 2.0, used.shape), np.inf).astype("float32")
    x = generator.standard_normal(used.shape).astype("float32")
    given = tmp_path / "given.npz"
    np.savez(given, used=used, correlation=tilted(), x=x, rms=rms)
    subprocess.run(
        [sys.executable, "-c", _GRAPHS, given, tmp_path / "found.npz"],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    with np.load(tmp_path / "found.npz") as file:
        normalised, weighted, first, second = (file[name] for name in file)
    for i, each in enumerate(used):
        matrix = whitening(tilted(), each).matrix.toarray() / rms[i].ravel()
        inverse, values = matrix.T @ matrix, x[i].ravel()
        close = {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(normalised[i].ravel(), matrix @ values, **close)
        np.testing.assert_allclose(weighted[i].ravel(), inverse @ values, **close)
        np.testing.assert_allclose(first[i].ravel(), inverse @ values, **close)
        np.testing.assert_allclose(second[i].ravel(), 2 * inverse @ inverse @ values, **close)
