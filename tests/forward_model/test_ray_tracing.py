"""The ray tracer against scipy's interpolation along lenstronomy's rays."""

import keras
import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel
from scipy.ndimage import map_coordinates

from rim_lensing.backend import compiled, gradient
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.ray_tracing import RayTracer, bilinear_weights, lensing_matrices
from rim_lensing.lensing.grids import PixelGrid

IMAGE, SOURCE = PixelGrid(24, 0.2), PixelGrid(20, 0.1)
LENSES = np.array(
    [
        [1.2, 0.1, -0.05, 0.02, 0.03, 0.04, -0.06],
        [0.7, -0.3, 0.2, -0.05, 0.01, 0.0, 0.1],
        [1.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ],
    "float32",
)
EPL_LENSES = np.concatenate([LENSES, [[0.8], [1.2], [1.0]]], axis=1).astype("float32")


def random(batch: int, grid: PixelGrid, seed: int = 0) -> np.ndarray:
    shape = (batch, grid.side, grid.side)
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def lenstronomy_rays(row, grid: PixelGrid, supersampling: int = 1):
    """Where lenstronomy's rays land, each (rows, columns)."""
    model = LensModel(["EPL", "SHEAR"])
    theta_E, e1, e2, x, y, gamma1, gamma2 = (float(v) for v in row[:7])
    main = {"theta_E": theta_E, "gamma": 2.0, "e1": e1, "e2": e2, "center_x": x, "center_y": y}
    if len(row) == 8:
        main["gamma"] = float(row[7]) + 1
    n = grid.side * supersampling
    axis = (np.arange(n) - (n - 1) / 2) * grid.pixel_scale / supersampling
    shear = {"gamma1": gamma1, "gamma2": gamma2}
    return model.ray_shooting(*np.meshgrid(axis, axis), [main, shear])


def interpolated(source, x, y, grid: PixelGrid):
    """scipy's bilinear interpolation, zero outside."""
    rows, columns = (c / grid.pixel_scale + (grid.side - 1) / 2 for c in (y, x))
    return map_coordinates(source, [rows, columns], order=1, mode="grid-constant", cval=0.0)


@pytest.mark.parametrize("supersampling", [1, 3])
@pytest.mark.parametrize("lenses", [LENSES, EPL_LENSES], ids=["SIE", "EPL"])
def test_apply_against_scipy_and_lenstronomy(lenses, supersampling):
    source = random(3, SOURCE)
    ours = RayTracer(lenses, IMAGE, SOURCE, supersampling).apply(source)
    for i, row in enumerate(lenses):
        rays = lenstronomy_rays(row, IMAGE, supersampling)
        fine = interpolated(source[i].astype("float64"), *rays, SOURCE)
        blocks = fine.reshape(IMAGE.side, supersampling, IMAGE.side, supersampling)
        expected = blocks.mean(axis=(1, 3))
        # 1e-5" of a 0.1" pixel, in a source of unit contrast.
        np.testing.assert_allclose(ops.convert_to_numpy(ours)[i], expected, atol=4e-4)


def test_source_frames_against_scipy_and_lenstronomy():
    """The source grid lies elsewhere, and has other pixels, behind each of the lenses."""
    frames = np.array([[0.3, -0.1, 0.07], [0.0, 0.0, 0.1], [-0.2, 0.4, 0.16]], "float32")
    source = random(3, SOURCE)
    tracer = RayTracer(LENSES, IMAGE, SOURCE, 2, frames)
    images = ops.convert_to_numpy(tracer.apply(source))
    for i, (row, (x0, y0, scale)) in enumerate(zip(LENSES, frames, strict=True)):
        x, y = lenstronomy_rays(row, IMAGE, 2)
        expected = interpolated(source[i], x - x0, y - y0, PixelGrid(SOURCE.side, scale))
        expected = expected.reshape(IMAGE.side, 2, IMAGE.side, 2).mean(axis=(1, 3))
        # Bilinear weights of white noise are steep: float32 rays differ by 1e-6 arcsec.
        np.testing.assert_allclose(images[i], expected, atol=3e-4)
    geometry = Geometry(IMAGE.side, IMAGE.pixel_scale, SOURCE.side, SOURCE.pixel_scale, 5, 2)
    for matrix, image, flat in zip(
        lensing_matrices(LENSES, geometry, frames), images, source.reshape(3, -1), strict=True
    ):
        np.testing.assert_allclose(matrix @ flat, image.ravel(), atol=1e-5)


def test_without_lens_the_image_is_the_source():
    # Same pixel scale: the grids' pixels coincide, and the larger one is zero around.
    source = random(1, PixelGrid(10, 0.1))
    nothing = np.zeros((1, 7), "float32")
    same = RayTracer(nothing, PixelGrid(10, 0.1), PixelGrid(10, 0.1)).apply(source)
    np.testing.assert_allclose(ops.convert_to_numpy(same), source, atol=2e-6)
    larger = RayTracer(nothing, PixelGrid(14, 0.1), PixelGrid(10, 0.1)).apply(source)
    padded = np.pad(source, [(0, 0), (2, 2), (2, 2)])
    np.testing.assert_allclose(ops.convert_to_numpy(larger), padded, atol=2e-6)
    # An odd grid on an even one: every ray lands between four pixels.
    between = RayTracer(nothing, PixelGrid(9, 0.1), PixelGrid(10, 0.1)).apply(source)
    means = (source[:, 1:] + source[:, :-1]) / 2
    means = (means[:, :, 1:] + means[:, :, :-1]) / 2
    np.testing.assert_allclose(ops.convert_to_numpy(between), means, atol=2e-6)


def test_a_plane_is_interpolated_exactly():
    # Bilinear interpolation reproduces beta itself where all rays land inside.
    lens = np.array([[0.5, 0.1, 0.0, 0.0, 0.0, 0.02, 0.0]], "float32")
    image, source = PixelGrid(16, 0.1), PixelGrid(50, 0.05)
    x, y = source.coordinates()
    tracer = RayTracer(lens, image, source)
    expected = lenstronomy_rays(lens[0], image)
    for plane, beta in zip((x, y), expected, strict=True):
        traced = ops.convert_to_numpy(tracer.apply(plane[None].astype("float32")))[0]
        np.testing.assert_allclose(traced, beta, atol=1e-5)


def test_rays_outside_the_source_take_nothing():
    grid = PixelGrid(4, 1.0)
    positions = np.array([[-50.0, -2.6, -2.0, -1.5, 0.0, 1.75, 2.5, 1e30]], "float32")
    _, weights = bilinear_weights(ops.convert_to_tensor(positions), ops.zeros_like(positions), grid)
    total = ops.convert_to_numpy(ops.sum(weights, axis=-1))[0]
    np.testing.assert_allclose(total, [0, 0, 0.5, 1, 1, 0.75, 0, 0], atol=1e-6)
    shifted = np.array([[0, 0, 0, 0, 0, 0.9, 0]], "float32")
    tracer = RayTracer(shifted, PixelGrid(8, 0.2), PixelGrid(4, 0.01))
    image = ops.convert_to_numpy(tracer.apply(np.ones((1, 4, 4), "float32")))
    assert image[0, :, :3].max() == 0 and image[0, :2].max() == 0


@pytest.mark.parametrize("supersampling", [1, 3])
@pytest.mark.parametrize("lenses", [LENSES, EPL_LENSES], ids=["SIE", "EPL"])
def test_adjoint(lenses, supersampling):
    tracer = RayTracer(lenses, IMAGE, SOURCE, supersampling)
    source, data = random(3, SOURCE, 1), random(3, IMAGE, 2)
    image = ops.convert_to_numpy(tracer.apply(source)).astype("float64")
    returned = ops.convert_to_numpy(tracer.adjoint(data)).astype("float64")
    for i in range(3):
        error = np.sum(image[i] * data[i]) - np.sum(source[i] * returned[i])
        assert abs(error) < 1e-6 * np.linalg.norm(image[i]) * np.linalg.norm(data[i])


@pytest.mark.parametrize("supersampling", [1, 3])
def test_matrix_against_apply(supersampling):
    tracer = RayTracer(LENSES, IMAGE, SOURCE, supersampling)
    source, data = random(3, SOURCE, 1), random(3, IMAGE, 2)
    image = ops.convert_to_numpy(tracer.apply(source)).reshape(3, -1)
    returned = ops.convert_to_numpy(tracer.adjoint(data)).reshape(3, -1)
    for i, matrix in enumerate(tracer.as_matrix()):
        assert matrix.shape == (IMAGE.side**2, SOURCE.side**2)
        np.testing.assert_allclose(matrix @ source[i].ravel(), image[i], atol=2e-6)
        np.testing.assert_allclose(matrix.T @ data[i].ravel(), returned[i], atol=1e-5)


@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize("lenses", [LENSES, EPL_LENSES], ids=["SIE", "EPL"])
def test_compiled_matrices_are_those_of_the_ray_tracer(lenses, supersampling):
    geometry = Geometry(12, 0.3, 14, 0.15, psf_side=3, supersampling=supersampling)
    tracer = RayTracer(lenses, geometry.image_grid, geometry.source_grid, supersampling)
    found = lensing_matrices(lenses, geometry)
    assert len(found) == len(lenses)
    for matrix, expected in zip(found, tracer.as_matrix(), strict=True):
        np.testing.assert_allclose(matrix.toarray(), expected.toarray(), atol=1e-5)


def test_lenses_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="`lens` must be"):
        lensing_matrices(LENSES[0], Geometry(12, 0.3, 14, 0.15, psf_side=3))


def test_surface_brightness_is_conserved():
    # The rows of L sum to 1 wherever the rays land inside.
    wide = PixelGrid(60, 0.1)
    for matrix in RayTracer(LENSES, IMAGE, wide, 2).as_matrix():
        np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)), 1, rtol=1e-5)


def test_compiled_with_unknown_batch():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow's graphs have unknown sizes")
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 7]), tf.TensorSpec([None, 20, 20])])
    def both(lens, source):
        tracer = RayTracer(lens, IMAGE, SOURCE)
        image = tracer.apply(source)
        return image, tracer.adjoint(image)

    eager = RayTracer(LENSES, IMAGE, SOURCE)
    source = random(3, SOURCE)
    image, returned = both(LENSES, source)
    np.testing.assert_allclose(image, eager.apply(source), atol=1e-4)
    np.testing.assert_allclose(returned, eager.adjoint(image), atol=1e-3)


def test_compiled_gives_the_same():
    trace = compiled(lambda lens, source: RayTracer(lens, IMAGE, SOURCE).apply(source))
    source = random(3, SOURCE)
    lens = ops.convert_to_tensor(LENSES)
    np.testing.assert_allclose(
        ops.convert_to_numpy(trace(lens, ops.convert_to_tensor(source))),
        ops.convert_to_numpy(RayTracer(LENSES, IMAGE, SOURCE).apply(source)),
        atol=4e-4,
    )


@pytest.fixture
def float64():
    if "float64" not in str(ops.convert_to_tensor(np.zeros(1)).dtype):
        pytest.skip("the backend has no float64 by default")


@pytest.mark.parametrize("lenses", [LENSES, EPL_LENSES], ids=["SIE", "EPL"])
def test_gradient_in_the_lens_against_finite_differences(float64, lenses):
    lenses = lenses.astype("float64")
    source, data = random(3, SOURCE).astype("float64"), random(3, IMAGE, 1).astype("float64")

    def value(lens):
        return ops.sum(RayTracer(lens, IMAGE, SOURCE, 2, dtype="float64").apply(source) * data)

    slopes = ops.convert_to_numpy(gradient(value, lenses))
    assert slopes.dtype == "float64"
    step = 1e-8
    for j in range(lenses.shape[1]):
        h = np.zeros_like(lenses)
        h[1, j] = step
        quotient = float(value(lenses + h) - value(lenses - h)) / (2 * step)
        assert slopes[1, j] == pytest.approx(quotient, rel=1e-4, abs=1e-4), j


def test_double_precision(float64):
    lens = LENSES[:1].astype("float64")
    source = random(1, SOURCE).astype("float64")
    traced = RayTracer(lens, IMAGE, SOURCE, dtype="float64").apply(source)
    expected = interpolated(source[0], *lenstronomy_rays(lens[0], IMAGE), SOURCE)
    np.testing.assert_allclose(ops.convert_to_numpy(traced)[0], expected, atol=1e-6)


def test_float64_input_is_taken():
    tracer = RayTracer(LENSES.astype("float64"), IMAGE, SOURCE)
    image = tracer.apply(random(3, SOURCE).astype("float64"))
    returned = tracer.adjoint(random(3, IMAGE).astype("float64"))
    assert keras.backend.standardize_dtype(image.dtype) == "float32"
    assert keras.backend.standardize_dtype(returned.dtype) == "float32"


@pytest.mark.parametrize("supersampling", [0, -1, 1.5])
def test_supersampling_is_checked(supersampling):
    message = f"`supersampling` must be a positive.*Received: supersampling={supersampling}"
    with pytest.raises(ValueError, match=message):
        RayTracer(LENSES, IMAGE, SOURCE, supersampling)


@pytest.mark.parametrize("shape", [(20, 20), (2, 20, 20), (3, 20, 21), (3, 24, 24), (3, 20, 20, 1)])
def test_source_shape_is_checked(shape):
    with pytest.raises(ValueError, match=r"`source` must have.*\(3, 20, 20\). Received: shape \("):
        RayTracer(LENSES, IMAGE, SOURCE).apply(np.zeros(shape, "float32"))


def test_image_shape_is_checked():
    with pytest.raises(ValueError, match=r"`image` must have.*\(3, 24, 24\). Received: shape \("):
        RayTracer(LENSES, IMAGE, SOURCE).adjoint(np.zeros((3, 20, 20), "float32"))
