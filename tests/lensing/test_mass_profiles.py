"""Deflection, convergence and magnification against lenstronomy, and their gradients."""

import itertools

import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.backend import compiled, gradient
from rim_lensing.lensing.mass_profiles import (
    SOFTENING,
    convergence,
    deflection,
    inverse_magnification,
)

HAS_FLOAT64 = "float64" in str(ops.convert_to_tensor(np.zeros(1)).dtype)
needs_float64 = pytest.mark.skipif(not HAS_FLOAT64, reason="the backend has no float64 by default")

ELLIPTICITIES = (0.0, 1e-4, 0.02, 0.0499, 0.0501, 0.2, 0.5, 0.75)
ANGLES = (0.0, 0.4, np.pi / 2, 2.5)


def lens_grid(slopes=None) -> np.ndarray:
    """Lenses over a grid of ellipticity, angle, theta_E, slope; centre and shear at random."""
    generator = np.random.default_rng(3)
    rows = []
    for e, phi, theta_E, t in itertools.product(
        ELLIPTICITIES, ANGLES, (0.3, 1.1, 2.2), slopes or (1.0,)
    ):
        x, y, gamma1, gamma2 = generator.uniform(-0.1, 0.1, 4)
        row = [theta_E, e * np.cos(2 * phi), e * np.sin(2 * phi), x, y, gamma1, gamma2]
        rows.append([*row, t] if slopes else row)
    return np.array(rows)


def lenstronomy_lens(row):
    """lenstronomy's model and keywords of one of our rows."""
    model = LensModel(["EPL" if len(row) == 8 else "SIE", "SHEAR"])
    main = {
        "theta_E": row[0],
        "e1": row[1],
        "e2": row[2],
        "center_x": row[3],
        "center_y": row[4],
    }
    if len(row) == 8:
        main["gamma"] = row[7] + 1
    return model, [main, {"gamma1": row[5], "gamma2": row[6], "ra_0": 0, "dec_0": 0}]


def points() -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-3.05, 3.1, 18)
    return np.meshgrid(axis, axis)


@pytest.fixture(params=["float32", pytest.param("float64", marks=needs_float64)])
def dtype(request):
    return request.param


@pytest.fixture(params=["SIE", "EPL"])
def lenses(request, dtype):
    slopes = (0.5, 0.9, 1.0, 1.3, 1.8) if request.param == "EPL" else None
    return lens_grid(slopes).astype(dtype)


def test_deflection_against_lenstronomy(lenses):
    x, y = points()
    ours = np.stack([ops.convert_to_numpy(a) for a in deflection(lenses, x, y)])
    assert ours.dtype == lenses.dtype and ours.shape == (2, len(lenses), *x.shape)
    for i, row in enumerate(lenses.astype("float64")):
        model, keywords = lenstronomy_lens(row)
        expected = model.alpha(x.astype(lenses.dtype), y.astype(lenses.dtype), keywords)
        np.testing.assert_allclose(ours[:, i], expected, rtol=0, atol=1e-5, err_msg=str(row))


def test_convergence_and_magnification_against_lenstronomy(lenses):
    x, y = (c.astype(lenses.dtype).astype("float64") for c in points())
    kappa = ops.convert_to_numpy(convergence(lenses, x, y))
    inverse = ops.convert_to_numpy(inverse_magnification(lenses, x, y))
    for i, row in enumerate(lenses.astype("float64")):
        # Not its SIE, whose second derivatives are difference quotients, good to 1e-5.
        model, keywords = lenstronomy_lens(row if len(row) == 8 else [*row, 1.0])
        np.testing.assert_allclose(kappa[i], model.kappa(x, y, keywords), rtol=2e-6)
        expected = 1 / model.magnification(x, y, keywords)
        error = np.abs(inverse[i] - expected) / (1 + np.abs(expected))
        assert error.max() < 2e-5, row


@needs_float64
def test_double_precision_is_used():
    # The softening, 1e-5", is what is left.
    lenses = lens_grid()
    x, y = points()
    ours = np.stack([ops.convert_to_numpy(a) for a in deflection(lenses, x, y)])
    for i, row in enumerate(lenses):
        model, keywords = lenstronomy_lens(row)
        np.testing.assert_allclose(ours[:, i], model.alpha(x, y, keywords), rtol=0, atol=1e-7)


def test_sie_of_kormann():
    # DESIGN section 2: x along the major axis, intermediate-axis theta_E.
    q, theta_E = 0.6, 1.3
    x, y = points()
    lens = np.array([[theta_E, (1 - q) / (1 + q), 0, 0, 0, 0, 0]], "float32")
    psi, f = np.sqrt(q**2 * x**2 + y**2), np.sqrt(1 - q**2)
    alpha_x, alpha_y = (ops.convert_to_numpy(a)[0] for a in deflection(lens, x, y))
    amplitude = theta_E * np.sqrt(q) / f
    np.testing.assert_allclose(alpha_x, amplitude * np.arctan(f * x / psi), atol=2e-6)
    np.testing.assert_allclose(alpha_y, amplitude * np.arctanh(f * y / psi), atol=2e-6)


@pytest.mark.parametrize("slope", [None, 0.7, 1.4])
def test_rotation_covariance(slope):
    angle = 0.7
    cosine, sine = np.cos(angle), np.sin(angle)

    def rotated(u, v, times=1):
        c, s = np.cos(times * angle), np.sin(times * angle)
        return c * u - s * v, s * u + c * v

    row = [1.2, 0.3, -0.1, 0.08, -0.05, 0.06, 0.03]
    turned = [row[0], *rotated(*row[1:3], 2), *rotated(*row[3:5]), *rotated(*row[5:7], 2)]
    extra = [] if slope is None else [slope]
    x, y = points()
    before = deflection(np.array([row + extra], "float32"), x, y)
    after = deflection(np.array([turned + extra], "float32"), *rotated(x, y))
    before, after = ([ops.convert_to_numpy(a) for a in pair] for pair in (before, after))
    np.testing.assert_allclose(after[0], cosine * before[0] - sine * before[1], atol=4e-6)
    np.testing.assert_allclose(after[1], sine * before[0] + cosine * before[1], atol=4e-6)


def test_batched_coordinates():
    lenses = lens_grid()[::30].astype("float32")
    x, y = points()
    shift = np.arange(len(lenses))[:, None, None] / 10
    batched = ops.convert_to_numpy(deflection(lenses, x + shift, y)[0])
    for i, row in enumerate(lenses):
        single = ops.convert_to_numpy(deflection(row[None], x + shift[i], y)[0])[0]
        np.testing.assert_allclose(batched[i], single, atol=1e-6)


def test_no_mass_is_pure_shear():
    x, y = points()
    for extra in ([], [0.6], [1.5]):
        lens = np.array([[0, 0.2, 0.1, 0.05, 0, 0.03, -0.07, *extra]], "float32")
        alpha_x, alpha_y = (ops.convert_to_numpy(a)[0] for a in deflection(lens, x, y))
        np.testing.assert_allclose(alpha_x, 0.03 * x - 0.07 * y, atol=1e-6)
        np.testing.assert_allclose(alpha_y, -0.07 * x - 0.03 * y, atol=1e-6)
        assert np.all(ops.convert_to_numpy(convergence(lens, x, y)) == 0)


def values_and_gradients(lens, x, y):
    """All outputs of the module, and the gradient of each sum in lens, x and y."""
    lens, x, y = (ops.convert_to_tensor(v) for v in (lens, x, y))
    outputs = {
        "alpha_x": lambda *a: deflection(*a)[0],
        "alpha_y": lambda *a: deflection(*a)[1],
        "kappa": convergence,
        "inverse magnification": inverse_magnification,
    }
    for name, function in outputs.items():
        yield name, function(lens, x, y)
        yield f"d {name} / d lens", gradient(lambda v, f=function: ops.sum(f(v, x, y)), lens)
        yield f"d {name} / d x", gradient(lambda v, f=function: ops.sum(f(lens, v, y)), x)
        yield f"d {name} / d y", gradient(lambda v, f=function: ops.sum(f(lens, x, v)), y)


@pytest.mark.parametrize("slopes", [None, (0.05, 0.5, 1.0, 1.5, 1.95)], ids=["SIE", "EPL"])
def test_finite_at_every_special_point(slopes):
    # Lens centre, both axes of lens and sky, the centre's neighbourhood; with and without shear
    # and mass, round and not; centres that float32 holds exactly.
    rows = [
        [theta_E, e1, 0.0, x0, x0, gamma, 0.0] + ([] if t is None else [t])
        for theta_E in (0.0, 1e-6, 1.0)
        for e1 in (0.0, 0.02, 0.05, 0.3, -0.3, 0.75)
        for x0 in (0.0, 0.25)
        for gamma in (0.0, 0.1)
        for t in slopes or (None,)
    ]
    steps = np.array([0, SOFTENING / 10, -SOFTENING, 1e-3, 1.0, -3.0])
    x, y = np.meshgrid(np.concatenate([steps, 0.25 + steps]), np.concatenate([steps, 0.25 + steps]))
    lens, x, y = np.array(rows, "float32"), x.astype("float32"), y.astype("float32")
    for name, value in values_and_gradients(lens, x, y):
        finite = np.isfinite(ops.convert_to_numpy(value))
        assert finite.all(), (name, np.argwhere(~finite)[:5])


@pytest.mark.parametrize("columns", [7, 8], ids=["SIE", "EPL"])
def test_finite_on_a_million_draws(columns):
    generator = np.random.default_rng(0)
    total, chunk = 10**6, 25_000

    def deflections(v):
        row, x, y = v[:, :columns], v[:, columns, None, None], v[:, columns + 1, None, None]
        return deflection(row, x, y)

    def combined(v):
        alpha_x, alpha_y = deflections(v)
        return ops.sum(alpha_x + 0.7 * alpha_y)

    both = compiled(lambda v: (*deflections(v), gradient(combined, v)))
    for _ in range(total // chunk):
        e, phi = generator.uniform(0, 0.75, chunk), generator.uniform(0, np.pi, chunk)
        # The columns of a lens, and then x and y of a ray.
        draws = generator.uniform(-0.3, 0.3, (chunk, columns + 2))
        draws[:, 0] = generator.uniform(0, 3, chunk)
        draws[:, 1], draws[:, 2] = e * np.cos(2 * phi), e * np.sin(2 * phi)
        if columns == 8:
            draws[:, 7] = generator.uniform(0.05, 1.95, chunk)
        draws[:, columns:] *= 12
        # Some of them on the special points themselves, in all combinations.
        special = generator.uniform(size=(5, chunk)) < 0.2
        draws[special[0], 1:3] = 0
        draws[special[1], 5:7] = 0
        draws[special[2], 0] = 0
        draws[special[3], columns] = draws[special[3], 3]
        draws[special[4], columns + 1] = draws[special[4], 4]
        for value in both(ops.convert_to_tensor(draws, dtype="float32")):
            assert np.all(np.isfinite(ops.convert_to_numpy(value)))


@needs_float64
@pytest.mark.parametrize("slope", [None, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("e", [0.0, 1e-3, 0.05, 0.3])
def test_gradients_equal_lenstronomys_difference_quotients(slope, e):
    # At e = 0 lenstronomy is evaluated at e1 = +h and -h, never at q = 1 itself.
    row = np.array([1.2, e, 0.0, 0.05, -0.03, 0.0, 0.0] + ([] if slope is None else [slope]))
    axis = np.linspace(-2.1, 2.0, 6)
    x, y = np.meshgrid(axis, axis)
    x[0, 0], y[0, 0] = 0.05, 1.3
    x[0, 1], y[0, 1] = 1.3, -0.03
    weights = np.random.default_rng(0).standard_normal((2, *x.shape))
    step = 1e-4

    def ours(lens):
        alpha = deflection(lens, x, y)
        return ops.sum(alpha[0] * weights[0]) + ops.sum(alpha[1] * weights[1])

    def theirs(lens):
        model, keywords = lenstronomy_lens(lens)
        return np.sum(np.stack(model.alpha(x, y, keywords)) * weights)

    slopes = ops.convert_to_numpy(gradient(ours, ops.convert_to_tensor(row[None])))[0]
    for i in range(len(row)):
        h = step * np.eye(len(row))[i]
        quotient = (theirs(row + h) - theirs(row - h)) / (2 * step)
        assert slopes[i] == pytest.approx(quotient, rel=2e-5, abs=2e-5), i


@needs_float64
def test_gradient_is_continuous_where_the_formula_changes():
    # The arctangent is a series below |e| = 0.05.
    x, y = points()

    def slope(e1):
        lens = ops.convert_to_tensor(np.array([[1.2, e1, 0.0, 0.01, 0.02, 0.0, 0.0]]))
        return ops.convert_to_numpy(gradient(lambda v: ops.sum(deflection(v, x, y)[0] * x), lens))

    np.testing.assert_allclose(slope(0.05 - 1e-9), slope(0.05 + 1e-9), rtol=1e-6)


@needs_float64
def test_jacobian_of_the_deflection_gives_the_magnification():
    lenses = lens_grid((0.7, 1.0, 1.4))[::17]
    x, y = (ops.convert_to_tensor(np.broadcast_to(c, (len(lenses), *c.shape))) for c in points())
    jacobian = [
        [gradient(lambda v, f=f: ops.sum(f(v)), at) for f, at in row]
        for row in (
            (
                (lambda v: deflection(lenses, v, y)[0], x),
                (lambda v: deflection(lenses, x, v)[0], y),
            ),
            (
                (lambda v: deflection(lenses, v, y)[1], x),
                (lambda v: deflection(lenses, x, v)[1], y),
            ),
        )
    ]
    (xx, xy), (yx, yy) = jacobian
    determinant = ops.convert_to_numpy((1 - xx) * (1 - yy) - xy * yx)
    inverse = ops.convert_to_numpy(inverse_magnification(lenses, x, y))
    np.testing.assert_allclose(inverse, determinant, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(xx + yy) / 2,
        ops.convert_to_numpy(convergence(lenses, x, y)),
        rtol=1e-4,
        atol=1e-5,
    )
