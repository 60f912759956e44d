import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, norm

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from coverage_report import held_out_stretch, measure, table, wilson  # noqa: E402
from evidence_coverage import mass_below  # noqa: E402
from evidence_coverage import table as table_of_evidence  # noqa: E402
from lens_coverage import importance_draws  # noqa: E402

SYSTEMS, DRAWS, PARAMETERS = 400, 500, 7


def gaussian_systems(width: float) -> list[dict]:
    """Systems whose errors have a standard deviation of 1, and whose posteriors that of `width`."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(SYSTEMS):
        truth = generator.standard_normal(PARAMETERS)
        samples = width * generator.standard_normal((DRAWS, PARAMETERS))
        found.append(
            {
                "truth": truth,
                "samples": samples,
                "log_posterior": -0.5 * np.sum((samples / width) ** 2, axis=1),
                "true_log_posterior": -0.5 * np.sum((truth / width) ** 2),
                "pixels": 256,
                "noise_level": 0.05,
                "r_hat": np.ones(PARAMETERS),
                "effective_samples": np.full(PARAMETERS, DRAWS),
                "draws": DRAWS,
                "converged": True,
                "acceptance": 0.3,
                "seconds": 1.0,
                "evaluations": DRAWS,
                "temperature": 1.0,
            }
        )
    return found


def test_honest_posteriors_have_nominal_coverage():
    found = measure(gaussian_systems(1.0), is_chi2=True)
    off_centre = 2 * np.abs(found["rank"] - 0.5)
    for level in (0.68, 0.95):
        assert np.mean(off_centre <= level) == pytest.approx(level, abs=0.025)
        assert np.mean(found["excess"] <= level) == pytest.approx(level, abs=0.06)


def test_the_stretch_mends_posteriors_that_are_three_times_too_narrow():
    found = measure(gaussian_systems(1 / 3), is_chi2=True)
    assert np.mean(2 * np.abs(found["rank"] - 0.5) <= 0.68) < 0.35
    factors, inside = held_out_stretch(found["stretch"])
    assert factors == pytest.approx(3, rel=0.1)
    assert inside.mean(axis=(0, 2)) == pytest.approx([0.68, 0.95], abs=0.03)


def test_the_stretch_of_a_system_does_not_depend_on_its_own_half():
    stretch = np.ones((6, 2, PARAMETERS))
    stretch[::2] = 5
    factors, _ = held_out_stretch(stretch)
    assert factors == pytest.approx([1, 5, 1, 5, 1, 5])


@pytest.mark.parametrize("hits", [0, 3, 38, 56])
def test_wilson_is_that_of_scipy(hits):
    expected = binomtest(hits, 56).proportion_ci(0.6827, "wilson")
    assert wilson(hits, 56) == pytest.approx(tuple(expected), abs=1e-4)


def test_the_table_names_every_posterior():
    few = gaussian_systems(1.0)[:8]
    measures = {"rim": measure(few, is_chi2=True), "own": measure(few, is_chi2=False)}
    text = table(measures, {"rim": "RIM", "own": "linear"})
    assert text.count("| RIM |") >= 3
    assert text.count("| linear |") >= 3


def test_importance_draws_follow_the_other_distribution():
    # From N(0, 1) to N(1, 1): log weight x - 1/2, effective share exp(-1).
    generator = np.random.default_rng(4)
    draws = generator.standard_normal(100_000)
    chosen, worth = importance_draws(draws - 0.5, generator)
    assert len(chosen) == len(draws)
    assert draws[chosen].mean() == pytest.approx(1, abs=0.02)
    assert draws[chosen].std() == pytest.approx(1, abs=0.02)
    assert worth == pytest.approx(np.exp(-1), rel=0.1)


def test_equal_weights_keep_every_draw():
    chosen, worth = importance_draws(np.full(50, -700.0), np.random.default_rng(0))
    assert sorted(chosen) == list(range(50))
    assert worth == pytest.approx(1)


@pytest.mark.parametrize("width", [1e-4, 0.03, 0.8])
@pytest.mark.parametrize("sigmas", [-2.5, -0.3, 0.0, 1.7])
def test_the_mass_below_a_point_is_the_normal_distributions(width, sigmas):
    density = norm(1.0, width)
    found = mass_below(density.logpdf, 1.0 + sigmas * width, reach=5.0)
    assert found == pytest.approx(norm.cdf(sigmas), abs=1e-3)


def test_an_edge_of_the_support_is_the_end_of_the_mass():
    def log_density(values):
        return np.where((values >= 0) & (values <= 0.4), 0.0, -np.inf)

    assert mass_below(log_density, 0.1, reach=3.0) == pytest.approx(0.25, abs=0.02)


def test_uniform_fractions_are_called_so():
    below = np.repeat((np.arange(400) + 0.5)[:, None] / 400, PARAMETERS, axis=1)
    text = table_of_evidence(below)
    assert text.count("| 400 | 68.0%") == PARAMETERS + 1  # and all together
    assert text.count("p = 1.00") == PARAMETERS
    assert "p = 0.00" in table_of_evidence(0.5 + (below - 0.5) / 2)
