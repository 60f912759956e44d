import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, kstest, norm

from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.networks.presets import get_preset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import lens_coverage  # noqa: E402
from bootstrap import with_error  # noqa: E402
from coverage_report import (  # noqa: E402
    held_out_stretch,
    measure,
    noise_stretch,
    table,
    wilson,
)
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


def test_measures_of_a_skewed_posterior_by_hand():
    """Draws of u^2, u uniform: their quantiles are squares, too."""
    one, u = gaussian_systems(1.0)[0], np.linspace(0, 1, 20_001)
    one |= {
        "samples": np.repeat(u[:, None] ** 2, PARAMETERS, axis=1),
        "truth": np.full(PARAMETERS, 0.6),
        "log_posterior": np.linspace(-200, -128, len(u)),
        "true_log_posterior": -182.0,
    }
    found = measure([one], is_chi2=True)
    assert found["half_width"][0] == pytest.approx((0.84**2 - 0.16**2) / 2, abs=1e-3)
    assert found["error"][0] == pytest.approx(1 / 3 - 0.6, abs=1e-3)
    assert found["excess"][0] == pytest.approx(0.75, abs=1e-3)
    assert found["chi2"][0] == 1  # -128 of 256 pixels
    for reach, quantile in zip(found["stretch"][0], (0.84, 0.975), strict=True):
        assert reach == pytest.approx((0.6 - 0.25) / (quantile**2 - 0.25), abs=1e-3)


def test_the_tables_cells_by_hand():
    found = measure(gaussian_systems(1.0)[:8], is_chi2=True)
    found["rank"] = np.full((8, PARAMETERS), 0.5)
    found["rank"][:2], found["rank"][2:4] = 0.99, 0.9
    found["excess"] = np.repeat([0.1, 0.8], 4)
    found["error"] = np.full((8, PARAMETERS), -0.6745)
    found["half_width"] = np.full((8, PARAMETERS), 0.5)
    text = table({"rim": found}, {"rim": "RIM"})
    row = text.splitlines()[2].split(" | ")
    assert row[2].startswith("50% ±") and row[3].startswith("75% ±")
    assert row[4].startswith("50% (") and row[5].startswith("100% (") and row[6] == "2.00 |"
    assert "| 0.5000 | 0.6745 | 1.0000 |" in text


def test_chi2_above_the_noise_stretches_by_its_root():
    np.testing.assert_allclose(noise_stretch(np.array([0.5, 4.0])), [1, 2])


def test_the_error_of_a_mean_is_sigma_over_the_root_of_n():
    values = np.random.default_rng(0).standard_normal(400)
    error = with_error(values, np.mean, "{:+.4f}").partition(" ± ")[2]
    assert float(error) == pytest.approx(values.std() / 20, rel=0.1)


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


def test_draws_are_weighed_by_the_new_posterior_over_the_old(tmp_path, monkeypatch):
    """From N(0, 1) to N(1, 1) in the first parameter."""
    draws = np.random.default_rng(0).standard_normal((4000, PARAMETERS))
    new = SimpleNamespace(
        evaluations=0,
        log_posterior=lambda x: -0.5 * np.sum((x - np.eye(PARAMETERS)[0]) ** 2, axis=1),
    )
    monkeypatch.setattr(lens_coverage, "_posterior", lambda *_: (new, np.zeros(PARAMETERS), 0.02))
    np.savez(
        tmp_path / "own_0000.npz",
        samples=draws,
        log_posterior=-0.5 * np.sum(draws**2, axis=1),
        effective_samples=np.ones(PARAMETERS),
        seconds=1.0,
        evaluations=1,
    )
    lens_coverage._weigh(("own_free", 0, SimpleNamespace(output=tmp_path)))
    found = np.load(tmp_path / "own_free_0000.npz")
    assert found["samples"][:, 0].mean() == pytest.approx(1, abs=0.15)
    assert found["samples"][:, 1:].mean(axis=0) == pytest.approx(0, abs=0.2)
    np.testing.assert_array_equal(found["log_posterior"], new.log_posterior(found["samples"]))
    assert found["true_log_posterior"] == -0.5


def test_lenses_of_the_flat_prior_are_flat():
    """In the disks of ellipticity and shear: the squares of the radii are uniform."""
    generator = np.random.default_rng(0)
    lens = lens_coverage.flat_lens_priors().draw(generator, 20_000)["lens"]
    for i in (1, 5):
        radius = np.hypot(*lens[:, i : i + 2].T.astype("float64"))
        assert kstest((radius / radius.max()) ** 2, "uniform").pvalue > 1e-3


def test_sources_of_the_prior_and_noise_are_what_the_evidence_expects():
    """chi^2 + strength s'Rs at its maximum is d'C^-1 d: distributed as chi^2 of the data."""
    generator, priors = np.random.default_rng(0), lens_coverage.flat_lens_priors()
    geometry, values = get_preset("tiny16"), []
    for _ in range(40):
        seen, _, strength = lens_coverage.own_prior_system(generator, priors, geometry)
        matrix = lensing_matrices(seen.lens, geometry)[0]
        system = LinearSystem(matrix, seen.psf[0], seen.image[0], seen.noise[0])
        strength *= float(seen.flux_unit[0]) ** 2
        terms = ExactEngine(system, "gradient").held_terms(strength)
        values.append(terms.chi2 + strength * terms.prior_norm)
    assert kstest(values, chi2(system.n_data).cdf).pvalue > 1e-3


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
