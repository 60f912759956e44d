"""The fit of the lens galaxy's light against closed forms and lenstronomy."""

from dataclasses import replace

import numpy as np
import pytest

from rim_lensing.lens_light.fit import fit_lens_light
from rim_lensing.observation.observation import Observation
from tests.lens_light import lenstronomy_sky as sky

DE_VAUCOULEURS = {**sky.GALAXY[0], "amp": 100.0}


@pytest.fixture(scope="module")
def mock() -> dict:
    """A galaxy of bulge and disc, arcs, sky and noise."""
    light = sky.draw(sky.GALAXY)
    arcs = sky.draw((), [sky.source_at(0.15, 0.1)], [sky.LENS, sky.SHEAR])
    noise = np.sqrt(0.08**2 + (light + arcs) / 100)
    drawn = np.random.default_rng(3).standard_normal(light.shape)
    image = light + arcs + 0.3 + noise * drawn
    seen = Observation(image, noise, sky.psf_kernel(), pixel_scale=sky.SCALE)
    return {"light": light, "arcs": arcs, "seen": seen}


def test_a_gaussian_behind_a_gaussian():
    """Closed form: variances add, those of the pixel's square, too (to a part in 1000)."""
    axis = (np.arange(61) - 30) * 0.05
    x, y = np.meshgrid(axis - 0.03, axis + 0.02)
    covariance = np.array([[0.3**2, 0.0], [0.0, 0.2**2]])
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    seen = turn @ covariance @ turn.T + (0.08**2 + 0.05**2 / 12) * np.eye(2)
    a, b, c = (np.linalg.inv(seen)[i] for i in ((0, 0), (0, 1), (1, 1)))
    image = np.exp(-0.5 * (a * x**2 + 2 * b * x * y + c * y**2))
    image *= 50 * 0.05**2 / (2 * np.pi * np.sqrt(np.linalg.det(seen)))
    light = fit_lens_light(Observation(image + 0.01, 1e-4, 0.08, pixel_scale=0.05))
    np.testing.assert_allclose(light.image, image, atol=2e-3 * image.max())
    assert light.flux == pytest.approx(50, rel=3e-3)
    assert light.sky == pytest.approx(0.01, abs=2e-4)
    assert light.centre == pytest.approx((0.03, -0.02), abs=1e-3)
    assert light.axis_ratio == pytest.approx(2 / 3, abs=0.02)
    assert light.angle == pytest.approx(0.5, abs=0.02)
    # Half of a Gaussian's light lies inside of 1.1774 sigma.
    assert light.half_light_radius == pytest.approx(1.1774 * np.sqrt(0.3 * 0.2), rel=0.02)


@pytest.mark.parametrize("kind", ["multi-gaussian", "sersic"])
def test_a_de_vaucouleurs_galaxy_of_lenstronomy(kind):
    image = sky.draw([DE_VAUCOULEURS], supersampling=11)
    noise = 1e-4 * image.max()
    seen = Observation(image + 0.5, noise, sky.psf_kernel(), pixel_scale=sky.SCALE)
    light = fit_lens_light(seen, kind=kind)
    bright = image > 100 * noise
    assert np.max(np.abs(light.image / image - 1)[bright]) < 0.012
    assert light.image.sum() == pytest.approx(image.sum(), rel=0.01)
    assert light.sky == pytest.approx(0.5, abs=2 * noise)
    assert light.centre == pytest.approx((0.02, -0.01), abs=2e-3)
    assert (light.e1, light.e2) == pytest.approx((0.12, -0.06), abs=0.01)
    if kind == "sersic":
        assert light.indices == pytest.approx([4.0], abs=0.05)
        assert light.half_light_radius == pytest.approx(0.8, rel=0.02)


def test_light_and_sky_under_arcs(mock):
    """Arcs are not known, and found by what they leave in the residuals."""
    light = fit_lens_light(mock["seen"])
    arcs = mock["arcs"] > 0.2 * mock["arcs"].max()
    assert light.fitted[arcs].mean() < 0.1
    assert light.fitted.mean() > 0.7
    assert light.sky == pytest.approx(0.3, abs=0.02)
    left = (light.subtract(mock["seen"]).image - mock["arcs"])[arcs]
    # 4% of the arcs' flux: the noise alone is 2%.
    assert abs(left.sum()) < 0.04 * mock["arcs"][arcs].sum()


def test_arcs_of_a_source_model_leave_the_light_unbiased(mock):
    light = fit_lens_light(mock["seen"], arcs=mock["arcs"])
    assert light.fitted.all()
    assert light.chi2 == pytest.approx(1, abs=0.05)
    assert light.image.sum() == pytest.approx(mock["light"].sum(), rel=0.03)
    arcs = mock["arcs"] > 0.2 * mock["arcs"].max()
    assert light.image[arcs].sum() == pytest.approx(mock["light"][arcs].sum(), rel=0.02)


def test_pixels_are_left_out(mock):
    """A neighbour that is masked changes nothing; nor does what a masked pixel holds."""
    without = np.zeros(mock["seen"].image.shape, bool)
    without[80:100, 20:40] = True
    image = np.where(without, 50.0, mock["seen"].image)
    light = fit_lens_light(replace(mock["seen"], image=image), without=without)
    mask = ~without
    broken = replace(mock["seen"], image=np.where(without, np.nan, image), mask=mask)
    np.testing.assert_allclose(fit_lens_light(broken).image, light.image)
    assert not light.fitted[without].any()
    plain = fit_lens_light(mock["seen"])
    np.testing.assert_allclose(light.image, plain.image, rtol=0.1, atol=0.03)


def test_symmetries_and_flux_scale(mock):
    """Turned data give the light turned; another unit, the light in this unit."""
    plain = fit_lens_light(mock["seen"])
    turned = fit_lens_light(
        replace(
            mock["seen"],
            image=np.rot90(mock["seen"].image) * 1e-20,
            noise=np.rot90(mock["seen"].noise) * 1e-20,
            mask=np.rot90(mock["seen"].mask),
        )
    )
    np.testing.assert_allclose(
        turned.image * 1e20, np.rot90(plain.image), rtol=0.03, atol=2e-3 * plain.image.max()
    )
    # rot90 of rows that grow with y turns clockwise: (x, y) becomes (y, -x).
    x, y = plain.centre
    assert turned.centre == pytest.approx((y, -x), abs=3e-3)
    assert (turned.e1, turned.e2) == pytest.approx((-plain.e1, -plain.e2), abs=0.02)
    assert turned.flux * 1e20 == pytest.approx(plain.flux, rel=0.03)


def test_twist_is_the_turn_of_the_major_axis():
    inner, outer = dict(sky.GALAXY[0]), dict(sky.GALAXY[1])
    inner |= {"R_sersic": 0.3, "n_sersic": 1.5, "e1": 0.2, "e2": 0.0}
    turn = 0.4
    outer |= {"amp": 2.0, "e1": 0.2 * np.cos(2 * turn), "e2": 0.2 * np.sin(2 * turn)}
    image = sky.draw([inner, outer])
    light = fit_lens_light(Observation(image, 0.01, sky.psf_kernel(), pixel_scale=sky.SCALE))
    assert 0.05 < light.twist < turn


def test_error_is_what_residuals_scatter_more_than_noise(mock):
    """A core that no ellipse describes gets an error; a good fit gets next to none."""
    good = fit_lens_light(mock["seen"], arcs=mock["arcs"])
    assert np.median(good.error / mock["seen"].noise) < 0.5
    ripple = 0.2 * np.cos(4 * np.arctan2(*np.indices(good.image.shape) - 60 + 0.3))
    odd = mock["seen"].image + ripple * mock["light"]
    seen = replace(mock["seen"], image=odd)
    bad = fit_lens_light(seen, arcs=mock["arcs"])
    core = np.s_[52:69, 52:69]
    scatter = np.sqrt(np.mean((ripple * mock["light"])[core] ** 2))
    assert np.sqrt(np.mean(bad.error[core] ** 2)) == pytest.approx(scatter, rel=0.5)
    assert np.all(bad.subtract(seen).noise >= seen.noise)


def test_what_is_refused(mock):
    seen = mock["seen"]
    with pytest.raises(ValueError, match="`kind` must be one of.*Received: 'shapelets'"):
        fit_lens_light(seen, kind="shapelets")
    with pytest.raises(ValueError, match="pixel scale"):
        fit_lens_light(Observation(seen.image, 0.1, sky.psf_kernel()))
    with pytest.raises(ValueError, match="`arcs` must have the image's shape"):
        fit_lens_light(seen, arcs=np.zeros((3, 3)))
    light = fit_lens_light(seen.crop(61))
    with pytest.raises(ValueError, match="`observation` must have the pixels of the light"):
        light.subtract(seen)


def test_figure_holds_data_light_and_the_rest(mock):
    light = fit_lens_light(mock["seen"].crop(61))
    seen = mock["seen"].crop(61)
    axes = light.plot(seen).axes
    rest = np.asarray(axes[2].images[0].get_array())
    np.testing.assert_allclose(rest, light.subtract(seen).image)
