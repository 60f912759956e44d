import numpy as np
import pytest

from rim_lensing import metrics, zoo
from rim_lensing.evaluation import Evaluation, evaluate_model, markdown_table
from rim_lensing.networks.presets import get_preset
from rim_lensing.simulation.validation_set import SYSTEMS, validation_set


@pytest.fixture(scope="module")
def model(tiny_folder):
    return zoo.load_pretrained(tiny_folder)


@pytest.mark.filterwarnings("ignore:The noise rms")
def test_measures_are_those_of_the_validation_set(model):
    """One by one, instead of in batches, on systems made alone."""
    evaluation = evaluate_model(model, systems=3)
    systems = validation_set(get_preset("tiny16"), systems=3)
    for number in range(3):
        mock = systems.mocks([number])
        result = model.reconstruct(mock.image, noise=mock.noise, psf=mock.psf, lens=mock.lens)
        expected = {
            "rms_error": metrics.rms_error(result.source, mock.source),
            "flux_error": metrics.flux_error(result.source, mock.source),
            "chi2": metrics.chi2_per_pixel(mock.image - result.model_image, mock.noise),
            "significance": metrics.chi2_significance(mock.image - result.model_image, mock.noise),
            "noise_level": mock.noise_level,
            "magnification": mock.magnification,
        }
        for name, value in expected.items():
            assert getattr(evaluation, name)[number] == pytest.approx(value[0], rel=1e-3), name


def test_what_was_measured_is_stated(model):
    content = evaluate_model(model, systems=2).metrics()
    assert (content["systems"], content["distinct_galaxies"]) == (2, 2)
    assert (content["galaxies"], content["validation_set"]) == ("procedural", None)
    assert markdown_table(content).splitlines()[2].startswith("| all | 2 |")


@pytest.mark.parametrize("systems", [0, SYSTEMS + 1])
def test_impossible_numbers_of_systems_are_refused(model, systems):
    with pytest.raises(ValueError, match=f"`systems` must be from 1 to {SYSTEMS}"):
        evaluate_model(model, systems=systems)


@pytest.mark.parametrize("systems, galaxies", [(400, 400), (2000, 500)])
def test_standard_errors_are_those_of_a_median(systems, galaxies):
    """Of errors that depend on the galaxy alone: the systems do not count."""
    sigma = 0.1
    deviations = sigma * np.random.default_rng(0).standard_normal(500)
    chosen = validation_set(get_preset("euclid64"), systems=systems)
    assert len(np.unique(chosen.galaxy)) == galaxies
    ones = np.ones(systems)
    evaluation = Evaluation(
        systems=chosen,
        rms_error=1 + deviations[chosen.galaxy],
        flux_error=0 * ones,
        chi2=ones,
        significance=0 * ones,
        noise_level=0.05 * ones,
        magnification=5 * ones,
    )
    content = evaluation.metrics()
    assert content["validation_set"] == "euclid64_procedural"
    assert content["summary"]["all"]["median_rms_error"] == pytest.approx(1, abs=0.03)
    # Of a median of Gaussians: sqrt(pi / 2) times that of the mean.
    expected = np.sqrt(np.pi / 2) * sigma / np.sqrt(galaxies)
    error = content["standard_errors"]["all"]["median_rms_error"]
    assert error == pytest.approx(expected, rel=0.4)
