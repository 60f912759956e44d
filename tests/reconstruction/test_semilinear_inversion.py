"""Semilinear inversion's public face: units, masks, batches, choices, bad input, its result."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import lsq_linear
from scipy.sparse import csr_matrix

import rim_lensing
from rim_lensing.files.fits_files import read_image
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import (
    REGULARIZATIONS,
    difference_matrix,
    regularization_matrix,
)
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion

GEOMETRY = Geometry(20, 0.24, 16, 0.15, psf_side=5)
LENS = np.float32([[0.9, 0.1, 0.05, 0, 0, 0.02, 0.03], [1.0, -0.1, 0.1, 0.02, 0, 0, 0.05]])
RMS = 0.02
LINEAR = SemilinearInversion(geometry=GEOMETRY)


def truth(batch: int) -> np.ndarray:
    x, y = GEOMETRY.source_grid.coordinates()
    shifts = np.linspace(-0.1, 0.2, batch)[:, None, None]
    return np.exp(-0.5 * ((x - shifts) ** 2 + (y - 0.1) ** 2) / 0.25**2).astype("float32")


def systems(batch: int = 2) -> dict[str, np.ndarray]:
    psf = np.zeros((5, 5))
    psf[1:4, 1:4], psf[2, 2], psf[2, 3] = 0.05, 0.5, 0.15
    lens = LENS[np.arange(batch) % 2]
    model = ForwardModel(
        lens, psf[None].astype("float32"), GEOMETRY.image_grid, GEOMETRY.source_grid
    )
    image = np.asarray(model.predict(truth(batch)), "float64")
    image += RMS * np.random.default_rng(1).standard_normal(image.shape)
    return {"image": image, "noise": np.full(image.shape, RMS), "psf": psf, "lens": lens}


def one(index: int = 0) -> dict[str, np.ndarray]:
    data = systems()
    return data | {name: data[name][index] for name in ("image", "noise", "lens")}


@pytest.mark.parametrize("kind", REGULARIZATIONS)
def test_minimises_misfit_plus_prior(kind):
    strength, data = 30.0, one()
    result = SemilinearInversion(kind, strength, geometry=GEOMETRY).reconstruct(**data)
    model = ForwardModel(
        data["lens"][None],
        data["psf"][None].astype("float32"),
        GEOMETRY.image_grid,
        GEOMETRY.source_grid,
    )
    rows = np.vstack(
        [
            model.as_matrix()[0] / RMS,
            np.sqrt(strength) * difference_matrix(kind, 16).toarray(),
        ]
    )
    right_side = np.zeros(len(rows))
    right_side[:400] = data["image"].ravel() / RMS
    expected = lsq_linear(rows, right_side, tol=1e-14).x.reshape(16, 16)
    np.testing.assert_allclose(result.source, expected, atol=2e-5)
    assert result.strength == pytest.approx(strength, rel=1e-12)


def test_finds_the_source_and_says_how_well():
    result = LINEAR.reconstruct(**one())
    error = result.source - truth(2)[0]
    flat = result.source.ravel()
    roughness = flat @ regularization_matrix("gradient", 16) @ flat
    # Together they have as many degrees of freedom as there are data (within four sigma).
    total = 400 * result.chi2 + result.strength * roughness
    assert abs(total - 400) < 4 * np.sqrt(2 * 400)
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert result.source_std.shape == (16, 16) and np.all(result.source_std > 0)
    assert np.mean(np.abs(error) < 2 * result.source_std) > 0.85
    assert result.strength > 0 and result.log_evidence_error == 0


def test_chi2_and_model_image_are_those_of_the_forward_model():
    data = systems()
    result = LINEAR.reconstruct(**data)
    model = ForwardModel(data["lens"], result.psf, GEOMETRY.image_grid, GEOMETRY.source_grid)
    predicted = np.asarray(model.predict(result.source.astype("float32")))
    np.testing.assert_allclose(result.model_image, predicted, atol=1e-5)
    chi2 = np.mean(((data["image"] - predicted) / RMS) ** 2, axis=(1, 2))
    np.testing.assert_allclose(result.chi2, chi2, rtol=1e-4)
    np.testing.assert_array_equal(result.chi2_history[:, 0], result.chi2)


@pytest.mark.parametrize("unit", [1e6, 1e-20])
def test_the_unit_scales_the_answer_and_nothing_else(unit):
    data = one()
    plain = LINEAR.reconstruct(**data)
    scaled_data = data | {"image": unit * data["image"], "noise": unit * data["noise"]}
    scaled = LINEAR.reconstruct(**scaled_data)
    assert scaled.strength == pytest.approx(plain.strength / unit**2, rel=1e-5)
    for name in ("source", "source_std", "model_image"):
        reference = getattr(plain, name)
        np.testing.assert_allclose(
            getattr(scaled, name) / unit, reference, atol=1e-6 * np.abs(reference).max()
        )
    assert scaled.chi2 == pytest.approx(plain.chi2, rel=1e-6)
    # A density per unit of flux: in units that are 1/u as large it is u^-N_d times as large.
    evidence = plain.log_evidence - 400 * np.log(unit)
    assert scaled.log_evidence == pytest.approx(evidence, rel=1e-7)
    given = SemilinearInversion(strength=scaled.strength, geometry=GEOMETRY)
    again = given.reconstruct(**scaled_data)
    np.testing.assert_allclose(again.source, scaled.source, rtol=1e-9, atol=1e-9 * unit)


def test_masked_pixels_do_not_matter():
    data = one()
    mask = np.hypot(*GEOMETRY.image_grid.coordinates()) < 2
    results = [
        LINEAR.reconstruct(
            **data
            | {
                "image": np.where(mask, data["image"], value),
                "noise": np.where(mask, data["noise"], value),
            },
            mask=mask,
        )
        for value in (0.0, 1e8, np.nan)
    ]
    for other in results[1:]:
        for name in ("source", "source_std", "strength", "log_evidence", "chi2", "model_image"):
            np.testing.assert_array_equal(getattr(other, name), getattr(results[0], name))
    assert np.array_equal(np.isnan(results[0].image), ~mask)


def test_a_batch_is_its_systems_one_by_one(capsys):
    batch = LINEAR.reconstruct(**systems())
    assert "2/2" in capsys.readouterr().err
    assert len(batch) == 2 and batch.strength.shape == (2,)
    for i in range(2):
        single, part = LINEAR.reconstruct(**one(i)), batch[i]
        assert isinstance(part.strength, float) and isinstance(part.log_evidence, float)
        for name in ("source", "source_std", "strength", "log_evidence", "chi2", "history"):
            np.testing.assert_allclose(getattr(part, name), getattr(single, name), rtol=1e-9)
    assert capsys.readouterr().err == ""


def test_the_system_that_cannot_be_inverted_is_named():
    blank = csr_matrix((400, 256))
    matrix = lensing_matrices(LENS[:1], GEOMETRY)[0]
    data = systems() | {"lens": None, "lensing_matrix": [matrix, blank]}
    with pytest.raises(ValueError, match=r"System 1 \(of 2\): "):
        LINEAR.reconstruct(**data)


def test_says_what_to_do_where_conjugate_gradients_do_not_converge(monkeypatch):
    def stuck(*arguments):
        raise RuntimeError("far from the solution")

    monkeypatch.setattr(MatrixFreeEngine, "mean", stuck)
    model = SemilinearInversion(strength=1.0, engine="matrix-free", geometry=GEOMETRY)
    with pytest.raises(RuntimeError, match="^far from the solution: choose a larger `strength`"):
        model.reconstruct(**one() | {"psf": 0.2}, uncertainties=False)


def test_warns_of_what_noise_does_not_leave_and_not_of_less():
    data = one() | {"psf": 0.2}
    with pytest.warns(UserWarning, match=r"chi\^2 per pixel is \d.*an rms, not a variance"):
        SemilinearInversion(strength=1e6, geometry=GEOMETRY).reconstruct(**data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = SemilinearInversion(strength=1e-3, geometry=GEOMETRY).reconstruct(**data)
    assert 0.2 < fitted.chi2 < 0.7
    with pytest.warns(UserWarning, match=r"chi\^2 per pixel is 0\.0\d*, where noise leaves 1"):
        LINEAR.reconstruct(**data | {"noise": 10 * data["noise"]})


def test_warns_of_a_slope_of_another_package():
    with pytest.warns(UserWarning, match="steeper than galaxies.*1 is isothermal.*plus 1.*1.95"):
        LINEAR.reconstruct(**one() | {"lens": {"theta_E": 1.0, "slope": 1.95}})


def test_a_lensing_matrix_serves_instead_of_a_lens(tmp_path):
    data = one()
    reference = LINEAR.reconstruct(**data)
    matrix = lensing_matrices(data.pop("lens")[None], GEOMETRY)[0]
    result = LINEAR.reconstruct(**data, lensing_matrix=matrix)
    for name in ("source", "strength", "log_evidence", "model_image"):
        np.testing.assert_array_equal(getattr(result, name), getattr(reference, name))
    assert np.isnan(result.lens).all() and not result.plot().axes[1].lines
    assert reference.plot().axes[1].lines
    result.to_fits(tmp_path / "out.fits")
    assert "THETA_E" not in read_image(tmp_path / "out.fits").header
    many = systems()
    many.pop("lens")
    both = LINEAR.reconstruct(**many, lensing_matrix=[matrix, 2 * matrix])
    assert both.source[1].max() < 0.7 * both.source[0].max()


def test_without_uncertainties():
    result = LINEAR.reconstruct(**systems(), uncertainties=False)
    assert result.source_std is None and result[1].source_std is None


def test_metrics_have_what_a_linear_inversion_knows():
    batch = LINEAR.reconstruct(**systems(), uncertainties=False)
    for name in ("strength", "log_evidence", "log_evidence_error"):
        assert batch.metrics()[name].shape == (2,)
        value = batch[0].metrics()[name]
        assert isinstance(value, float) and value == getattr(batch, name)[0]
    assert batch.metrics()["chi2_per_pixel"].shape == (2,)


def test_a_file_has_what_a_linear_inversion_knows(tmp_path):
    result = LINEAR.reconstruct(**one())
    result.to_fits(tmp_path / "exact.fits")
    with fits.open(tmp_path / "exact.fits") as file:
        np.testing.assert_array_equal(file["SOURCE_STD"].data, result.source_std)
        assert file["SOURCE_STD"].header["PIXSCALE"] == GEOMETRY.source_pixel_scale
        assert file[0].header["STRENGTH"] == pytest.approx(result.strength)
        assert file[0].header["LOGEV"] == pytest.approx(result.log_evidence)
        assert "LOGEVERR" not in file[0].header
    rough = replace(result, source_std=None, log_evidence_error=0.7)
    rough.to_fits(tmp_path / "rough.fits")
    with fits.open(tmp_path / "rough.fits") as file:
        assert "SOURCE_STD" not in file and file[0].header["LOGEVERR"] == 0.7


def test_supersampling_and_a_gaussian_psf():
    fine = Geometry(20, 0.24, 16, 0.15, psf_side=5, supersampling=3)
    psf = gaussian_on_pixels(np.array([0.2 / 0.24], "float32"), 9)
    model = ForwardModel(LENS[:1], psf, fine.image_grid, fine.source_grid, 3)
    image = np.asarray(model.predict(truth(2)[:1]), "float64")[0]
    data = {"image": image, "noise": 1e-3, "psf": 0.2, "lens": LENS[0]}
    right = SemilinearInversion(geometry=fine).reconstruct(**data)
    wrong = LINEAR.reconstruct(**data)
    assert right.chi2 < 1 and np.abs(right.source - truth(2)[0]).max() < 0.05
    assert wrong.chi2 > 2 * right.chi2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"regularization": "laplace"}, "`regularization` must be one of"),
        ({"strength": 0}, "`strength` must be a positive number"),
        ({"strength": np.nan}, "`strength` must be a positive number"),
        ({"strength": [1.0, 2.0]}, "`strength` must be a positive number"),
        ({"strength": "10"}, "`strength` must be a positive number"),
        ({"engine": "dense"}, "`engine` must be one of"),
    ],
)
def test_refuses_choices(changes, message):
    with pytest.raises(ValueError, match=message):
        SemilinearInversion(**changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"noise": -1}, "`noise` must be positive"),
        ({"lens": None}, "Exactly one of `lens` and `lensing_matrix`.*neither"),
        ({"lensing_matrix": csr_matrix((400, 256))}, "Exactly one of.*both"),
        ({"lens": None, "lensing_matrix": csr_matrix((400, 255))}, "`lensing_matrix` must be"),
        ({"lens": None, "lensing_matrix": [csr_matrix((400, 256))] * 2}, "2 matrices for 1"),
        ({"lens": None, "lensing_matrix": np.zeros((400, 256))}, "`lensing_matrix` must be"),
        ({"lens": LensParameters(2.2, x=1.5, y=1.5)}, "`lens` must map the arcs"),
        ({"pixel_scale": 0.1}, "`pixel_scale` must be the model's"),
    ],
)
def test_refuses_data(changes, message):
    with pytest.raises(ValueError, match=message):
        LINEAR.reconstruct(**one() | changes)


def test_size_chooses_the_engine():
    assert SemilinearInversion().engine == "exact"
    assert SemilinearInversion(geometry=Geometry()).engine == "matrix-free"
    assert SemilinearInversion(geometry=Geometry(), engine="exact").engine == "exact"


def test_the_engine_is_the_one_that_was_chosen():
    """The matrix-free one estimates: near the exact answer, and not equal to it."""
    exact, free = (
        SemilinearInversion(strength=30.0, engine=engine, geometry=GEOMETRY).reconstruct(**one())
        for engine in ("exact", "matrix-free")
    )
    error = free.log_evidence_error
    assert error > 0 and abs(free.log_evidence - exact.log_evidence) < 5 * error
    assert np.all(np.abs(free.source - exact.source) < 0.05 * exact.source_std)
    ratio = free.source_std / exact.source_std
    assert 0.9 < ratio.mean() < 1.1 and ratio.std() > 0


def test_is_public():
    assert rim_lensing.SemilinearInversion is SemilinearInversion
    assert issubclass(rim_lensing.LinearReconstruction, rim_lensing.Reconstruction)
