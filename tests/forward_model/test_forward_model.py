"""The forward model: prediction, adjoint, likelihood, and its gradient by four routes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from scipy.signal import convolve

import rim_lensing
from rim_lensing.backend import compiled, gradient
from rim_lensing.forward_model.forward_model import ForwardModel, total_magnification
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lensing.grids import PixelGrid

IMAGE, SOURCE = PixelGrid(20, 0.2), PixelGrid(16, 0.1)
BATCH = 3


def system(
    supersampling: int = 1, columns: int = 7, dtype: str = "float32", oversampling: int = 1
) -> dict:
    """Three systems with different lenses, lopsided PSFs and noise maps, one pixel masked."""
    generator = np.random.default_rng(5)
    lens = generator.uniform(-0.1, 0.1, (BATCH, columns))
    lens[:, 0] = [1.1, 0.6, 1.4]
    lens[2, 1:] = 0
    if columns == 8:
        lens[:, 7] = [0.8, 1.0, 1.3]
    kernel = generator.uniform(0, 1, (BATCH, 5, 5)) ** 3
    arrays = {
        "lens": lens,
        "kernel": kernel / kernel.sum(axis=(1, 2), keepdims=True),
        "source": generator.uniform(0, 1, (BATCH, SOURCE.side, SOURCE.side)),
        "image": generator.uniform(0, 1, (BATCH, IMAGE.side, IMAGE.side)),
        "noise": generator.uniform(0.01, 0.1, (BATCH, IMAGE.side, IMAGE.side)),
    }
    arrays["noise"][1, 4, 7] = np.inf
    arrays = {name: value.astype(dtype) for name, value in arrays.items()}
    return arrays | {"supersampling": supersampling, "oversampling": oversampling}


def model_of(arrays: dict) -> ForwardModel:
    rays = int(arrays["supersampling"])
    dtype = str(arrays["source"].dtype) if "source" in arrays else "float32"
    return ForwardModel(
        arrays["lens"],
        arrays["kernel"],
        IMAGE,
        SOURCE,
        rays,
        dtype=dtype,
        oversampling=int(arrays["oversampling"]),
    )


def numpy(value) -> np.ndarray:
    return ops.convert_to_numpy(value)


@pytest.fixture(
    params=[(1, 7), (3, 7), (2, 8), (1, 8, "float32", 2), (2, 7, "float32", 3)],
    ids=["SIE", "SIE-3x3", "EPL-2x2", "EPL-fine-psf", "SIE-2x2-finer-psf"],
)
def arrays(request):
    return system(*request.param)


@pytest.fixture
def float64():
    if "float64" not in str(ops.convert_to_tensor(np.zeros(1)).dtype):
        pytest.skip("the backend has no float64 by default")


def test_adjoint(arrays):
    model = model_of(arrays)
    predicted = numpy(model.predict(arrays["source"])).astype("float64")
    returned = numpy(model.adjoint(arrays["image"])).astype("float64")
    for i in range(BATCH):
        error = np.sum(predicted[i] * arrays["image"][i]) - np.sum(
            arrays["source"][i] * returned[i]
        )
        scale = np.linalg.norm(predicted[i]) * np.linalg.norm(arrays["image"][i])
        assert abs(error) < 1e-6 * scale


def test_matrix_against_apply(arrays):
    model = model_of(arrays)
    predicted, returned = (
        numpy(model.predict(arrays["source"])),
        numpy(model.adjoint(arrays["image"])),
    )
    matrices = model.as_matrix()
    assert len(matrices) == BATCH
    for i, matrix in enumerate(matrices):
        assert matrix.shape == (IMAGE.side**2, SOURCE.side**2)
        np.testing.assert_allclose(
            matrix @ arrays["source"][i].ravel(), predicted[i].ravel(), atol=2e-6
        )
        np.testing.assert_allclose(
            matrix.T @ arrays["image"][i].ravel(), returned[i].ravel(), atol=1e-5
        )


def test_matrix_column_by_column():
    arrays = system(supersampling=2)
    model = model_of(arrays)
    matrices = model.as_matrix()
    for j in np.random.default_rng(0).integers(SOURCE.side**2, size=12):
        basis = np.zeros((BATCH, SOURCE.side**2), "float32")
        basis[:, j] = 1
        columns = numpy(model.predict(basis.reshape(BATCH, SOURCE.side, SOURCE.side)))
        for i in range(BATCH):
            np.testing.assert_allclose(matrices[i][:, j], columns[i].ravel(), atol=1e-6)


def test_order_is_lens_then_blur(arrays):
    model = model_of(arrays)
    unblurred = numpy(model.ray_tracer.apply(arrays["source"]))
    predicted = numpy(model.predict(arrays["source"]))
    for i in range(BATCH):
        expected = convolve(unblurred[i], arrays["kernel"][i], mode="same", method="direct")
        parts = arrays["oversampling"]
        expected = expected.reshape(IMAGE.side, parts, IMAGE.side, parts).mean(axis=(1, 3))
        np.testing.assert_allclose(predicted[i], expected, atol=2e-6)


def test_one_kernel_serves_a_batch():
    arrays = system()
    shared = ForwardModel(arrays["lens"], arrays["kernel"][:1], IMAGE, SOURCE)
    repeated = ForwardModel(
        arrays["lens"], np.repeat(arrays["kernel"][:1], BATCH, axis=0), IMAGE, SOURCE
    )
    np.testing.assert_allclose(
        numpy(shared.predict(arrays["source"])),
        numpy(repeated.predict(arrays["source"])),
        atol=1e-6,
    )
    for a, b in zip(shared.as_matrix(), repeated.as_matrix(), strict=True):
        np.testing.assert_array_equal(a, b)


def expected_log_likelihood(arrays: dict, predicted: np.ndarray) -> np.ndarray:
    """Equation 6, pixel by pixel."""
    total = np.zeros(BATCH)
    for index in np.ndindex(*predicted.shape):
        if np.isfinite(arrays["noise"][index]):
            residual = float(arrays["image"][index]) - float(predicted[index])
            total[index[0]] -= 0.5 * (residual / float(arrays["noise"][index])) ** 2
    return total


def test_log_likelihood_against_a_loop(arrays):
    model = model_of(arrays)
    ours = numpy(model.log_likelihood(arrays["source"], arrays["image"], arrays["noise"]))
    expected = expected_log_likelihood(arrays, numpy(model.predict(arrays["source"])))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_one_rms_for_all_pixels():
    arrays = system()
    model = model_of(arrays)
    rms = np.array([0.02, 0.05, 0.1], "float32")[:, None, None]
    a = model.log_likelihood(arrays["source"], arrays["image"], rms)
    b = model.log_likelihood(
        arrays["source"], arrays["image"], np.broadcast_to(rms, arrays["image"].shape)
    )
    np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-6)


def test_gradient_against_the_explicit_adjoint(arrays):
    model = model_of(arrays)
    tape = numpy(model.log_likelihood_gradient(*(arrays[k] for k in ("source", "image", "noise"))))
    residual = arrays["image"] - numpy(model.predict(arrays["source"]))
    explicit = numpy(model.adjoint(residual / arrays["noise"] ** 2))
    np.testing.assert_allclose(tape, explicit, atol=2e-6 * np.abs(explicit).max())


def test_gradient_against_matrices(arrays):
    # Equation 7 in double precision, with the dense matrix.
    model = model_of(arrays)
    tape = numpy(model.log_likelihood_gradient(*(arrays[k] for k in ("source", "image", "noise"))))
    for i, matrix in enumerate(model.as_matrix()):
        matrix = matrix.astype("float64")
        residual = arrays["image"][i].ravel() - matrix @ arrays["source"][i].ravel()
        expected = matrix.T @ (residual / arrays["noise"][i].astype("float64").ravel() ** 2)
        np.testing.assert_allclose(tape[i].ravel(), expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("supersampling", "columns"), [(1, 7), (3, 7), (1, 8)])
def test_gradient_against_finite_differences(float64, supersampling, columns):
    arrays = system(supersampling, columns, "float64")
    model = model_of(arrays)
    fixed = arrays["image"], arrays["noise"]
    slopes = numpy(model.log_likelihood_gradient(arrays["source"], *fixed))
    assert slopes.dtype == "float64"
    scale = np.abs(slopes).max()
    generator = np.random.default_rng(0)
    for _ in range(10):
        index = tuple(generator.integers(slopes.shape))
        h = np.zeros_like(slopes)
        h[index] = 1e-4
        ends = [numpy(model.log_likelihood(arrays["source"] + s * h, *fixed)) for s in (1, -1)]
        quotient = np.sum(ends[0] - ends[1]) / 2e-4
        assert slopes[index] == pytest.approx(quotient, abs=1e-7 * scale)


@pytest.mark.parametrize("columns", [7, 8])
def test_gradient_in_the_lens_against_finite_differences(float64, columns):
    arrays = system(2, columns, "float64")

    def value(lens):
        model = model_of(arrays | {"lens": lens})
        return ops.sum(model.log_likelihood(arrays["source"], arrays["image"], arrays["noise"]))

    slopes = numpy(gradient(value, arrays["lens"]))
    scale = np.abs(slopes).max()
    # The last lens is exactly round, and centred.
    for i in (0, 2):
        for j in range(columns):
            h = np.zeros_like(arrays["lens"])
            h[i, j] = 1e-8
            quotient = float(value(arrays["lens"] + h) - value(arrays["lens"] - h)) / 2e-8
            assert slopes[i, j] == pytest.approx(quotient, rel=1e-4, abs=1e-5 * scale), (i, j)


_OTHER_BACKEND = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_forward_model import results_of
for path in sys.argv[2:]:
    np.savez(path + ".out.npz", **results_of(dict(np.load(path))))
"""


def results_of(arrays: dict) -> dict[str, np.ndarray]:
    """Prediction and gradients, under whichever backend this runs."""
    image, noise = arrays["image"], arrays["noise"]

    def all_of_them(lens, source):
        def value(v):
            likelihood = model_of(arrays | {"lens": v}).log_likelihood(source, image, noise)
            return ops.sum(likelihood)

        model = model_of(arrays | {"lens": lens})
        return {
            "predicted": model.predict(source),
            "source gradient": model.log_likelihood_gradient(source, image, noise),
            "lens gradient": gradient(value, lens),
        }

    inputs = [ops.convert_to_tensor(arrays[name]) for name in ("lens", "source")]
    return {name: numpy(value) for name, value in compiled(all_of_them)(*inputs).items()}


def test_tensorflow_and_jax_agree(tmp_path):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    systems = {str(tmp_path / f"{n}.npz"): system(2, n) for n in (7, 8)}
    systems[str(tmp_path / "fine.npz")] = system(1, 7, oversampling=2)
    for path, arrays in systems.items():
        np.savez(path, **arrays)
    root = Path(rim_lensing.__file__).parents[1]
    environment = os.environ | {"KERAS_BACKEND": other, "PYTHONPATH": str(root)}
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _OTHER_BACKEND, here, *systems]
    subprocess.run(command, env=environment, check=True)
    for path, arrays in systems.items():
        theirs, ours = np.load(path + ".out.npz"), results_of(arrays)
        # The backends round differently: a ray moves by 1e-6", a 1e-5th of a pixel.
        for name, expected in ours.items():
            scale = np.abs(expected).max()
            assert np.all(np.isfinite(theirs[name])) and scale > 0.1
            np.testing.assert_allclose(
                theirs[name], expected, atol=5e-5 * scale, err_msg=f"{name} {path}"
            )


def test_masked_pixels_contribute_nothing():
    arrays = system()
    arrays["noise"][:, :3] = np.inf
    arrays["noise"][1, 10, 5:9] = np.inf
    masked = np.isinf(arrays["noise"])
    model = model_of(arrays)
    results = []
    for filling in (0.0, 1e30, np.inf, np.nan):
        image = np.where(masked, np.float32(filling), arrays["image"])
        likelihood = numpy(model.log_likelihood(arrays["source"], image, arrays["noise"]))
        slope = numpy(model.log_likelihood_gradient(arrays["source"], image, arrays["noise"]))
        results.append((likelihood, slope))
        assert np.all(np.isfinite(likelihood)) and np.all(np.isfinite(slope))
        np.testing.assert_array_equal(likelihood, results[0][0])
        np.testing.assert_array_equal(slope, results[0][1])
    np.testing.assert_allclose(
        results[0][0], expected_log_likelihood(arrays, numpy(model.predict(arrays["source"]))), 1e-5
    )

    def of_the_lens(lens):
        image = np.where(masked, np.nan, arrays["image"])
        traced = model_of(arrays | {"lens": lens})
        return ops.sum(traced.log_likelihood(arrays["source"], image, arrays["noise"]))

    assert np.all(np.isfinite(numpy(gradient(of_the_lens, arrays["lens"]))))
    everything = np.full_like(arrays["noise"], np.inf)
    slope = model.log_likelihood_gradient(arrays["source"], arrays["image"], everything)
    np.testing.assert_array_equal(numpy(slope), 0)


@pytest.mark.parametrize("unit", [1e-15, 1e6])
def test_the_unit_of_flux_does_not_matter(unit):
    arrays = system()
    model = model_of(arrays)
    names = "source", "image", "noise"
    scaled = [np.float32(unit) * arrays[name] for name in names]
    plain = [arrays[name] for name in names]
    np.testing.assert_allclose(
        numpy(model.log_likelihood(*scaled)), numpy(model.log_likelihood(*plain)), rtol=1e-4
    )
    slope = numpy(model.log_likelihood_gradient(*plain))
    np.testing.assert_allclose(
        numpy(model.log_likelihood_gradient(*scaled)) * unit, slope, atol=1e-5 * np.abs(slope).max()
    )


def test_float64_input_is_taken():
    arrays = system()
    model = model_of(
        {k: np.asarray(v, "float64") for k, v in arrays.items() if k[0] in "lk"}
        | {"supersampling": 1, "oversampling": 1}
    )
    doubles = [arrays[name].astype("float64") for name in ("source", "image", "noise")]
    ours = numpy(model.log_likelihood(*doubles))
    expected = expected_log_likelihood(arrays, numpy(model.predict(arrays["source"])))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert np.all(np.isfinite(numpy(model.log_likelihood_gradient(*doubles))))


@pytest.mark.parametrize("beta", [0.4, 0.8])
def test_magnification_of_an_isothermal_sphere(beta):
    # A point source inside the Einstein radius: mu = 2 theta_E / beta. A Gaussian one averages
    # 1 / |beta|, whose Laplacian is 1 / |beta|^3.
    theta_E, width = 1.2, 0.06
    image_grid, source_grid = PixelGrid(120, 0.04), PixelGrid(100, 0.025)
    x, y = source_grid.coordinates()
    angle = 0.3
    radius = np.hypot(x - beta * np.cos(angle), y - beta * np.sin(angle))
    source = np.exp(-0.5 * (radius / width) ** 2)[None].astype("float32")
    kernel = gaussian_kernel([0.08], 15, image_grid.pixel_scale)
    lens = np.array([[theta_E, 0, 0, 0, 0, 0, 0]], "float32")
    model = ForwardModel(lens, kernel, image_grid, source_grid, 3)
    expected = 2 * theta_E / beta * (1 + 0.5 * (width / beta) ** 2)
    for image in (model.ray_tracer.apply(source), model.predict(source)):
        ours = float(numpy(total_magnification(source, image, source_grid, image_grid))[0])
        assert ours == pytest.approx(expected, rel=3e-3)


def test_magnification_without_flux_is_zero():
    nothing = np.zeros((2, 4, 4), "float32")
    nothing[1] = 1
    grid = PixelGrid(4, 0.1)
    ours = total_magnification(ops.convert_to_tensor(nothing), nothing, grid, PixelGrid(4, 0.2))
    np.testing.assert_allclose(numpy(ours), [0, 4], rtol=1e-6)


def test_shapes_are_checked():
    model = model_of(system())
    with pytest.raises(ValueError, match=r"`source` must have.*\(3, 16, 16\).*Received: shape"):
        model.predict(np.zeros((BATCH, 20, 20), "float32"))
    with pytest.raises(ValueError, match=r"`image` must have.*20, 20\).*Received: shape"):
        model.adjoint(np.zeros((BATCH, 16, 16), "float32"))
    with pytest.raises(ValueError, match="`psf`.*odd.*Received: side=4"):
        ForwardModel(np.ones((1, 7)), np.ones((1, 4, 4)) / 16, IMAGE, SOURCE)
    with pytest.raises(ValueError, match="`kernel` must be one.*3 kernels, 1 lenses"):
        ForwardModel(np.ones((1, 7)), np.ones((3, 5, 5)) / 25, IMAGE, SOURCE)
    source, image = np.zeros((BATCH, 16, 16), "float32"), np.zeros((BATCH, 20, 20), "float32")
    for noise in (np.ones(20), np.ones((BATCH, 20)), np.ones((BATCH, 20, 1))):
        with pytest.raises(ValueError, match=r"`noise` that or \(batch, 1, 1\)"):
            model.log_likelihood(source, image, noise)
    with pytest.raises(ValueError, match=r"`image` must be \(batch, 20, 20\)"):
        model.log_likelihood(source, image[:, 0], np.ones((BATCH, 1, 1)))
