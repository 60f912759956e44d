"""`rim-lensing fit --visibilities` on a mock of one lensed galaxy."""

import json

import numpy as np
import pytest

import rim_lensing as rl
from rim_lensing.cli import main
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import deflections_on_rays
from rim_lensing.simulation.interferometer import Coverages, observe_sky

pytest.importorskip("ducc0")

LENS = np.array([1.15, 0.12, -0.08, 0.02, -0.03, 0.04, -0.03])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A text table, in CASA's convention: East left, exp(+2 pi i (ul + vm))."""
    generator = np.random.default_rng(0)
    grid = PixelGrid(48, 0.09)
    alpha = np.asarray(deflections_on_rays(np.float32(LENS)[None], grid))[0]
    beta = np.stack(grid.coordinates()) - alpha
    sky = sum(
        flux * np.exp(-0.5 * np.sum((beta - np.reshape(at, (2, 1, 1))) ** 2, axis=0) / width**2)
        for flux, at, width in ((1.0, (0.15, -0.1), 0.12), (0.6, (0.05, 0.15), 0.08))
    )
    coverage = Coverages(longest_baseline=(5e5, 5e5), antennas=(20, 21))
    seen = observe_sky(sky, grid, *coverage.draw(generator), 0.02, generator)
    path = tmp_path_factory.mktemp("visibilities") / "lens.txt"
    columns = [seen.u, -seen.v, seen.visibilities.real, seen.visibilities.imag, seen.weights]
    np.savetxt(path, np.transpose(columns), header="u [lambda] v [lambda] Re Im weight")
    return path


def test_the_lens_is_found_and_written(table, tmp_path, capsys):
    status = main(["fit", str(table), "--visibilities", "--output", str(tmp_path)])
    said = capsys.readouterr().out
    assert status == 0, said
    facts = json.loads((tmp_path / "metrics.json").read_text())
    assert facts["converged"] and "sigma" in said
    assert facts["lens"]["theta_E"] == pytest.approx(LENS[0], rel=0.02)
    assert facts["chi2_per_visibility"] == pytest.approx(1, abs=0.1)
    result = rl.read_reconstruction(tmp_path / "result.fits")
    assert result.counted == "visibility"
    assert (tmp_path / "summary.png").stat().st_size > 10_000


def test_what_is_wrong_is_said_at_once(table, tmp_path, capsys):
    (tmp_path / "result.fits").touch()
    status = main(
        ["fit", str(table), "--visibilities", "--noise", "0.1", "--phase-centre", "a"]
        + ["--output", str(tmp_path)]
    )
    said = capsys.readouterr().err
    assert status == 2
    for words in ("--noise", "--phase-centre", "overwrite"):
        assert words in said
