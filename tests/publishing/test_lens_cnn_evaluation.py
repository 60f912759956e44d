import numpy as np
import pytest
import scipy.stats

from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.networks.presets import get_preset
from rim_lensing.publishing.lens_cnn_evaluation import (
    CONFIDENCES,
    LensEvaluation,
    evaluate_lens_predictor,
    measure_predictions,
)
from rim_lensing.publishing.measurement import markdown_table
from rim_lensing.simulation.validation_set import SYSTEMS, validation_set
from rim_lensing.zoo import zoo

SCALE = np.arange(1, 8)


def gaussian(systems: int) -> LensEvaluation:
    """Errors of SCALE; the total standard deviation is right, the aleatoric half of it."""
    generator = np.random.default_rng(0)
    true = 3 + 10 * SCALE * generator.standard_normal((systems, 7))
    lens = true + SCALE * generator.standard_normal((systems, 7))
    std = np.broadcast_to(SCALE, lens.shape)
    return LensEvaluation(
        systems=validation_set(get_preset("euclid64"), systems=systems),
        true=true,
        prediction=LensPrediction(lens, std, std / 2, np.sqrt(0.75) * std, lens[:, None]),
        noise_level=np.where(np.arange(systems) < 100, 0.005, 0.05),
        magnification=np.where(np.arange(systems) < 300, 4.0, 15.0),
    )


def test_measures_of_predictions_with_known_errors():
    generator = np.random.default_rng(0)
    true = np.zeros((40_000, 7))
    mean = SCALE * generator.standard_normal(true.shape)
    measured = measure_predictions(true, mean, np.broadcast_to(SCALE, true.shape))
    for i, name in enumerate(PARAMETER_NAMES):
        assert measured[name]["median_error"] == pytest.approx(0.6745 * SCALE[i], rel=0.03)
        assert measured[name]["coverage_68"] == pytest.approx(0.6827, abs=0.01)
        assert measured[name]["coverage_95"] == pytest.approx(0.95, abs=0.005)
    doubled = measure_predictions(true, mean, np.broadcast_to(2 * SCALE, true.shape))
    assert doubled["e1"]["coverage_68"] == pytest.approx(0.9545, abs=0.005)


def test_metrics_of_known_errors():
    content = gaussian(1000).metrics()
    assert content["systems"] == 1000 and content["validation_set"] == "euclid64_procedural"
    assert list(content["summary"])[:7] == list(PARAMETER_NAMES)
    for scale, name in zip(SCALE, PARAMETER_NAMES, strict=True):
        row, errors = content["summary"][name], content["standard_errors"][name]
        assert row["systems"] == 1000
        assert row["rms_error"] == pytest.approx(scale, rel=0.08)
        assert row["scatter_of_truth"] == pytest.approx(10 * scale, rel=0.08)
        assert row["median_std"] == scale and row["median_aleatoric_std"] == scale / 2
        # Of a fraction: binomial. Of an rms: sigma / sqrt(2 n).
        assert errors["coverage_68"] == pytest.approx(np.sqrt(0.68 * 0.32 / 1000), rel=0.25)
        assert errors["rms_error"] == pytest.approx(scale / np.sqrt(2000), rel=0.3)
        assert content["summary"][f"{name} noise 0.1-1%"]["systems"] == 100
        assert content["summary"][f"{name} noise 3-10%"]["systems"] == 900
        assert content["summary"][f"{name} magnification 3-6"]["systems"] == 300
        assert content["summary"][f"{name} magnification > 12"]["systems"] == 700
    assert "theta_E noise 1-3%" not in content["summary"]
    table = markdown_table(content).splitlines()
    assert len(table) == 2 + 7 * 5
    assert table[0].count("|") == table[5].count("|") == 10
    assert f"| theta_E | 1000 | {content['summary']['theta_E']['median_error']:.4f} ±" in table[2]


def test_coverage_is_confidence_where_the_width_is_right():
    evaluation = gaussian(2000)
    prediction = evaluation.prediction
    right, narrow = (evaluation.coverage(std) for std in (prediction.std, prediction.aleatoric))
    np.testing.assert_allclose(right, np.repeat(CONFIDENCES[:, None], 7, axis=1), atol=0.05)
    expected = 2 * scipy.stats.norm.cdf(0.5 * scipy.stats.norm.ppf((1 + CONFIDENCES) / 2)) - 1
    np.testing.assert_allclose(narrow.mean(axis=1), expected, atol=0.02)


@pytest.mark.filterwarnings("ignore:The noise rms", "ignore:The width sigma")
def test_measures_the_validation_set(tiny_cnn_folder):
    """One by one, instead of in batches."""
    model = zoo.load_pretrained(tiny_cnn_folder)
    evaluation = evaluate_lens_predictor(model, systems=3)
    systems = validation_set(get_preset("tiny16"), systems=3)
    for number in range(3):
        mock = systems.mocks([number])
        lens, std = model.predict(mock.image, noise=mock.noise, psf=mock.psf)
        np.testing.assert_array_equal(evaluation.true[number], mock.lens[0])
        np.testing.assert_allclose(
            evaluation.prediction.lens[number], lens[0], rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(evaluation.prediction.std[number], std[0], rtol=1e-3)
        assert evaluation.noise_level[number] == mock.noise_level[0]


@pytest.mark.parametrize("systems", [0, SYSTEMS + 1])
def test_impossible_numbers_of_systems_are_refused(tiny_cnn_folder, systems):
    with pytest.raises(ValueError, match=f"`systems` must be from 1 to {SYSTEMS}"):
        evaluate_lens_predictor(zoo.load_pretrained(tiny_cnn_folder), systems=systems)
