"""One system and what the eight symmetries of the square make of it: the same answer, turned.

Pixels of image and source are renumbered, and nothing else is different: not even the rounding of
the rays.
"""

import numpy as np
import pytest

from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MEAN_TOLERANCE, MatrixFreeEngine
from rim_lensing.inversion.regularization import REGULARIZATIONS
from rim_lensing.lensing.symmetries import SYMMETRIES, restore_image, transform_image

STRENGTH = 30.0
turned_and_mirrored = pytest.mark.parametrize("symmetry", range(1, SYMMETRIES))


def turned_pixels(side: int, symmetry: int) -> np.ndarray:
    """Return the old number of every pixel of a turned square, (side^2,)."""
    return transform_image(np.arange(side**2).reshape(side, side), symmetry).ravel()


@pytest.fixture(scope="module")
def turned(make_system):
    """Return a function from the number of a symmetry to a system under it.

    The galaxy is bright at the borders of the source grid, which is where priors differ.
    """
    m, n = 18, 14
    seen = make_system(m, n, sigma=0.6)
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    galaxy = np.exp(-0.5 * ((x - 0.6) ** 2 + (y - 0.3) ** 2 / 0.4) / 0.5**2)
    noise = np.tile(np.linspace(0.015, 0.03, m), (m, 1))
    image = seen.predict(galaxy.ravel()).reshape(m, m)
    image = image + noise * np.random.default_rng(1).standard_normal((m, m))
    noise[:3, :4] = np.inf

    def turn(symmetry: int) -> LinearSystem:
        lensing = seen.lensing[turned_pixels(m, symmetry)][:, turned_pixels(n, symmetry)]
        maps = (transform_image(each, symmetry) for each in (seen.psf, image, noise))
        return LinearSystem(lensing, *maps)

    return turn


def restored(source: np.ndarray, symmetry: int) -> np.ndarray:
    """Return a source (n^2,) of a turned system as it was."""
    side = round(source.size**0.5)
    return restore_image(source.reshape(side, side), symmetry).ravel()


@turned_and_mirrored
@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_exact_evidence_source_and_errors_turn_with_the_system(turned, kind, symmetry):
    engine, other = (ExactEngine(turned(k), kind) for k in (0, symmetry))
    strength = maximise_evidence(engine)
    assert maximise_evidence(other) == pytest.approx(strength, rel=1e-7)
    evidence = log_evidence(engine, engine.terms(strength))[0]
    assert log_evidence(other, other.terms(strength))[0] == pytest.approx(evidence, rel=1e-9)
    source = engine.mean(strength)
    found = restored(other.mean(strength), symmetry)
    np.testing.assert_allclose(found, source, atol=1e-9 * np.abs(source).max())
    found = restored(other.standard_deviation(strength), symmetry)
    np.testing.assert_allclose(found, engine.standard_deviation(strength), rtol=1e-9)


@turned_and_mirrored
@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_matrix_free_mean_turns_with_the_system(turned, kind, symmetry):
    """To a thousandth of its error: the differences are those of rounding."""
    source, other = (MatrixFreeEngine(turned(k), kind).mean(STRENGTH) for k in (0, symmetry))
    std = ExactEngine(turned(0), kind).standard_deviation(STRENGTH)
    assert np.max(np.abs(restored(other, symmetry) - source) / std) < 0.1 * MEAN_TOLERANCE


@turned_and_mirrored
@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_matrix_free_evidence_turns_with_the_system(turned, kind, symmetry):
    """And its stated error: the probes turn, too."""
    engine, other = (MatrixFreeEngine(turned(k), kind) for k in (0, symmetry))
    strength = maximise_evidence(engine)
    # Lanczos runs are as long as they must be, and no longer: they end in rounding of their own.
    assert maximise_evidence(other) == pytest.approx(strength, rel=1e-4)
    here, there = (log_evidence(each, each.terms(strength)) for each in (engine, other))
    assert there[0] == pytest.approx(here[0], rel=1e-6)
    assert there[1] == pytest.approx(here[1], rel=1e-3)


@turned_and_mirrored
@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_matrix_free_errors_turn_with_the_system(turned, kind, symmetry):
    std, other = (
        MatrixFreeEngine(turned(k), kind, samples=3).standard_deviation(STRENGTH)
        for k in (0, symmetry)
    )
    # As near as the conjugate gradients' tolerance lets them come.
    np.testing.assert_allclose(restored(other, symmetry), std, rtol=1e-3)


def test_probes_do_not_turn_with_the_lens(turned):
    """Nor with what a source leaves: for one image they are the same, so that lenses compare."""
    system = turned(0)
    behind_another = system.with_lensing(turned(3).lensing).without(np.ones(14**2))
    assert behind_another.orientation == system.orientation
