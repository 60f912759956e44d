"""What automated_fit.py keeps for the figures, without a fit."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import automated_fit  # noqa: E402

CIRCLE = np.stack([np.cos(np.linspace(0, 6.3, 50)), np.sin(np.linspace(0, 6.3, 50))], axis=-1)


def write(directory: Path, name: str, arrays: dict) -> Path:
    directory.mkdir(exist_ok=True)
    np.savez(directory / f"{name}.npz", **arrays)
    return directory / f"{name}.npz"


def test_automated_fit_keeps_examples_of_fits_that_are_there(
    tiny_folder, tiny_mocks, tmp_path, monkeypatch
):
    from rim_lensing.zoo import load_pretrained

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


def test_joined_curves_have_gaps():
    joined = automated_fit.joined([CIRCLE, 2 * CIRCLE])
    np.testing.assert_array_equal(joined[:50], CIRCLE)
    np.testing.assert_array_equal(joined[51:101], 2 * CIRCLE)
    assert np.isnan(joined[[50, 101]]).all() and len(joined) == 102
    assert automated_fit.joined([]).shape == (0, 2)
