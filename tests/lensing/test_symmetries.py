import numpy as np
import pytest
from keras import ops

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import (
    SYMMETRIES,
    lens_matrix,
    restore_image,
    standard_orientation,
    transform_image,
)

IMAGE, SOURCE = PixelGrid(24, 0.2), PixelGrid(20, 0.15)


@pytest.mark.parametrize("supersampling", [1, 3])
@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_image_of_turned_source_and_lens_is_the_turned_image(symmetry, supersampling):
    """The ray tracer, which knows no symmetries, says what they do to every parameter."""
    generator = np.random.default_rng(symmetry)
    source = generator.uniform(size=(1, 20, 20)).astype("float32")
    lens = np.array([[1.3, 0.2, -0.13, 0.04, -0.09, 0.05, 0.08]], "float32")
    kernel = np.ones((1, 1, 1), "float32")

    def image(source, lens):
        return ops.convert_to_numpy(
            ForwardModel(lens, kernel, IMAGE, SOURCE, supersampling).predict(source)
        )

    expected = transform_image(image(source, lens), symmetry)
    found = image(transform_image(source, symmetry), lens @ lens_matrix(symmetry).T)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    if symmetry:
        assert np.abs(image(source, lens) - expected).max() > 0.1


def test_they_are_eight_and_lens_matrix_is_inverted_by_its_transpose():
    matrices = [lens_matrix(k) for k in range(SYMMETRIES)]
    assert len({matrix.tobytes() for matrix in matrices}) == SYMMETRIES
    picture = np.arange(9).reshape(3, 3)
    assert len({transform_image(picture, k).tobytes() for k in range(SYMMETRIES)}) == SYMMETRIES
    for k in range(SYMMETRIES):
        np.testing.assert_array_equal(restore_image(transform_image(picture, k), k), picture)
    for matrix in matrices:
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(7))


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_all_orientations_of_an_image_have_one_standard(symmetry):
    image = np.random.default_rng(0).uniform(size=(9, 9))
    expected = transform_image(image, standard_orientation(image))
    turned = transform_image(image, symmetry)
    np.testing.assert_array_equal(transform_image(turned, standard_orientation(turned)), expected)


@pytest.mark.parametrize(
    "function",
    [
        lens_matrix,
        lambda k: transform_image(np.eye(3), k),
        lambda k: restore_image(np.eye(3), k),
    ],
)
@pytest.mark.parametrize("symmetry", [-1, 8])
def test_unknown_symmetry_is_refused(function, symmetry):
    with pytest.raises(ValueError, match="Received"):
        function(symmetry)
