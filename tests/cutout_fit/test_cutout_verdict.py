"""How a fit of a cutout ended, by name."""

from types import SimpleNamespace

import numpy as np
import pytest

from rim_lensing.cutout_fit.cutout_verdict import Verdict, judge, unmodelled
from rim_lensing.lensing.mass_model import SHORT_FORMS

SIDE, SCALE = 60, 0.05


def result(residuals=None, theta_E: float = 1.0):
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * SCALE
    radius = np.hypot(*np.meshgrid(axis, axis))
    model = 20 * np.exp(-0.5 * ((radius - theta_E) / 0.1) ** 2)
    noise = np.random.default_rng(2).standard_normal((SIDE, SIDE))
    return SimpleNamespace(
        model_image=model,
        residuals_in_sigma=noise + (0 if residuals is None else residuals(radius)),
        noise=np.ones((SIDE, SIDE)),
        mask=np.ones((SIDE, SIDE), bool),
        image_pixel_scale=SCALE,
        noise_correlation=None,
    )


def optimum(demagnified: bool = False, edges: tuple = (), residuals=None):
    return SimpleNamespace(
        mass_model=SHORT_FORMS[7].with_values([1.0, 0.1, 0, 0, 0, 0, 0]),
        demagnified=demagnified,
        edges=edges,
        reconstruction=result(residuals),
    )


def outcome(consistent: bool, beside=(1.0, 1.2)):
    return SimpleNamespace(consistent=consistent, beside=np.array(beside))


def start(
    lens_sigma: float = 30.0,
    is_lensed: bool = True,
    is_point_like: bool = False,
    arcs_sigma: float = 30.0,
):
    return SimpleNamespace(
        lens_sigma=lens_sigma,
        is_lensed=is_lensed,
        is_point_like=is_point_like,
        arcs_sigma=arcs_sigma,
        source=SimpleNamespace(half_light_radius=0.01),
    )


ROUND = SimpleNamespace(e1=0.05, e2=0.02)


def test_noise_and_a_lens_that_is_known_are_converged():
    assert judge(optimum(), outcome(True), ROUND, 0.01)[0] is Verdict.CONVERGED


@pytest.mark.parametrize(("std", "edges"), [(0.06, ()), (np.nan, ()), (0.01, ("shear",))])
def test_a_lens_that_is_not_known_is_uncertain(std, edges):
    verdict, reason = judge(optimum(edges=edges), outcome(True), ROUND, std)
    assert verdict is Verdict.UNCERTAIN
    assert ("shear" in reason) == bool(edges)


def test_a_source_that_is_the_arcs_shrunk_is_no_lens():
    assert judge(optimum(demagnified=True), outcome(True), ROUND, 0.01)[0] is Verdict.NO_ARCS


@pytest.mark.parametrize(
    ("where", "words"),
    [((0.0, 0.3), "core"), ((0.9, 1.1), "on the arcs"), ((1.35, 1.5), "beside the arcs")],
)
def test_what_is_not_noise_is_told_by_where_it_is(where, words):
    def left(radius):
        return 5.0 * ((radius >= where[0]) & (radius < where[1]))

    verdict, reason = judge(optimum(residuals=left), outcome(False), ROUND, 0.01)
    assert verdict is Verdict.NOT_NOISE and words in reason


@pytest.mark.parametrize(
    ("beside", "is_noise"), [((1.1, 1.9), True), ((1.1, 2.1), False), ((0.6, 1.5), False)]
)
def test_a_lens_beside_whose_arcs_light_is_left_is_uncertain(beside, is_noise):
    verdict, reason = judge(optimum(), outcome(True, beside), ROUND, 0.01)
    assert (verdict is Verdict.CONVERGED) == is_noise
    assert is_noise or (verdict is Verdict.UNCERTAIN and "left beside the arcs" in reason)


def test_what_is_not_lensed_or_a_point_is_told_before_any_search():
    assert unmodelled(start()) is None
    assert unmodelled(start(2.0, is_lensed=False))[0] is Verdict.NO_ARCS
    for lensed, words in ((True, "the source is a point"), (False, "or a star")):
        verdict, reason = unmodelled(start(2.0, is_lensed=lensed, is_point_like=True))
        assert verdict is Verdict.POINTS and "quasar" in reason and words in reason
    nothing = start(2.0, is_lensed=False, is_point_like=True, arcs_sigma=3.0)
    assert unmodelled(nothing)[0] is Verdict.NO_ARCS


@pytest.mark.parametrize(
    ("changes", "words"), [({1: 0.4}, "no ellipse like the light"), ({5: 0.3}, "unusual shear")]
)
def test_a_lens_unlike_all_others_is_uncertain(changes, words):
    found = optimum()
    values = found.mass_model.values.copy()
    for column, value in changes.items():
        values[column] = value
    found.mass_model = found.mass_model.with_values(values)
    verdict, reason = judge(found, outcome(True), ROUND, 0.01)
    assert verdict is Verdict.UNCERTAIN and words in reason
