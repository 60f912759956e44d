import numpy as np
import pytest

from rim_lensing.preparation.smooth_galaxy import smooth_galaxy


@pytest.mark.parametrize("q", [0.5, 0.75, 0.95])
def test_the_ellipse_of_a_sersic_profile_is_found(make_raw, shapes, q):
    raw = make_raw(q=q)
    galaxy = smooth_galaxy(raw.image, np.ones(raw.image.shape, bool), raw.centre, shapes.rms)
    assert galaxy.axis_ratio == pytest.approx(q, abs=0.03)
    if q < 0.9:
        assert galaxy.angle == pytest.approx(0.4, abs=0.03)


def test_the_model_is_the_galaxy_under_an_arc(make_raw, shapes):
    raw = make_raw(extra={"arc": shapes.arc(1.2, 0.06, 0.3, 0.8, 0.5)})
    galaxy = smooth_galaxy(raw.image, np.ones(raw.image.shape, bool), raw.centre, shapes.rms)
    under = raw.parts["arc"] > 0.2
    true = shapes.sky + raw.parts["galaxy"]
    taken = np.mean((galaxy.model - true)[under]) / raw.parts["arc"][under].mean()
    assert abs(taken) < 0.1
    assert not galaxy.clean[raw.parts["arc"] > 0.4].any()


def test_pixels_that_are_not_used_tell_nothing(make_raw, shapes):
    raw = make_raw()
    used = np.ones(raw.image.shape, bool)
    used[60:75, 95:120] = False
    wrong = np.where(used, raw.image, 1e5)
    models = [
        smooth_galaxy(image, used, raw.centre, shapes.rms).model
        for image in (wrong, np.where(used, raw.image, np.nan))
    ]
    np.testing.assert_allclose(models[0], models[1])
    assert np.abs(models[0] - raw.image)[used].mean() < 2 * shapes.rms
