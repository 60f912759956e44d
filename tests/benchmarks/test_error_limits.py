"""The benchmark of what limits the sources, on errors that are known."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rim_lensing import metrics
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.lensing.symmetries import SYMMETRIES, transform_image

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import error_limits  # noqa: E402


def rows(text: str) -> dict[str, list[str]]:
    """By noise, the other columns."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_medians_by_noise():
    noise = np.array([0.005, 0.02, 0.02, 0.02, 0.05])
    columns = {
        "one": (np.array([0.01, 0.02, 0.03, 0.07, 0.2]), noise, "{:.3%}"),
        "two": (np.full(5, 0.01), np.full(5, 0.05), "{:.3%}"),
    }
    text = error_limits.table(columns)
    assert text.startswith("| noise | one | two |")
    found = {label: [cell.split(" ± ")[0] for cell in row] for label, row in rows(text).items()}
    assert found["all"] == ["3.000%", "1.000%"]
    assert found["0.1-1%"] == ["1.000%", "-"]
    assert found["1-3%"] == ["3.000%", "-"]
    assert found["3-10%"] == ["20.000%", "1.000%"]
    assert rows(text)["all"][1] == "1.000% ± 0.000%"


def test_a_blurred_source_has_the_beam_that_blurred_it():
    """Against scipy's convolution in pixels."""
    sources = draw_procedural_galaxies(3, 2, side=48)
    sources = (
        np.pad(sources, ((0, 0), (24, 24), (24, 24))) * np.array([1.0, 2.0, 0.5])[:, None, None]
    )
    for width in (3.0, 8.0):
        blurred = [gaussian_filter(source, width / np.sqrt(8 * np.log(2))) for source in sources]
        errors = metrics.rms_error(np.stack(blurred), sources)
        found = error_limits.equivalent_beams(errors, sources, 0.05)
        np.testing.assert_allclose(found, 0.05 * width, rtol=1e-3)
    assert error_limits.equivalent_beams(np.ones(3), sources, 0.05) == pytest.approx(96 * 0.05)


def test_sources_of_all_orientations_come_back_in_their_own(tiny_mocks):
    """Of a method that knows the source, whatever the image's orientation."""

    class Oracle:
        def reconstruct(self, image, noise, psf, lens):
            (turned,) = (
                transform_image(tiny_mocks.source, k)
                for k in range(SYMMETRIES)
                if np.array_equal(transform_image(tiny_mocks.image, k), image)
            )
            return SimpleNamespace(source=turned)

    for symmetry in range(SYMMETRIES):
        found = error_limits.reconstruct(Oracle(), tiny_mocks, symmetry)
        np.testing.assert_array_equal(found, tiny_mocks.source)


def test_from_the_command_line(capsys, tiny_folder, galaxy_file):
    error_limits.main([str(tiny_folder), "--galaxies", str(galaxy_file), "--systems", "2"])
    found = rows(capsys.readouterr().out)
    assert list(found) == ["all", "0.1-1%", "1-3%", "3-10%"]
    assert all("%" in cell for cell in found["all"][:3])
    assert 0 < float(found["all"][3].split(" ± ")[0]) <= 16 * 0.15


def test_no_systems_and_a_missing_file_are_refused(tmp_path, galaxy_file):
    with pytest.raises(ValueError, match="--systems must be positive. Received: 0"):
        error_limits.main(["rim_euclid64", "--galaxies", str(galaxy_file), "--systems", "0"])
    with pytest.raises(FileNotFoundError, match="There is no file"):
        error_limits.main(["rim_euclid64", "--galaxies", str(tmp_path / "no.h5")])
