"""The square of a cutout that is modelled: where it lies, and back."""

import numpy as np
import pytest

from rim_lensing.cutout_fit.modelled_field import ModelledField, placed
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.lensing.mass_model import SHORT_FORMS
from rim_lensing.observation.observation import Observation

GENERATOR = np.random.default_rng(0)
SCALE = 0.05


def cutout(rows: int = 71, columns: int = 84) -> Observation:
    image = GENERATOR.standard_normal((rows, columns))
    return Observation(image, noise=1.0, psf=0.05, pixel_scale=SCALE)


@pytest.mark.parametrize("shape", [(71, 84), (80, 80), (61, 61)])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.31, -0.12), (-0.6, 0.4)])
def test_the_field_is_around_the_lens(shape, centre):
    seen = cutout(*shape)
    field = ModelledField.around(seen, centre, theta_E=0.4)
    assert field.grid.width >= 2 * (1.35 * 0.4 + 0.8)
    assert field.place(centre) == pytest.approx((0, 0), abs=0.5 * SCALE + 1e-9)
    bright = np.zeros(shape)
    row, column = (round(z / SCALE + (n - 1) / 2) for z, n in zip(centre[::-1], shape, strict=True))
    bright[row, column] = 1.0
    x, y = field.grid.coordinates()
    found = field.cut_map(bright) > 0
    pixel = ((column - (shape[1] - 1) / 2) * SCALE, (row - (shape[0] - 1) / 2) * SCALE)
    assert (x[found][0], y[found][0]) == pytest.approx(field.place(pixel))


def test_maps_and_images_are_cut_alike_and_put_back():
    seen = cutout()
    field = ModelledField.around(seen, (1.2, 0.9), theta_E=0.5)
    arcs = field.cut(seen)
    part = field.cut_map(seen.image)
    inside = np.isfinite(arcs.image)
    np.testing.assert_array_equal(part[inside], arcs.image[inside])
    assert not inside.all(), "the field reaches beyond the cutout"
    assert not arcs.mask[~inside].any()
    whole = field.put_back(part)
    np.testing.assert_array_equal(field.cut_map(whole), part)
    np.testing.assert_array_equal(whole[whole != 0], seen.image[whole != 0])


def test_corners_of_the_field_are_masked():
    field = ModelledField.around(cutout(120, 120), (0, 0), theta_E=0.5)
    arcs = field.cut(cutout(120, 120))
    assert not arcs.mask[0, 0] and arcs.mask[len(arcs.mask) // 2, 0]


def test_lenses_go_into_the_field_and_back():
    lens = SHORT_FORMS[7].with_values([1.0, 0.1, 0.0, 0.31, -0.12, 0.01, 0.02])
    field = ModelledField.around(cutout(), (0.3, -0.1), theta_E=1.0)
    there = field.in_field(lens)
    assert (there["lens.x"], there["lens.y"]) == pytest.approx(field.place((0.31, -0.12)))
    np.testing.assert_allclose(field.in_cutout(there).values, lens.values)
    assert placed(lens, (0.1, 0.2))["lens.y"] == pytest.approx(0.08)
    assert there["shear.gamma2"] == pytest.approx(LensParameters(1, gamma2=0.02).gamma2)


def test_a_field_serves_a_lens_of_nearly_its_size():
    seen = cutout(201, 201)
    field = ModelledField.around(seen, (0, 0), 1.2)
    assert field.holds(ModelledField.around(seen, (0.1, 0), 1.25))
    assert not field.holds(ModelledField.around(seen, (0, 0), 1.8))
