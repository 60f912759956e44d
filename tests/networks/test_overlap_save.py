import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from keras import ops
from scipy.signal import correlate

from rim_lensing.backend import gradient
from rim_lensing.networks.overlap_save import convolve, kernel_spectrum


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.mark.parametrize(
    "n, side, tile",
    [
        (50, 11, 32),  # the last tiles stand out of the image
        (44, 11, 32),  # two tiles exactly
        (9, 11, 32),  # an image smaller than the kernel
        (30, 5, 12),
        (17, 1, 8),
    ],
)
def test_convolves_like_scipy(n, side, tile):
    images, kernel = drawn(2, n, n, 3), drawn(side, side, 3, 4, seed=1)
    result = ops.convert_to_numpy(convolve(images, kernel_spectrum(kernel, tile), side))
    assert result.shape == (2, n, n, 4)
    for i in range(2):
        for o in range(4):
            one_by_one = (correlate(images[i, ..., c], kernel[..., c, o], "same") for c in range(3))
            # scipy's "same" is the shape of the first argument, whatever the kernel's.
            np.testing.assert_allclose(result[i, ..., o], sum(one_by_one), atol=2e-4)


def test_spectrum_is_the_kernels():
    kernel = drawn(5, 5, 2, 3)
    real, difference, total = ops.convert_to_numpy(kernel_spectrum(kernel, 16))
    padded = np.zeros((16, 16, 2, 3))
    padded[:5, :5] = kernel
    expected = np.conj(scipy.fft.rfft2(padded, axes=(0, 1))).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(real, expected.real, atol=1e-4)
    np.testing.assert_allclose(difference, expected.imag - expected.real, atol=1e-4)
    np.testing.assert_allclose(total, expected.imag + expected.real, atol=1e-4)


def test_gradients_are_those_of_the_direct_convolution():
    """Of the sum of y * (x * k), with respect to images and kernel."""
    images, kernel, weights = drawn(1, 26, 26, 2), drawn(11, 11, 2, 3, seed=1), drawn(1, 26, 26, 3)

    def in_tiles(images, kernel):
        return ops.sum(weights * convolve(images, kernel_spectrum(kernel), 11))

    def direct(images, kernel):
        return ops.sum(weights * ops.conv(images, kernel, 1, "same"))

    for argument, call in (
        (images, lambda function, x: function(x, kernel)),
        (kernel, lambda function, x: function(images, x)),
    ):
        found, expected = (
            ops.convert_to_numpy(gradient(partial(call, function), argument))
            for function in (in_tiles, direct)
        )
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_benchmark_compares_the_two(capsys, monkeypatch):
    benchmark = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "large_kernels.py"))
    shapes = {"small": (2, 16, 3, 4, 9)}
    monkeypatch.setitem(benchmark["main"].__globals__, "CONVOLUTIONS", shapes)
    assert benchmark["main"](["--repeats", "1"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert row[0] == "| small: 2 x 16 x 16, 3 to 4, 9 x 9"
    direct, in_tiles, ratio = map(float, row[1:4])
    assert ratio == pytest.approx(direct / in_tiles, rel=0.3, abs=0.1)
    assert float(row[5].strip(" |")) < 1e-5
    with pytest.raises(ValueError, match="--repeats must be positive"):
        benchmark["main"](["--repeats", "0"])
