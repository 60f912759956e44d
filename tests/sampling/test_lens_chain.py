"""What a chain says of itself, against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from rim_lensing.sampling.lens_chain import LensChain, autocorrelation_time, r_hat


def autoregressive(rho: float, steps: int, walkers: int, parameters: int = 1) -> np.ndarray:
    """x' = rho x + noise: standard normal, with the autocorrelation time (1 + rho) / (1 - rho)."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((walkers, parameters))
    chain = []
    for _ in range(steps):
        noise = generator.standard_normal(x.shape)
        x = rho * x + np.sqrt(1 - rho**2) * noise
        chain.append(x)
    return np.array(chain)


def chain_of(walkers: np.ndarray, **changes) -> LensChain:
    arguments = {
        "walkers": walkers,
        "log_posteriors": -0.5 * np.sum(walkers**2, axis=-1),
        "burn_in": 10,
        "acceptance": 0.3,
        "seconds": 2.0,
        "source_model": "a RIM",
        "method": "emcee",
    }
    return LensChain(**(arguments | changes))


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.95])
def test_autocorrelation_time_of_an_autoregressive_process(rho):
    chain = chain_of(autoregressive(rho, 8000, 16, 7))
    expected = (1 + rho) / (1 - rho)
    # Four standard errors (Sokal's notes, equation 3.19), with a window of 5 times.
    tolerance = 4 * np.sqrt(2 * (2 * 5 * expected + 1) / (8000 * 16))
    np.testing.assert_allclose(chain.autocorrelation_time, expected, rtol=tolerance)
    np.testing.assert_allclose(chain.effective_samples, 8000 * 16 / expected, rtol=2 * tolerance)
    assert chain.converged


def test_r_hat_of_walkers_with_means_of_their_own():
    """Variance 1 within, 4 between: sqrt(1 + 4)."""
    walkers = np.random.default_rng(1).standard_normal((1000, 400, 1))
    np.testing.assert_allclose(r_hat(walkers), 1, atol=2e-3)
    apart = walkers + 2 * np.random.default_rng(2).standard_normal((1, 400, 1))
    np.testing.assert_allclose(r_hat(apart), np.sqrt(5), rtol=0.08)
    drifting = walkers + np.linspace(0, 3, 1000)[:, None, None]
    assert r_hat(drifting)[0] > 1.2


def test_walkers_stuck_apart_are_not_converged():
    """Each in its own maximum: the autocorrelation time does not see it, R-hat does."""
    walkers = np.random.default_rng(1).standard_normal((1000, 32, 7))
    stuck = chain_of(walkers + 20 * (np.arange(32) % 2)[:, None])
    assert stuck.autocorrelation_time.max() < 2
    assert not stuck.converged and "R-hat is at most 1" in stuck.verdict


def test_thirty_times_and_an_r_hat_of_1_2_are_not_enough():
    short = chain_of(autoregressive(0.8, 300, 64, 7))
    assert 25 < len(short.walkers) / short.autocorrelation_time.max() < 45
    assert short.r_hat.max() < 1.05 and not short.converged
    sides = (np.arange(16) % 2 * 2 - 1)[:, None]
    apart = chain_of(autoregressive(0.0, 4000, 16, 7) + 0.6 * sides)
    assert 1.1 < apart.r_hat.max() < 1.3 and not apart.converged
    assert len(apart.walkers) > 50 * apart.autocorrelation_time.max()


def test_a_parameter_that_never_moved_is_not_converged():
    walkers = autoregressive(0.5, 500, 16, 7)
    walkers[:, :, 2] = 0.3
    chain = chain_of(walkers)
    assert np.isnan(autocorrelation_time(walkers)[2]) and not chain.converged
    assert "never moved e2" in chain.verdict


def test_a_chain_that_runs_against_an_edge_says_so():
    chain = chain_of(autoregressive(0.5, 4000, 16, 7), cut_off=("x", "shear"))
    assert chain.converged and chain.verdict.startswith("converged")
    assert "cut off by an edge of the priors in x, shear: widen them" in chain.verdict
    assert "slope" not in chain.verdict
    assert chain.summary()["cut_off"] == ["x", "shear"]
    steep = chain_of(autoregressive(0.5, 4000, 16, 8), cut_off=("slope",))
    assert "in slope: widen them" in steep.verdict
    assert "cut off" not in chain_of(autoregressive(0.5, 4000, 16, 7)).verdict


def test_numbers_of_a_summary():
    chain = chain_of(autoregressive(0.5, 4000, 16, 8))
    summary = chain.summary()
    assert list(summary["parameters"]) == list(chain.names) and chain.names[-1] == "slope"
    theta = summary["parameters"]["theta_E"]
    assert theta["mean"] == pytest.approx(chain.samples[:, 0].mean(), abs=1e-7)
    np.testing.assert_allclose(theta["interval_68%"], [-0.994, 0.994], atol=0.05)
    np.testing.assert_allclose(theta["interval_95%"], [-1.96, 1.96], atol=0.08)
    assert summary["samples_per_second"] == 4000 * 16 / 2.0
    assert summary["effective_samples_per_second"] == chain.effective_samples.min() / 2.0
    assert chain.log_posterior.shape == (64000,)
    with pytest.raises(ValueError, match="`level`"):
        chain.interval(68)


def test_corner_shows_both_posteriors_and_the_truth(tmp_path):
    chain = chain_of(autoregressive(0.3, 800, 16, 7))
    other = replace(chain, walkers=0.5 * chain.walkers + 1, source_model="linear")
    truth = np.linspace(-3.0, 3.0, 7)
    figure = chain.corner(truth=truth, other=other)
    axes = np.array(figure.axes).reshape(7, 7)
    low, high = axes[6, 0].get_xlim()
    assert low < truth[0] and high > 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["a RIM (emcee), converged", "linear (emcee), converged", "truth"]
    assert axes[6, 0].get_xlabel() == "theta_E (arcsec)" and axes[6, 1].get_xlabel() == "e1"
    for axis, value in zip(np.diag(axes), truth, strict=True):
        assert any(np.allclose(line.get_xdata(), value) for line in axis.lines)
    colors = {
        tuple(c.get_edgecolor()[0][:3]) for c in axes[6, 0].collections if len(c.get_edgecolor())
    }
    assert len(colors) >= 2
    figure.savefig(tmp_path / "corner.png", dpi=40)
    single = chain.corner()
    assert len(single.legends[0].get_texts()) == 1


def test_corner_refuses_other_parameters():
    chain = chain_of(autoregressive(0.3, 50, 16, 7))
    with pytest.raises(ValueError, match="`truth` must have the parameters"):
        chain.corner(truth=[1.0, 2.0])
    with pytest.raises(ValueError, match="`other` must have the parameters"):
        chain.corner(other=chain_of(autoregressive(0.3, 50, 16, 8)))
