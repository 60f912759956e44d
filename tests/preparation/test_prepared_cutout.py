import numpy as np
import pytest

import rim_lensing
from rim_lensing.preparation.prepared_cutout import prepare_cutout


@pytest.fixture(scope="module")
def prepared(make_raw):
    raw = make_raw()
    return raw, prepare_cutout(**raw.arguments())


def test_the_observation_is_ready_for_use(prepared, shapes):
    raw, found = prepared
    seen = found.observation
    assert isinstance(seen, rim_lensing.Observation)
    np.testing.assert_allclose(seen.image, raw.image - found.sky)
    assert found.sky == pytest.approx(shapes.sky, abs=3 * found.sky_error)
    assert found.sky_rms == pytest.approx(shapes.rms, rel=0.06)
    assert found.noise_factor == 1.0
    assert seen.noise_correlation is None
    middle = (shapes.side - 1) / 2
    assert found.offset == pytest.approx(
        ((raw.centre[1] - middle) * shapes.scale, (raw.centre[0] - middle) * shapes.scale),
        abs=0.005,
    )
    assert found.axis_ratio == pytest.approx(0.75, abs=0.03)


def test_a_map_that_is_too_large_is_corrected_and_said(make_raw):
    raw = make_raw()
    found = prepare_cutout(raw.image, raw.noise * 1.6, 0.045, pixel_scale=0.05)
    np.testing.assert_allclose(np.median(found.observation.noise / raw.noise), 1, atol=0.04)
    assert any("too large by a factor of 1.6" in line for line in found.said)


def test_without_a_map_the_noise_is_measured(make_raw, shapes):
    raw = make_raw()
    found = prepare_cutout(raw.image, psf=0.045, pixel_scale=0.05, exposure=1000.0)
    np.testing.assert_allclose(found.observation.noise, raw.noise, rtol=0.25)
    np.testing.assert_allclose(np.median(found.observation.noise / raw.noise), 1, atol=0.05)
    without = prepare_cutout(raw.image, psf=0.045, pixel_scale=0.05)
    assert np.ptp(without.observation.noise) == 0
    assert any("give the exposure time" in line for line in without.said)
    assert without.noise_factor is None


def test_masked_pixels_stay_masked_and_change_nothing(make_raw):
    raw = make_raw()
    noise = raw.noise.copy()
    noise[30:40, 30:40] = 1e8
    one = prepare_cutout(raw.image, noise, 0.045, pixel_scale=0.05)
    wild = np.where(noise > 1e7, np.nan, raw.image)
    other = prepare_cutout(wild, raw.noise, 0.045, pixel_scale=0.05)
    assert not one.observation.mask[30:40, 30:40].any()
    assert one.sky == pytest.approx(other.sky, abs=1e-12)
    assert np.isfinite(other.observation.image).all()


def test_keep_and_mask_overrule(make_raw, shapes):
    raw = make_raw(extra={"beside": shapes.disc(-2.6, 2.2, 0.8, 0.2, 0.12, 1.0)})
    raw.image[20, 20] += 5.0
    plain = prepare_cutout(**raw.arguments())
    assert plain.neighbours.any() and plain.artefacts[20, 20]
    keep = plain.neighbours.copy()
    keep[20, 20] = True
    mask = np.ones(raw.image.shape, bool)
    mask[80:90, 100:110] = False
    overruled = prepare_cutout(**raw.arguments(), keep=keep, mask=mask)
    assert overruled.observation.mask[keep].all()
    assert not overruled.observation.mask[80:90, 100:110].any()
    marked = rim_lensing.Mask(~mask, marks="masked")
    again = prepare_cutout(**raw.arguments(), mask=marked)
    assert not again.observation.mask[80:90, 100:110].any()


@pytest.mark.parametrize("unit", [1e-20, 1e6])
def test_the_unit_does_not_matter(prepared, unit):
    raw, one = prepared
    other = prepare_cutout(raw.image * unit, raw.noise * unit, 0.045, pixel_scale=0.05)
    assert other.sky / unit == pytest.approx(one.sky, rel=1e-6)
    assert other.centre == pytest.approx(one.centre)
    for name in ("neighbours", "artefacts", "arcs", "blank"):
        assert np.array_equal(getattr(other, name), getattr(one, name))


def test_rows_and_columns_may_differ(make_raw):
    raw = make_raw()
    image, noise = raw.image[10:], raw.noise[10:]
    found = prepare_cutout(image, noise, 0.045, pixel_scale=0.05)
    assert found.centre == pytest.approx((raw.centre[0] - 10, raw.centre[1]), abs=0.1)
    assert found.observation.mask.shape == image.shape


def test_an_observation_serves(prepared):
    raw, one = prepared
    seen = rim_lensing.Observation(raw.image, raw.noise, 0.045, pixel_scale=0.05)
    assert prepare_cutout(seen).sky == one.sky
    unknown = rim_lensing.Observation(raw.image, np.nan, 0.045, pixel_scale=0.05)
    assert prepare_cutout(unknown).noise_factor is None


def test_an_image_without_lens_light_keeps_its_middle(make_raw, shapes):
    raw = make_raw(amplitude=1e-9, extra={"arc": shapes.arc(0.8, 0.06, 0.3, 0.8, 0.5)})
    found = prepare_cutout(**raw.arguments())
    assert found.centre == ((shapes.side - 1) / 2,) * 2
    assert "No galaxy's light" in found.said[0]


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError) as error:
        prepare_cutout(
            np.zeros((20, 30)), 0.1, 0.05, keep=np.full((20, 30), 2), exposure=-1, centre=(50, 3)
        )
    for name in (
        "`image` must have 24 pixels",
        "`pixel_scale`",
        "`keep`",
        "`exposure`",
        "`centre`",
    ):
        assert name in str(error.value)


def test_beside_an_observation_its_parts_are_left_out(prepared):
    raw, _ = prepared
    seen = rim_lensing.Observation(raw.image, raw.noise, 0.045, pixel_scale=0.05)
    with pytest.raises(ValueError, match="`noise` must be left out"):
        prepare_cutout(seen, noise=0.1)


@pytest.mark.parametrize(
    "spoil, match",
    [
        (lambda image: np.full(image.shape, np.nan), "quarter of its pixels"),
        (lambda image: np.zeros(image.shape), "quarter of its pixels"),
        (lambda image: np.stack([image, image]), "one image"),
    ],
)
def test_images_that_cannot_be_prepared_are_refused(prepared, spoil, match):
    raw, _ = prepared
    with pytest.raises(ValueError, match=match):
        prepare_cutout(spoil(raw.image), 0.01, 0.045, pixel_scale=0.05)


def test_the_picture_shows_what_was_found(prepared):
    _, found = prepared
    figure = found.plot()
    titles = [axis.get_title() for axis in figure.axes]
    assert "what is used" in titles
    figure.canvas.draw()
    found.sky_fit.plot().canvas.draw()


def test_headers_tell_exposure_gain_and_saturation(make_raw, tmp_path):
    """In the primary header, as HST's files have them, for an image in an extension."""
    from astropy.io import fits

    raw = make_raw()
    primary = fits.PrimaryHDU()
    primary.header.update({"EXPTIME": 1000.0, "CCDGAIN": 2.0, "SATURATE": 0.9 * raw.image.max()})
    image = fits.ImageHDU(raw.image, name="SCI")
    image.header["BUNIT"] = "ELECTRONS/S"
    fits.HDUList([primary, image]).writeto(tmp_path / "image.fits")
    seen = rim_lensing.read_observation(
        f"{tmp_path / 'image.fits'}[SCI]", np.nan, 0.045, pixel_scale=0.05
    )
    found = prepare_cutout(seen)
    said = prepare_cutout(raw.image, psf=0.045, pixel_scale=0.05, exposure=1000.0)
    used = found.observation.mask
    assert np.array_equal(found.saturated, raw.image >= 0.9 * raw.image.max())
    assert "exposure 1000 (EXPTIME)" in found.said[0]
    np.testing.assert_allclose(
        found.observation.noise[used], said.observation.noise[used], rtol=0.05
    )
    assert prepare_cutout(seen, exposure=10.0).observation.noise.max() > 5 * said.sky_rms
