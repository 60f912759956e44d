import pytest

from rim_lensing.forward_model.geometry import Geometry


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"psf_side": 24}, "`psf_side` must be odd"),
        ({"psf_side": -1}, "`psf_side` must be odd"),
        ({"psf_side": 24.5}, "`psf_side` must be odd"),
        ({"psf_side": 193}, "not larger than the image"),
        ({"supersampling": 0}, "`supersampling` must be a positive integer"),
        ({"supersampling": 1.5}, "`supersampling` must be a positive integer"),
        ({"image_side": 0}, "Received"),
    ],
)
def test_what_cannot_be_built_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Geometry(**values)


def test_another_field_has_the_same_pixels():
    whole, quarter = Geometry(), Geometry().on_field(96)
    assert (quarter.image_side, quarter.source_side, quarter.psf_side) == (96, 96, 49)
    assert quarter.image_pixel_scale == whole.image_pixel_scale
    with pytest.raises(ValueError, match="whole number"):
        Geometry(image_side=64, psf_side=25).on_field(100)
