import numpy as np
import pytest

from rim_lensing import metrics
from rim_lensing.networks.presets import get_preset
from rim_lensing.publishing.measurement import markdown_table
from rim_lensing.publishing.rim_evaluation import Evaluation, evaluate_model
from rim_lensing.simulation.validation_set import SYSTEMS, validation_set
from rim_lensing.zoo import zoo


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
            "galaxy_error": metrics.galaxy_error(result.source, mock.source),
            "flux_error": metrics.flux_error(result.source, mock.source),
            "chi2": metrics.chi2_per_pixel(mock.image - result.model_image, mock.noise),
            "significance": metrics.chi2_significance(mock.image - result.model_image, mock.noise),
            "noise_level": mock.noise_level,
            "magnification": mock.magnification,
        }
        for name, value in expected.items():
            assert getattr(evaluation, name)[number] == pytest.approx(value[0], rel=1e-3), name
        coherence = metrics.coherence_spectrum(result.source, mock.source)[1]
        np.testing.assert_allclose(evaluation.coherence[number], coherence[0], atol=1e-3)


def test_what_was_measured_is_stated(model):
    content = evaluate_model(model, systems=2).metrics()
    assert (content["systems"], content["distinct_galaxies"]) == (2, 2)
    assert (content["galaxies"], content["validation_set"]) == ("procedural", None)
    assert markdown_table(content).splitlines()[2].startswith("| all | 2 |")


def test_rows_hold_the_systems_of_their_bin():
    ones = np.ones(4)
    spectra = np.tri(8)[[1, 3, 3, 7]]
    evaluation = Evaluation(
        systems=validation_set(get_preset("tiny16"), systems=4),
        rms_error=np.array([0.01, 0.02, 0.04, 0.08]),
        galaxy_error=np.array([0.1, 0.2, 0.4, 0.8]),
        flux_error=0 * ones,
        chi2=ones,
        significance=0 * ones,
        coherence=spectra,
        noise_level=np.array([0.005, 0.02, 0.02, 0.05]),
        magnification=np.array([4.0, 4.0, 20.0, 4.0]),
    )
    rows = evaluation.metrics()["summary"]
    assert {label: row["systems"] for label, row in rows.items()} == {
        "all": 4,
        "noise 0.1-1%": 1,
        "noise 1-3%": 2,
        "noise 3-10%": 1,
        "magnification 3-6": 3,
        "magnification > 12": 1,
    }
    assert rows["noise 1-3%"]["median_galaxy_error"] == pytest.approx(0.3)
    assert rows["magnification > 12"]["median_rms_error"] == 0.04
    assert rows["noise 1-3%"]["coherence_reach"] == 4 and rows["all"]["coherence_reach"] == 4
    assert rows["noise 3-10%"]["coherence_reach"] == 8


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
        galaxy_error=ones,
        flux_error=0 * ones,
        chi2=ones,
        significance=0 * ones,
        coherence=np.ones((systems, 32)),
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
