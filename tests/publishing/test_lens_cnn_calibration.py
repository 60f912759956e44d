import keras
import numpy as np
import pytest
import scipy.stats

from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.lens_fit.intervals import measure_predictions
from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.publishing import lens_cnn_calibration
from rim_lensing.publishing.lens_cnn_calibration import (
    calibrate,
    fit_interval_factors,
    fit_std_factors,
    score,
    with_dropout,
)

CONFIG = get_lens_cnn_preset("tiny16")


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(6)
    made = LensCNN(CONFIG)
    made.build()
    return made


def prediction(lens, std):
    return LensPrediction(lens, std, std, 0 * std, lens[:, None])


def test_factors_that_were_put_in_are_found():
    generator = np.random.default_rng(0)
    true = generator.standard_normal((50_000, 7))
    std = generator.uniform(0.5, 2.0, size=true.shape)
    wrong = np.array([0.5, 2.0, 2.0, 1.0, 1.0, 3.0, 3.0])
    found = prediction(true + wrong * std * generator.standard_normal(true.shape), std)
    factors = fit_std_factors(true, found)
    np.testing.assert_allclose(factors, wrong, rtol=0.02)
    for values in measure_predictions(true, found.lens, std * factors).values():
        assert values["coverage_68"] == pytest.approx(0.6827, abs=0.01)
        assert values["coverage_95"] == pytest.approx(0.95, abs=0.01)


def test_a_pair_shares_its_factor():
    generator = np.random.default_rng(1)
    true = np.zeros((20_000, 7))
    found = prediction(generator.standard_normal(true.shape) * [1, 1, 3, 1, 1, 1, 1], true + 1)
    factors = fit_std_factors(true, found)
    assert factors[1] == factors[2] and 1 < factors[1] < 3
    np.testing.assert_allclose(factors[[0, 3, 4, 5, 6]], 1, rtol=0.03)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_intervals_hold_errors_that_are_not_gaussian(level):
    """Factors from one half of the systems, coverage on the other; flat, Gaussian, heavy tails."""
    generator = np.random.default_rng(3)
    systems = 20_000
    flat = generator.uniform(-1, 1, (systems, 3))
    bell = generator.standard_normal((systems, 2))
    heavy = generator.standard_t(3, (systems, 2))
    error = np.concatenate([bell[:, :1], heavy, flat[:, :2], bell[:, 1:], flat[:, 2:]], axis=1)
    std, true = generator.uniform(0.5, 2, error.shape), np.zeros(error.shape)
    mean, half = error * std, systems // 2
    factors = fit_interval_factors(true[:half], mean[:half], std[:half], level)
    inside = np.abs(mean[half:]) <= factors * std[half:]
    # The last pair shares its factor though its members differ: together they are covered.
    np.testing.assert_allclose(inside.mean(axis=0)[:5], level, atol=0.015)
    assert inside[:, 5:].mean() == pytest.approx(level, abs=0.015)
    assert factors[3] == factors[4] == pytest.approx(level, abs=0.015)
    assert factors[0] == pytest.approx(scipy.stats.norm.ppf((1 + level) / 2), rel=0.03)


def test_score_is_scipys_density():
    generator = np.random.default_rng(2)
    true, mean = generator.standard_normal((2, 30, 7))
    std = generator.uniform(0.2, 2, size=mean.shape)
    expected = -scipy.stats.norm.logpdf(true, mean, std).mean() - 0.5 * np.log(2 * np.pi)
    assert score(true, mean, std) == pytest.approx(expected)


def test_another_rate_has_the_same_weights(network):
    other = with_dropout(network, 0.2)
    assert other.config.dropout == 0.2 and network.config.dropout == CONFIG.dropout
    for ours, theirs in zip(other.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_chooses_the_best_rate_above_zero_and_its_factors(network, few_development_galaxies):
    found = calibrate(network, systems=20, rates=(0.0, 0.02, 0.4))
    assert [row["dropout"] for row in found.scan] == [0.0, 0.02, 0.4]
    best = min(found.scan[1:], key=lambda row: row["score"])
    assert found.network.config.dropout == best["dropout"]
    assert found.std_factors == tuple(best["std_factors"])
    assert found.interval_factors == tuple(map(tuple, best["interval_factors"]))
    assert np.all(np.diff(found.interval_factors, axis=0) > 0)
    assert found.systems == 20
    assert found.scan[1]["uncalibrated"] != found.scan[2]["uncalibrated"]
    assert best["calibrated"] != best["uncalibrated"]


def test_calibrates_on_development_galaxies_the_files_and_procedural_ones(network, monkeypatch):
    """Sixteen by sixteen: told apart by galaxies of the file that are disks of one brightness."""
    y, x = np.mgrid[:32, :32] - 15.5
    disks = np.array([np.hypot(x, y) < 14], "float32")
    pools = {None: draw_procedural_galaxies(3, 9), "galaxies.h5": disks}
    monkeypatch.setattr(lens_cnn_calibration, "development_galaxies", pools.get)
    systems = lens_cnn_calibration._development_systems(network, "galaxies.h5", 40)
    assert len(systems.lens) == 40
    flat = [np.mean(source[source > 0.05] > 0.5) > 0.55 for source in systems.source]
    assert flat == 16 * [False] + 16 * [True] + 8 * [False]
