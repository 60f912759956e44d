"""Critical curves, caustics and cuts against closed forms and lenstronomy."""

import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.lens_model_extensions import LensModelExtensions
from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

from rim_lensing.lensing.critical_curves import caustics, critical_curves, cut, enclosed_area
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.lensing.mass_components import EPL, SIS, Shear
from rim_lensing.lensing.mass_model import MassModel

# JAX computes in float32 unless it is told otherwise.
EXACT = 1e-8 if "float64" in str(ops.convert_to_tensor(np.zeros(1)).dtype) else 2e-5

SHEARED = LensParameters(1.2, 0.15, 0.1, 0.05, -0.02, 0.08, -0.05)
FLAT = LensParameters(1.1, 0.1, -0.1, 0.02, 0.03, 0.05, 0.02, slope=0.7)
STEEP = LensParameters(1.1, 0.1, -0.1, 0.02, 0.03, 0.05, 0.02, slope=1.3)


def lenstronomy_lens(lens: LensParameters):
    main = {
        "theta_E": lens.theta_E,
        "gamma": lens.slope + 1,
        "e1": lens.e1,
        "e2": lens.e2,
        "center_x": lens.x,
        "center_y": lens.y,
    }
    shear = {"gamma1": lens.gamma1, "gamma2": lens.gamma2, "ra_0": 0, "dec_0": 0}
    return LensModel(["EPL", "SHEAR"]), [main, shear]


def nearest(points: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Distance of each point from the polygon's sides."""
    start, side = curve[:-1], np.diff(curve, axis=0)
    relative = points[:, None] - start
    length2 = np.maximum(np.sum(side**2, axis=1), 1e-300)
    along = np.clip(np.sum(relative * side, axis=2) / length2, 0, 1)
    return np.linalg.norm(relative - along[..., None] * side, axis=2).min(axis=1)


def is_inside(point, curve: np.ndarray) -> bool:
    """Whether a closed curve winds around a point."""
    z = (curve - point) @ np.array([1, 1j])
    return abs(np.sum(np.angle(z[1:] / z[:-1]))) > np.pi


def test_isothermal_sphere():
    lens = LensParameters(1.2, x=0.1, y=-0.07)
    (curve,) = critical_curves(lens)
    radius = np.hypot(*(curve - [0.1, -0.07]).T)
    np.testing.assert_allclose(radius, 1.2, atol=1e-9 + EXACT)
    assert enclosed_area(curve) == pytest.approx(np.pi * 1.2**2, rel=1e-3)
    (caustic,) = caustics(lens)
    np.testing.assert_allclose(caustic, np.broadcast_to([0.1, -0.07], caustic.shape), atol=EXACT)
    np.testing.assert_allclose(np.hypot(*(cut(lens) - [0.1, -0.07]).T), 1.2, atol=EXACT)


@pytest.mark.parametrize("q", [0.2, 0.5, 0.9])
def test_isothermal_ellipsoid(q):
    # Kormann et al. (1994), section 3: kappa = 1/2 on the critical curve; the astroid's cusps and
    # the cut's half axes along the major (x) and the minor axis.
    theta_E, f = 1.3, np.sqrt(1 - q**2)
    lens = LensParameters(theta_E, e1=(1 - q) / (1 + q))
    (curve,) = critical_curves(lens)
    x, y = curve.T
    np.testing.assert_allclose(np.sqrt(q * x**2 + y**2 / q), theta_E, atol=10 * EXACT)
    half_x = theta_E * np.sqrt(q) / f * np.arccos(q)
    half_y = theta_E * np.sqrt(q) / f * np.arccosh(1 / q)
    (astroid,) = caustics(lens)
    np.testing.assert_allclose(
        np.abs(astroid).max(axis=0),
        [abs(theta_E / np.sqrt(q) - half_x), abs(theta_E * np.sqrt(q) - half_y)],
        rtol=2e-3,
    )
    line = cut(lens)
    np.testing.assert_allclose(line.max(axis=0), [half_x, half_y], atol=1e-4)
    np.testing.assert_allclose(line.min(axis=0), [-half_x, -half_y], atol=1e-4)


@pytest.mark.parametrize("slope", [0.5, 0.8])
def test_shallow_power_law_has_a_radial_curve(slope):
    # Spherical: alpha = theta_E (r / theta_E)^(1 - t), and dalpha / dr = 1 on the radial curve.
    tangential, radial = critical_curves(LensParameters(1.5, slope=slope))
    np.testing.assert_allclose(np.hypot(*tangential.T), 1.5, atol=10 * EXACT)
    expected = 1.5 * (1 - slope) ** (1 / slope)
    np.testing.assert_allclose(np.hypot(*radial.T), expected, atol=10 * EXACT)
    point, caustic = caustics(LensParameters(1.5, slope=slope))
    assert np.abs(point).max() < 10 * EXACT
    radius = 1.5 * (expected / 1.5) ** (1 - slope) - expected
    np.testing.assert_allclose(np.hypot(*caustic.T), radius, atol=10 * EXACT)


@pytest.mark.parametrize("lens", [SHEARED, FLAT, STEEP], ids=["SIE", "flat", "steep"])
def test_against_lenstronomy(lens):
    model, keywords = lenstronomy_lens(lens)
    curves = critical_curves(lens)
    assert len(curves) == (2 if lens.slope < 1 else 1)
    areas = [enclosed_area(curve) for curve in curves]
    assert areas == sorted(areas, reverse=True)
    for curve, caustic in zip(curves, caustics(lens), strict=True):
        np.testing.assert_array_equal(curve[0], curve[-1])
        inverse = 1 / model.magnification(*curve.T, keywords)
        assert np.abs(inverse).max() < 100 * EXACT
        expected = np.stack(model.ray_shooting(*curve.T, keywords), axis=-1)
        np.testing.assert_allclose(caustic, expected, atol=10 * EXACT + 1e-7)
    # All that lenstronomy finds lies on one of ours.
    theirs = LensModelExtensions(model).critical_curve_tiling(
        keywords, compute_window=5, start_scale=0.2, max_order=10
    )
    theirs = np.stack(theirs, axis=-1)
    distance = np.min([nearest(theirs, curve) for curve in curves], axis=0)
    assert len(theirs) > 50 and distance.max() < 0.01
    # And all of ours is found by them.
    for curve in curves:
        gaps = np.linalg.norm(curve[:, None] - theirs, axis=2).min(axis=1)
        assert gaps.max() < 0.3


def test_number_of_images():
    lens = SHEARED
    model, keywords = lenstronomy_lens(lens)
    solver = LensEquationSolver(model)
    (astroid,), line = caustics(lens), cut(lens)
    generator = np.random.default_rng(2)
    candidates = np.concatenate([generator.uniform(-h, h, (50, 2)) for h in (0.3, 1.5)])
    candidates = candidates[
        np.minimum(nearest(candidates, astroid), nearest(candidates, line)) > 0.02
    ]
    counts = np.array(
        [1 + is_inside(beta, line) + 2 * is_inside(beta, astroid) for beta in candidates]
    )
    for count in (1, 2, 4):
        assert np.sum(counts == count) >= 2
        for beta in candidates[counts == count][:2]:
            x, _ = solver.image_position_from_source(*beta, keywords, solver="analytical")
            assert len(x) == count, beta


def test_the_grid_does_not_set_the_accuracy():
    for lens in (SHEARED, FLAT):
        coarse = critical_curves(lens, pixel_scale=0.1)
        model, keywords = lenstronomy_lens(lens)
        for curve in coarse:
            assert np.abs(1 / model.magnification(*curve.T, keywords)).max() < 100 * EXACT


@pytest.mark.parametrize("slope, ellipticity", [(0.5, 0.35), (0.5, 0.5), (0.4, 0.2), (0.4, 0.5)])
def test_shallow_lenses_still_fit_the_default_square(slope, ellipticity):
    """Wider than b / (1 - |e|): against a square that is surely large enough."""
    lens = LensParameters(1.2, ellipticity, 0.0, 0.1, -0.1, slope=slope)
    found = critical_curves(lens, pixel_scale=0.05)
    expected = critical_curves(lens, half_width=30.0, pixel_scale=0.05)
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert enclosed_area(one) == pytest.approx(enclosed_area(other), rel=1e-3)


def test_strong_shear_still_fits_the_default_square():
    for e1, gamma1, gamma2, slope in [
        (e1, *gamma, 1.0) for e1 in (-0.6, 0.6) for gamma in ((0.4, 0), (0, 0.4), (-0.4, 0))
    ] + [(0.3, 0.3, 0.0, 0.8), (0.3, -0.3, 0.0, 0.8), (0.3, -0.3, 0.0, 1.3)]:
        lens = LensParameters(1.0, e1, 0.0, 0.0, 0.0, gamma1, gamma2, slope)
        curves = critical_curves(lens, pixel_scale=0.1)
        assert is_inside([0.0, 0.0], curves[0])


def test_forms_of_a_lens():
    row = np.asarray(SHEARED)
    (expected,) = critical_curves(SHEARED)
    for lens in (row, row[None], [*row, 1.0], row.tolist()):
        np.testing.assert_array_equal(critical_curves(lens)[0], expected)


def test_no_mass_has_no_curves():
    assert critical_curves(LensParameters(0.0, gamma1=0.1)) == []
    assert caustics(LensParameters(0.0)) == []


def test_a_cluster_has_the_curve_of_a_galaxy_scaled_up():
    (small,), (large,) = (critical_curves([r, 0.3, 0, 0, 0, 0, 0]) for r in (1.0, 40.0))
    assert enclosed_area(large) == pytest.approx(1600 * enclosed_area(small), rel=1e-3)


@pytest.mark.parametrize("name", ["half_width", "pixel_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_sizes_are_checked(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive.*Received: {name}="):
        critical_curves(LensParameters(1.0), **{name: value})


@pytest.mark.parametrize(
    ("lens", "options", "message"),
    [
        (np.ones((2, 7)), {}, r"`lens` must be one row.*Received: shape \(2, 7\)"),
        ([-1.0, 0, 0, 0, 0, 0, 0], {}, "`theta_E` must not be negative"),
        (LensParameters(1.0), {"half_width": 0.8}, "`half_width` must hold every.*half_width=0.8"),
        (LensParameters(1.0), {"pixel_scale": 1e-4}, "must be at most 2000.*pixel_scale=0.0001"),
        (LensParameters(1.0, gamma1=1.2), {}, "shear must be below 1.*gamma.=1.2"),
    ],
)
def test_refusals(lens, options, message):
    for function in (critical_curves, caustics):
        with pytest.raises(ValueError, match=message):
            function(lens, **options)


def test_only_isothermal_lenses_have_a_cut():
    with pytest.raises(ValueError, match="`lens` must be isothermal.*Received: slope=0.7"):
        cut(FLAT)


def inverse_and_slope(model, keywords, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """lenstronomy's inverse magnification, by its formulas, and the modulus of its gradient."""
    inverse, *around = (
        1 / model.magnification(*(points + shift).T, keywords)
        for shift in ([0, 0], [1e-6, 0], [-1e-6, 0], [0, 1e-6], [0, -1e-6])
    )
    return inverse, np.hypot(around[0] - around[1], around[2] - around[3]) / 2e-6


def test_curves_of_a_scene_against_lenstronomy():
    scene = MassModel(
        lens=EPL(1.2, 0.15, -0.1, 0.02, 0.03, 0.9), shear=Shear(0.03, 0.02), sub=SIS(0.1, 0.9, 0.8)
    )
    model = LensModel(["EPL", "SHEAR", "SIS"])
    keywords = [
        {"theta_E": 1.2, "e1": 0.15, "e2": -0.1, "center_x": 0.02, "center_y": 0.03, "gamma": 1.9},
        {"gamma1": 0.03, "gamma2": 0.02},
        {"theta_E": 0.1, "center_x": 0.9, "center_y": 0.8},
    ]
    curves = critical_curves(scene)
    for curve, caustic in zip(curves, caustics(scene), strict=True):
        # In arcsec: the determinant over its slope. Ours is softened over 1e-5 arcsec.
        inverse, slope = inverse_and_slope(model, keywords, curve)
        assert np.abs(inverse / slope).max() < 10 * EXACT
        expected = np.stack(model.ray_shooting(*curve.T, keywords), axis=-1)
        np.testing.assert_allclose(caustic, expected, atol=10 * EXACT + 1e-7)
    assert np.abs(inverse_and_slope(model, keywords, curves[0])[0]).max() < 100 * EXACT
    without = critical_curves(LensParameters(1.2, 0.15, -0.1, 0.02, 0.03, 0.03, 0.02, 0.9))
    assert enclosed_area(curves[0]) > enclosed_area(without[0]) + 0.1
