"""Every mass component against lenstronomy, its gradients against differences, its symmetries."""

import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.backend import compiled, gradient
from rim_lensing.lensing.mass_components import (
    COMPONENTS,
    EPL,
    MULTIPOLES,
    NFW,
    SIE,
    SIS,
    Multipole,
    PointMass,
    Shear,
    Sheet,
)
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.lensing.symmetries import SYMMETRIES

HAS_FLOAT64 = "float64" in str(ops.convert_to_tensor(np.zeros(1)).dtype)
needs_float64 = pytest.mark.skipif(not HAS_FLOAT64, reason="the backend has no float64 by default")

KINDS = [SIE(), EPL(), Shear(), Sheet(), SIS(), PointMass(), NFW(), *map(Multipole, MULTIPOLES)]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)


def centred(values, *names):
    *own, x, y = values
    return dict(zip(names, own, strict=True)) | {"center_x": x, "center_y": y}


def lenstronomy(component) -> tuple[LensModel, list[dict]]:
    """lenstronomy's model and keywords, written by hand from its documentation."""
    values = component.values
    match component:
        case EPL():
            *values, slope = values
            name, keywords = "EPL", centred(values, "theta_E", "e1", "e2") | {"gamma": slope + 1}
        case SIE():
            name, keywords = "SIE", centred(values, "theta_E", "e1", "e2")
        case Shear():
            name, keywords = "SHEAR", dict(zip(("gamma1", "gamma2"), values, strict=True))
        case Sheet():
            name, keywords = "CONVERGENCE", {"kappa": values[0]}
        case PointMass():
            name, keywords = "POINT_MASS", centred(values, "theta_E")
        case SIS():
            name, keywords = "SIS", centred(values, "theta_E")
        case NFW():
            name, keywords = "NFW", centred(values, "alpha_Rs", "Rs")
        case Multipole(m=m):
            a1, a2, *centre = values
            angle = np.arctan2(a2, a1) / m
            name = "MULTIPOLE"
            keywords = centred((m, np.hypot(a1, a2), angle, *centre), "m", "a_m", "phi_m")
    return LensModel([name]), [keywords]


def random_component(kind, generator):
    values = []
    for parameter in kind.parameters():
        low, high = parameter.search
        values.append(generator.uniform(max(low, -2.0), min(high, 8.0)))
    if isinstance(kind, SIE):
        e, phi = generator.uniform(0, 0.7), generator.uniform(0, np.pi)
        values[1:3] = e * np.cos(2 * phi), e * np.sin(2 * phi)
    return kind.with_values(values)


def ours(component, x, y, dtype="float32") -> np.ndarray:
    found = MassModel(one=component).deflection(np.array([component.values], dtype), x, y)
    return np.stack([ops.convert_to_numpy(each)[0] for each in found])


@every_kind
def test_random_draws_against_lenstronomy(kind):
    # 500 lenses seen at 20 positions each: 10^4 draws.
    generator = np.random.default_rng(7)
    lenses = [random_component(kind, generator) for _ in range(500)]
    x, y = generator.uniform(-4, 4, (2, 500, 1, 20)).astype("float32")
    array = np.array([lens.values for lens in lenses], "float32")
    form = MassModel(one=kind.form)
    found = [ops.convert_to_numpy(each) for each in form.deflection(array, x, y)]
    for i, row in enumerate(array.astype("float64")):
        model, keywords = lenstronomy(kind.with_values(row.tolist()))
        expected = model.alpha(x[i, 0].astype("float64"), y[i, 0].astype("float64"), keywords)
        difference = np.stack([each[i, 0] for each in found]) - expected
        # Of a point mass nearby the deflection itself has more digits than float32.
        allowed = 1e-5 + (2e-6 * np.abs(expected) if isinstance(kind, PointMass) else 0)
        assert np.all(np.abs(difference) < allowed), (row, np.abs(difference).max())


@every_kind
def test_special_places_against_lenstronomy(kind):
    round_one = kind.with_values(
        [0.0 if p.name in ("e1", "e2", "x", "y") else p.default for p in kind.parameters()]
    )
    axis = np.linspace(-2, 2, 8)
    x = np.concatenate([axis, np.zeros(8), axis])
    y = np.concatenate([np.zeros(8), axis, axis])
    elliptical = [round_one]
    if isinstance(kind, SIE):
        elliptical += [
            kind.with_values([1.2, *e, 0, 0, *kind.values[5:]])
            for e in ((0.3, 0), (-0.3, 0), (0, 0.3), (1e-9, 0), (0.05, 0))
        ]
    for component in elliptical:
        model, keywords = lenstronomy(component)
        np.testing.assert_allclose(
            ours(component, x[None], y[None])[:, 0], model.alpha(x, y, keywords), atol=1e-5
        )


@every_kind
def test_no_deflection_at_the_centre_and_without_amplitude(kind):
    zero = np.zeros((1, 1))
    lopsided = isinstance(kind, Multipole) and kind.m == 1
    if not lopsided:  # Its deflection goes as the logarithm of the distance.
        np.testing.assert_array_equal(ours(kind, zero, zero), 0.0)
    first = {p.name for p in kind.parameters()} & {"theta_E", "alpha_Rs", "kappa"}
    nothing = kind.with_values(
        [
            0.0 if p.name in first | {"a1", "a2", "gamma1", "gamma2"} else p.default
            for p in kind.parameters()
        ]
    )
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 5, 5))
    np.testing.assert_array_equal(ours(nothing, x, y), 0.0)


def special_points() -> tuple[np.ndarray, np.ndarray]:
    """The centre of a lens at the origin, its axes, and next to all of them."""
    tiny = [0.0, 1e-7, 1e-5, 1e-3, 0.7, 2.0]
    x, y = np.meshgrid([*tiny, *(-value for value in tiny[1:])], tiny)
    return x, y


@every_kind
@pytest.mark.parametrize("amplitude", [0.0, 1.0])
def test_gradients_are_finite_everywhere(kind, amplitude):
    x, y = special_points()
    row = [
        p.default if p.name in ("Rs", "slope") else 0.0 if p.name in ("x", "y") else amplitude / 10
        for p in kind.parameters()
    ]
    for part in range(2):

        def total(parameters, part=part):
            # The square has a gradient where the sum over a symmetric grid has none.
            return ops.sum(MassModel(one=kind.form).deflection(parameters, x, y)[part] ** 2)

        slope = ops.convert_to_numpy(gradient(total, np.array([row], "float32")))
        assert np.all(np.isfinite(slope))


@needs_float64
@every_kind
def test_gradients_against_differences(kind):
    generator = np.random.default_rng(5)
    form = MassModel(one=kind.form)
    x, y = generator.uniform(-3, 3, (2, 6, 6))
    weight = generator.standard_normal((2, 6, 6))

    def totals(parameters):
        parts = form.deflection(parameters, x, y)
        return sum(ops.sum(w * each, axis=(1, 2)) for w, each in zip(weight, parts, strict=True))

    rows = np.array([random_component(kind, generator).values for _ in range(20)])
    if isinstance(kind, SIE):
        rows[0, 1:3] = 0.0
    if not isinstance(kind, EPL):  # Whose b^t has a kink at 0.
        rows[1, 0] = 0.0
    found = ops.convert_to_numpy(gradient(lambda row: ops.sum(totals(row)), rows))
    for i, step in enumerate(1e-6 * np.eye(rows.shape[1])):
        up, down = (ops.convert_to_numpy(totals(rows + sign * step)) for sign in (1, -1))
        np.testing.assert_allclose(found[:, i], (up - down) / 2e-6, rtol=1e-4, atol=1e-4)


def turned(pair: tuple[float, float], spin: int, symmetry: int) -> tuple[float, float]:
    """A pair of this spin under a symmetry: modulus cos(spin angle), modulus sin(spin angle)."""
    modulus, angle = np.hypot(*pair), np.arctan2(pair[1], pair[0]) / spin
    if symmetry & 1:
        angle = np.pi - angle
    if symmetry & 2:
        angle = -angle
    if symmetry & 4:
        angle = np.pi / 2 - angle
    return modulus * np.cos(spin * angle), modulus * np.sin(spin * angle)


@every_kind
@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_symmetries_of_the_square(kind, symmetry):
    generator = np.random.default_rng(symmetry)
    component = random_component(kind, generator)
    values = dict(zip((p.name for p in kind.parameters()), component.values, strict=True))
    for names, spin in kind.pairs.items():
        values |= zip(names, turned([values[name] for name in names], spin, symmetry), strict=True)
    x, y = generator.uniform(-3, 3, (2, 4, 4))
    there = np.vectorize(lambda a, b: turned((a, b), 1, symmetry))(x, y)
    alpha = ours(component, x, y)
    expected = np.vectorize(lambda a, b: turned((a, b), 1, symmetry))(*alpha)
    found = ours(component.with_values(values.values()), *there)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@every_kind
def test_compiled_and_of_many_lenses(kind):
    generator = np.random.default_rng(2)
    components = [random_component(kind, generator) for _ in range(3)]
    x, y = generator.uniform(-3, 3, (2, 4, 4)).astype("float32")
    form, array = MassModel(one=kind), np.array([one.values for one in components], "float32")
    graph = compiled(lambda parameters: form.deflection(parameters, x, y))
    found = np.stack([ops.convert_to_numpy(each) for each in graph(array)], axis=1)
    expected = np.stack([ours(one, x, y) for one in components])
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("SIE", {"theta_E": -1}, "theta_E"),
        ("SIE", {"e1": 0.6, "e2": 0.6}, "ellipticity"),
        ("EPL", {"slope": 2.0}, "slope"),
        ("NFW", {"Rs": 0.0}, "Rs"),
        ("SIS", {"x": np.nan}, "finite"),
        ("SIS", {"theta_E": "wide"}, "finite number"),
        ("Multipole", {"m": 2}, "one of"),
    ],
)
def test_values_without_a_formula_are_refused(kind, values, words):
    with pytest.raises(ValueError, match=words):
        COMPONENTS[kind](**values)
