"""Mass models to and from lenstronomy and PyAutoLens."""

import numpy as np
import pytest
from keras import ops
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.lensing.mass_components import (
    EPL,
    NFW,
    SIE,
    SIS,
    Multipole,
    PointMass,
    Shear,
    Sheet,
)
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.lensing.other_packages import (
    from_lenstronomy,
    from_pyautolens,
    to_lenstronomy,
    to_pyautolens,
)

SCENE = MassModel(
    lens=EPL(1.2, 0.1, -0.2, 0.03, -0.02, 0.9),
    second=SIE(0.3, -0.2, 0.1, 0.8, -0.9),
    shear=Shear(0.03, -0.05),
    sheet=Sheet(0.05),
    lopsided=Multipole(1, 0.02, -0.03, 0.03, -0.02),
    triangular=Multipole(3, -0.02, 0.01, 0.03, -0.02),
    boxy=Multipole(4, -0.01, -0.03, 0.03, -0.02),
    halo=NFW(0.2, 3.0, -0.3, 0.4),
    perturber=SIS(0.05, 0.9, 1.1),
    hole=PointMass(0.1, -1.0, 0.7),
)
X, Y = np.random.default_rng(3).uniform(-2.5, 2.5, (2, 12, 12))


def alpha(model: MassModel) -> np.ndarray:
    found = model.form.deflection(model.values[None].astype("float32"), X, Y)
    return np.stack([ops.convert_to_numpy(each)[0] for each in found])


def convergence(model: MassModel, step: float = 0.02) -> np.ndarray:
    """Half the divergence of the deflection, by differences of the fourth order."""
    parameters = model.values[None].astype("float32")

    def derivative(axis):
        total = 0.0
        for factor, shift in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
            moved = [X + step * shift * (axis == 0), Y + step * shift * (axis == 1)]
            part = model.form.deflection(parameters, *moved)[axis]
            total = total + factor * ops.convert_to_numpy(part)[0].astype("float64")
        return total / (12 * step)

    return 0.5 * (derivative(0) + derivative(1))


def test_deflections_are_lenstronomys_own():
    names, keywords = to_lenstronomy(SCENE)
    np.testing.assert_allclose(alpha(SCENE), LensModel(names).alpha(X, Y, keywords), atol=1e-5)


def test_to_lenstronomy_and_back():
    again = from_lenstronomy(*to_lenstronomy(SCENE), names=list(SCENE.components))
    assert again.form == SCENE.form
    np.testing.assert_allclose(again.values, SCENE.values, atol=1e-12)
    usual = from_lenstronomy(*to_lenstronomy(SCENE))
    assert tuple(usual.components)[:4] == ("lens", "lens2", "shear", "sheet")
    # The short form has the same words.
    lens = LensParameters(1.2, 0.1, -0.2, 0.03, -0.02, 0.03, -0.05, 0.9)
    assert from_lenstronomy(*lens.to_lenstronomy()).names[5] == "lens.slope"


@pytest.mark.parametrize("profile", ["EPL_MULTIPOLE_M1M3M4", "EPL_MULTIPOLE_M3M4"])
def test_an_ellipsoid_with_multipoles_comes_apart(profile):
    keywords = {"theta_E": 1.1, "gamma": 2.1, "e1": 0.2, "e2": -0.1, "center_x": 0.1}
    keywords |= {"center_y": -0.05, "a3_a": 0.03, "delta_phi_m3": 0.2, "a4_a": 0.05}
    keywords |= {"delta_phi_m4": 0.1}
    if profile == "EPL_MULTIPOLE_M1M3M4":
        keywords |= {"a1_a": 0.04, "delta_phi_m1": 0.5}
    model = from_lenstronomy([profile], [keywords])
    assert tuple(model.components)[-2:] == ("lens_m3", "lens_m4")
    difference = alpha(model) - LensModel([profile]).alpha(X, Y, [keywords])
    # The radius that normalises the first order shifts the source.
    difference -= difference.mean(axis=(1, 2), keepdims=True)
    assert np.abs(difference).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["SPEP"], [{"theta_E": 1.0}]), "profiles of .*rl.Deflections. Received: SPEP"),
        ((["SIE"], [{"theta_E": 1.0, "gamma": 2.0}]), "keywords of SIE"),
        ((["SIE", "SHEAR"], [{"theta_E": 1.0}]), "one length"),
        ((["SIE"], [{"theta_E": 1.0}], ["a", "b"]), "1 names"),
        ((["NFW"], [{"alpha_Rs": 1.0, "Rs": 0.0}]), "Rs"),
    ],
)
def test_what_has_no_counterpart_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        from_lenstronomy(*arguments)


# PyAutoLens does not install everywhere: its documented convergences, written again.


def pyautolens_convergence(kind: str, keywords: dict) -> np.ndarray:
    y, x = (
        grid - middle for grid, middle in zip((Y, X), keywords.get("centre", (0, 0)), strict=True)
    )
    if kind in ("PowerLaw", "Isothermal"):
        sine, cosine = keywords["ell_comps"]
        modulus, angle = np.hypot(sine, cosine), np.arctan2(sine, cosine) / 2
        q, slope = (1 - modulus) / (1 + modulus), keywords.get("slope", 2.0)
        major = np.cos(angle) * x + np.sin(angle) * y
        minor = -np.sin(angle) * x + np.cos(angle) * y
        xi = np.sqrt(major**2 + (minor / q) ** 2)
        return (3 - slope) / (1 + q) * (keywords["einstein_radius"] / xi) ** (slope - 1)
    if kind == "PowerLawMultipole":
        sine, cosine = keywords["multipole_comps"]
        angle = np.arctan2(sine, cosine) / keywords["m"]
        phase = keywords["m"] * (np.arctan2(y, x) - angle)
        radius = np.hypot(x, y) / keywords["einstein_radius"]
        return 0.5 / radius * np.hypot(sine, cosine) * np.cos(phase)
    if kind == "NFWSph":
        u = np.hypot(x, y) / keywords["scale_radius"]
        v = 1 - u**2
        root = np.sqrt(np.abs(v))
        h = np.where(v > 0, np.arctanh(np.minimum(root, 0.999999)), np.arctan(root)) / root
        return 2 * keywords["kappa_s"] * (1 - h) / (u**2 - 1)
    raise AssertionError(kind)


@pytest.mark.parametrize("name", ["lens", "second", "triangular", "boxy", "halo"])
def test_convergences_are_pyautolenss(name):
    model = MassModel(**{name: SCENE.components[name]})
    ((kind, keywords),) = to_pyautolens(model)
    expected, found = pyautolens_convergence(kind, keywords), convergence(model)
    away = np.hypot(X - model.components[name].x, Y - model.components[name].y) > 0.5
    np.testing.assert_allclose(found[away], expected[away], rtol=2e-3, atol=2e-4)


def test_to_pyautolens_and_back():
    parts = {name: part for name, part in SCENE.components.items() if name != "lopsided"}
    model = MassModel(**parts)
    profiles = to_pyautolens(model)
    assert [kind for kind, _ in profiles][:4] == [
        *("PowerLaw", "Isothermal", "ExternalShear", "MassSheet"),
    ]
    again = from_pyautolens(profiles, names=list(parts))
    np.testing.assert_allclose(again.values, model.values, atol=1e-12)
    # The short form's converter says the same.
    keywords = profiles[0][1]
    short = LensParameters.from_pyautolens(**keywords, shear=(0.03, -0.05))
    np.testing.assert_allclose(np.asarray(short)[:5], model.values[:5])
    assert profiles[2][1] == {"gamma_1": 0.03, "gamma_2": -0.05}
    for wrong, words in (
        ([("Sersic", {})], "rl.Deflections"),
        ([("PowerLaw", {"radius": 1})], "other keywords"),
        ([("PowerLawMultipole", {"slope": 2.1})], "isothermal"),
        ([("PowerLawMultipole", {"m": 1})], "infinite"),
    ):
        with pytest.raises(ValueError, match=words):
            from_pyautolens(wrong)
    with pytest.raises(ValueError, match="infinite"):
        to_pyautolens(SCENE)
