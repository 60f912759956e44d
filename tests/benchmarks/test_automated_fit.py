"""What automated_fit.py keeps for the figures, and its table, without a fit."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import automated_fit  # noqa: E402

CIRCLE = np.stack([np.cos(np.linspace(0, 6.3, 50)), np.sin(np.linspace(0, 6.3, 50))], axis=-1)


def write(directory: Path, name: str, arrays: dict) -> Path:
    directory.mkdir(exist_ok=True)
    np.savez(directory / f"{name}.npz", **arrays)
    return directory / f"{name}.npz"


def test_automated_fit_keeps_examples_of_fits_that_are_there(
    tiny_folder, tiny_mocks, tmp_path, monkeypatch
):
    from rim_lensing.zoo.zoo import load_pretrained

    model, mock = load_pretrained(tiny_folder), tiny_mocks
    data = {"image": mock.image[0], "noise": mock.noise[0], "psf": mock.psf[0]}
    monkeypatch.setattr(automated_fit, "_system", lambda number, options: (model, mock, data))
    found = {f"{name}_lens": mock.lens[:1] for name in automated_fit.LENSES}
    found |= {f"{name}_rms_error": np.array([0.1]) for name in automated_fit.LENSES}
    found["fitted_lens"] = mock.lens[:1] + np.float32([0.1, 0, 0, 0, 0, 0, 0])
    found["predicted_rms_error"] = np.array([np.nan])  # the lens led nowhere
    fitted = write(tmp_path / "run", "system_0000", found)
    before, path = fitted.read_bytes(), tmp_path / "run" / "example_0000.npz"
    automated_fit._write_example((0, fitted, path, None))
    one = dict(np.load(path))
    assert fitted.read_bytes() == before
    for name, lens in (("true", mock.lens[0]), ("fitted", found["fitted_lens"][0])):
        result = model.reconstruct(lens=lens, **data)
        np.testing.assert_allclose(one[f"{name}_lens_source"], result.source, rtol=1e-4, atol=1e-6)
        assert np.nanmax(one[f"{name}_critical_curves"]) > 0.1
    assert np.isnan(one["predicted_lens_source"]).all()
    assert len(one["predicted_critical_curves"]) == 0
    np.testing.assert_array_equal(one["true_source"], mock.source[0])


def test_automated_fit_makes_only_the_examples_that_are_missing(
    tiny_folder, tiny_cnn_folder, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    arguments = ["--model", str(tiny_folder), "--lens-model", str(tiny_cnn_folder)]
    arguments += ["--systems", "5", "--output", str(run)]
    for i in range(5):
        write(run, f"system_{i:04d}", {"number": np.array([i])})
    write(run, "example_0001", {})
    asked = []
    monkeypatch.setattr(automated_fit, "in_processes", lambda *job: asked.append(job))
    monkeypatch.setattr(automated_fit, "table", lambda arrays: f"{len(arrays['number'])} systems")
    assert automated_fit.main([*arguments, "--draw-only"]) == 0 and not asked
    assert automated_fit.main(arguments) == 0
    ((function, jobs, _, _),) = asked
    assert function is automated_fit._write_example
    assert [(job[0], job[2].name) for job in jobs] == [
        (0, "example_0000.npz"),
        (2, "example_0002.npz"),
    ]


def test_numbers_of_the_table():
    """Five systems: the last two end inconsistent, and the CNN's lens of the last led nowhere."""
    theta_errors = {
        "fitted": [0.001, 0.002, 0.009, 0.5, 0.6],
        "predicted": [0.01, 0.03, 0.02, 1, 1],
    }
    true = np.tile(np.float64([1.2, 0, 0, 0, 0, 0, 0]), (5, 1))
    arrays = {
        "converged": np.array([True, True, True, False, False]),
        "demagnified": np.array([False, False, False, False, True]),
        "optimisations": np.array([0, 1, 2, 4, 4]),
        "evaluations": np.array([0, 100, 200, 300, 400]),
        "seconds": np.array([1.0, 2, 30, 40, 50]),
        "noise_level": np.array([0.005, 0.02, 0.05, 0.02, 0.05]),
        "true_p_value": np.array([0.5, 0.5, 0.5, 0.5, 1e-4]),
        "true_lens": true,
    }
    for name, errors in theta_errors.items():
        arrays[f"{name}_lens"] = true - np.outer(errors, np.eye(7)[0])
    for name, rms in (
        ("true", [0.01] * 5),
        ("predicted", [0.011, 0.02, 0.03, 0.04, np.nan]),
        ("fitted", [0.01, 0.011, 0.012, 0.013, 0.014]),
    ):
        arrays[f"{name}_rms_error"] = np.array(rms)
        arrays[f"{name}_flux_error"] = -np.array(rms)
        arrays[f"{name}_chi2"] = 100 * np.array(rms)
    text = automated_fit.table(arrays)
    assert "5 systems. Consistent with noise in the end: 3 (60.0%)" in text
    assert "with the predicted lens: 1 (20.0%); with the true lens: 4 (80.0%)" in text
    assert "does not magnify: 1." in text
    assert 'median |theta_E error|: 0.0020"; before: 0.0200"' in text
    assert "where it was needed: median 250, 90th percentile 370" in text
    assert "seconds for a fit: median 30.0" in text
    assert "| predicted lens | 2.5% | 2.50% | 3.70% | 2.500 | 20% |" in text
    # 0.012 and more are 1.2 times the error with the true lens, or above.
    assert "| after optimisation | 1.2% | 1.20% | 1.36% | 1.200 | 40% |" in text
    assert "| 1.0% to 3% | 1 | 0.0020 (0.030) |" in text
    failures = text.partition("Not consistent with noise in the end:")[2].splitlines()
    assert failures[-2:] == [
        "| 2.00% | 1.300 | 1.000 | 0.5 | 0.5000 | 4 | 40 |",
        "| 5.00% | 1.400 | 1.000 | 0.0001 | 0.6000 | 4 | 50 |",
    ]


def test_joined_curves_have_gaps():
    joined = automated_fit.joined([CIRCLE, 2 * CIRCLE])
    np.testing.assert_array_equal(joined[:50], CIRCLE)
    np.testing.assert_array_equal(joined[51:101], 2 * CIRCLE)
    assert np.isnan(joined[[50, 101]]).all() and len(joined) == 102
    assert automated_fit.joined([]).shape == (0, 2)
