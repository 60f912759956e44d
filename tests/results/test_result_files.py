"""What was written is what is read: reconstructions through FITS files and back."""

from dataclasses import fields, replace

import numpy as np
import pytest
from astropy.io import fits
from keras import ops
from matplotlib.figure import Figure

import rim_lensing as rl
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.mass_components import EPL, SIS, Multipole, Shear
from rim_lensing.lensing.mass_model import MassModel, as_lens
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.results.linear_result import LinearReconstruction


@pytest.fixture(scope="module")
def linear() -> LinearReconstruction:
    geometry = Geometry(20, 0.24, 16, 0.15, psf_side=5)
    x, y = geometry.image_grid.coordinates()
    ring = np.exp(-0.5 * ((np.hypot(x, y) - 1.0) / 0.3) ** 2)
    image = ring + 0.02 * np.random.default_rng(0).standard_normal(ring.shape)
    mask = np.ones(ring.shape, bool)
    mask[:2] = False
    return SemilinearInversion(geometry=geometry).reconstruct(
        1e-19 * image, 2e-21, 0.1, {"theta_E": 1.0, "e1": 0.05, "slope": 1.1}, mask
    )


def agree(first, second):
    assert type(first) is type(second)
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(other, float):
            # A card has 16 digits.
            assert one == pytest.approx(other, rel=1e-14), field.name
            continue
        np.testing.assert_array_equal(one, other, err_msg=field.name)
        assert np.asarray(one).dtype == np.asarray(other).dtype, field.name


def test_a_linear_reconstruction_comes_back(linear, tmp_path):
    linear.to_fits(tmp_path / "linear.fits")
    agree(rl.read_reconstruction(tmp_path / "linear.fits"), linear)
    plain = replace(linear, source_std=None)
    plain.to_fits(tmp_path / "plain.fits.gz")
    agree(rl.read_reconstruction(tmp_path / "plain.fits.gz"), plain)


def test_a_rims_reconstruction_comes_back(linear, tmp_path):
    names = {field.name for field in fields(rl.Reconstruction)}
    parts = {name: getattr(linear, name) for name in names}
    parts |= {"model": "rim_mine, refined", "lens": np.float32([1, 0.1, 0, 0, 0, 0.02, 0])}
    result = rl.Reconstruction(**parts)
    result.to_fits(tmp_path / "rim.fits")
    read = rl.read_reconstruction(tmp_path / "rim.fits")
    agree(read, result)
    assert read.metrics() == pytest.approx(result.metrics())


def test_without_a_lens_it_has_none(linear, tmp_path):
    result = replace(linear, lens=np.full(7, np.nan, "float32"))
    result.to_fits(tmp_path / "matrix.fits")
    assert np.isnan(rl.read_reconstruction(tmp_path / "matrix.fits").lens).all()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        rl.read_reconstruction(tmp_path / "none.fits")
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "image.fits")
    (tmp_path / "text.fits").write_text("no FITS")
    for name in ("image.fits", "text.fits"):
        with pytest.raises(ValueError, match="must be a FITS file that `Reconstruction.to_fits`"):
            rl.read_reconstruction(tmp_path / name)


def test_a_file_that_may_not_be_read_is_not_called_another(linear, tmp_path, monkeypatch):
    linear.to_fits(tmp_path / "linear.fits")

    def closed(*arguments, **options):
        raise PermissionError("not for you")

    monkeypatch.setattr(fits, "open", closed)
    with pytest.raises(PermissionError, match="not for you"):
        rl.read_reconstruction(tmp_path / "linear.fits")


SCENE = MassModel(
    lens=EPL(1.1, 0.1, 0.05, 0.01, -0.02, 1.1),
    shear=Shear(0.02, 0.03),
    boxy=Multipole(4, 0.02, 0.01),
    perturber=SIS(0.1, 0.8, 0.4),
)


def test_a_scene_is_written_and_read(linear_model, mock, tmp_path):
    result = linear_model.reconstruct(**mock(SCENE), lens=SCENE)
    assert "perturber.theta_E=0.1" in repr(result)
    np.testing.assert_allclose(result.mass_model.values, SCENE.values, rtol=1e-6)
    result.to_fits(tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as file:
        assert "THETA_E" not in file[0].header
        rows = {(row["COMPONENT"], row["PARAMETER"]): row for row in file["SCENE"].data}
        assert rows["perturber", "x"]["VALUE"] == pytest.approx(0.8)
        assert rows["boxy", "a1"]["ORDER"] == 4 and rows["boxy", "a1"]["UNIT"] == "arcsec"
    again = rl.read_reconstruction(tmp_path / "out.fits")
    assert again.form == SCENE.form and again.mass_model == result.mass_model
    # Critical curves of a scene are drawn, too.
    assert len(result.panels()["critical_curves"]) >= 1


def test_given_deflections_are_written_and_read(linear_model, mock, tmp_path):
    array, form = as_lens(SCENE)
    maps = ops.convert_to_numpy(form.on_rays(array, linear_model.image_grid))[0]
    result = linear_model.reconstruct(**mock(SCENE), lens=Deflections(*maps))
    own = linear_model.reconstruct(**mock(SCENE), lens=SCENE)
    np.testing.assert_allclose(result.source, own.source, atol=1e-5 * own.source.max())
    assert "lens in given deflections" in repr(result)
    result.to_fits(tmp_path / "out.fits")
    again = rl.read_reconstruction(tmp_path / "out.fits")
    np.testing.assert_array_equal(again.mass_model.maps[0], maps)
    assert isinstance(again.plot(), Figure)
