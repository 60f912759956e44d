"""What a reconstruction gives back: units, masks, parts of a batch, figures, files."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure

from rim_lensing.files.fits_files import read_image
from rim_lensing.forward_model.forward_model import ForwardModel, total_magnification
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.chi2_warning import warn_of_chi2
from rim_lensing.results.result import Reconstruction

GEOMETRY = Geometry(16, 0.3, 12, 0.2, psf_side=5)
UNIT = 3e-19
RMS = 0.02
LENS = np.float32([[1.0, 0.1, 0.05, 0, 0, 0.02, 0.03], [0.8, 0, 0, 0.05, 0, 0, 0]])


def make(batch: int | None = 2, steps: int = 4) -> tuple[Reconstruction, np.ndarray]:
    """Return a result whose last step is the truth, and the truth (systems, n, n)."""
    x, y = GEOMETRY.source_grid.coordinates()
    truth = np.exp(-0.5 * np.hypot(x - [[[0.1]], [[0.0]]], y) ** 2 / 0.3**2).astype("float32")
    model = ForwardModel(
        LENS, np.full((2, 1, 1), 1.0, "float32"), GEOMETRY.image_grid, GEOMETRY.source_grid
    )
    image = ops.convert_to_numpy(model.predict(truth)).astype("float64")
    image = UNIT * (image + RMS * np.random.default_rng(0).standard_normal(image.shape))
    mask = np.ones((16, 16), bool)
    mask[:, 0] = False
    which = 0 if batch is None else slice(0, batch)
    observation = check_observation(
        image[which], RMS * UNIT, 0.0, LENS[which], mask, image_grid=GEOMETRY.image_grid
    )
    share = np.linspace(0.5, 1, steps)[None, :, None, None]
    sources = truth[: len(observation), None] * share * UNIT
    history = sources / observation.flux_unit[:, None, None, None]
    return Reconstruction.from_history(observation, history, GEOMETRY, "test"), truth * UNIT


def test_shapes_of_a_batch_and_of_one_system():
    for batch, lead in ((2, (2,)), (None, ())):
        result, _ = make(batch)
        assert result.source.shape == (*lead, 12, 12)
        assert result.history.shape == (*lead, 4, 12, 12)
        assert result.chi2_history.shape == (*lead, 4)
        for name in ("model_image", "image", "noise", "mask", "residuals", "residuals_in_sigma"):
            assert getattr(result, name).shape == (*lead, 16, 16)
        assert result.lens.shape == (*lead, 7) and result.psf.shape[:-2] == lead
        assert np.shape(result.chi2) == lead
        assert (result.image_pixel_scale, result.source_pixel_scale) == (0.3, 0.2)


def test_everything_is_in_the_unit_of_the_image():
    result, truth = make()
    np.testing.assert_allclose(result.source, truth, rtol=1e-6)
    np.testing.assert_array_equal(result.source, result.history[:, -1])
    model = ForwardModel(LENS, result.psf, GEOMETRY.image_grid, GEOMETRY.source_grid)
    expected = ops.convert_to_numpy(model.predict((truth / UNIT).astype("float32"))) * UNIT
    np.testing.assert_allclose(result.model_image, expected, rtol=1e-5, atol=1e-6 * UNIT)
    assert result.noise[0, 3, 3] == pytest.approx(RMS * UNIT)
    assert result.source.dtype == np.float64


def test_residuals_and_chi2_leave_the_masked_pixels_out():
    result, _ = make()
    for array in (result.image, result.residuals, result.residuals_in_sigma):
        np.testing.assert_array_equal(np.isnan(array), ~result.mask)
    chi2 = np.nansum(result.residuals_in_sigma**2, axis=(1, 2)) / (16 * 15)
    np.testing.assert_allclose(result.chi2, chi2, rtol=1e-4)
    assert np.all(np.abs(result.chi2 - 1) < 0.35)
    assert np.all(np.diff(result.chi2_history) < 0)
    np.testing.assert_array_equal(result.chi2_history[:, -1], result.chi2)


def test_a_system_of_a_batch_is_a_result_of_its_own():
    result, _ = make()
    assert len(result) == 2 and result.is_batch
    first, alone = result[0], make(None)[0]
    assert not first.is_batch and isinstance(first.chi2, float)
    for name in ("source", "history", "image", "model_image", "noise", "lens", "chi2_history"):
        np.testing.assert_allclose(getattr(first, name), getattr(alone, name), rtol=1e-5)
    assert [part.chi2 for part in result] == list(result.chi2)
    with pytest.raises(TypeError, match="one system"):
        first[0]
    rest = result[1:]
    assert rest.is_batch and len(rest) == 1
    np.testing.assert_array_equal(rest.source, result.source[1:])
    np.testing.assert_array_equal(rest[0].residuals, result[1].residuals)
    assert rest[0].chi2 == result[1].chi2
    with pytest.raises(IndexError, match="none of the 2"):
        result[2:]
    with pytest.raises(TypeError, match="one system"):
        len(first)


def test_metrics_of_one_system_are_numbers():
    result, truth = make(None)
    numbers = result.metrics()
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert numbers["used_pixels"] == 16 * 15 and numbers["chi2_per_pixel"] == result.chi2
    assert numbers["source_peak"] == pytest.approx(truth[0].max())
    assert numbers["source_flux"] == pytest.approx(truth[0].sum() * (0.2 / 0.3) ** 2)
    expected = total_magnification(
        result.source[None] / UNIT,
        result.model_image[None] / UNIT,
        GEOMETRY.source_grid,
        GEOMETRY.image_grid,
    )
    assert numbers["total_magnification"] == pytest.approx(float(expected[0]), rel=1e-5)


def test_metrics_of_a_batch_are_arrays():
    result, _ = make()
    for name, value in result.metrics().items():
        assert value.shape == (2,)
        np.testing.assert_allclose(value[0], result[0].metrics()[name])


def test_an_empty_source_has_no_magnification():
    result, _ = make(None)
    empty = replace(result, source=np.zeros((12, 12)), model_image=np.zeros((16, 16)))
    assert empty.metrics()["total_magnification"] == 0


def test_plot_shows_the_system():
    batch, single = make()[0], make(None)[0]
    figure = batch.plot(index=0)
    assert isinstance(figure, Figure) and isinstance(single.plot(), Figure)
    np.testing.assert_allclose(figure.axes[3].images[0].get_array(), batch.source[0])
    assert figure.axes[1].lines and len(figure.axes[3].lines) == 2


@pytest.mark.parametrize("batch, index", [(2, None), (None, 0)])
def test_plot_needs_an_index_for_a_batch_alone(batch, index):
    with pytest.raises(ValueError, match="`index` must be given for a batch"):
        make(batch)[0].plot(index)


def test_plot_of_a_steep_lens_in_a_single_step():
    result, _ = make(None, steps=1)
    assert isinstance(replace(result, lens=np.append(result.lens, 1.2)).plot(), Figure)


def test_one_system_goes_into_a_file(tmp_path):
    result, truth = make()
    with pytest.raises(ValueError, match="A file holds one system.*batch of 2"):
        result.to_fits(tmp_path / "a.fits")
    result[1].to_fits(tmp_path / "a.fits")
    np.testing.assert_allclose(read_image(tmp_path / "a.fits").array, truth[1], rtol=1e-6)


def test_systems_whose_chi2_noise_does_not_leave_are_named():
    with pytest.warns(UserWarning, match=r"is 0\.3 in 2 of 3 systems \(index 1, 2\), where"):
        warn_of_chi2(np.array([1.0, 0.3, 5.0]))
    with pytest.warns(UserWarning, match=r"is 5 in 2 of 4 systems \(index 2, 3\), where"):
        warn_of_chi2(np.array([1.0, 0.3, 5.0, 0.1]), fits_noise=True)
    with pytest.warns(UserWarning, match="is 0.6, where noise leaves 1"):
        warn_of_chi2(0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_chi2(np.array([0.75, 1.4]))
        warn_of_chi2(0.3, fits_noise=True)
