"""The subhalo example: lenstronomy makes the mock; what is held stays, what is linked follows."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import rim_lensing as rl
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.lensing.grids import PixelGrid

EXAMPLE = Path(__file__).parents[1] / "examples" / "subhalo.py"


@pytest.fixture(scope="module")
def example():
    pytest.importorskip("lenstronomy")
    spec = importlib.util.spec_from_file_location("subhalo", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mock_is_our_image_of_the_true_galaxy(example):
    """2 x 2 rays a pixel are within a tenth of the noise of lenstronomy's 6 x 6; one is not."""
    from lenstronomy.LightModel.light_model import LightModel

    grid, fine = PixelGrid(64, 0.1), PixelGrid(256, 0.0125)
    truth, seen = example.truth(0.12), example.mock(example.truth(0.12), grid, seed=0)
    noise = example.NOISE * np.random.default_rng(0).standard_normal((64, 64))
    galaxy = [{"amp": 1.0, "n_sersic": 1.0} | profile for profile in example.SOURCE.values()]
    source = LightModel(list(example.SOURCE)).surface_brightness(*fine.coordinates(), galaxy)
    errors = []
    for rays in (2, 1):
        deflections = truth.on_rays(truth.values[None], grid, rays)
        psf = example.fine_psf(rays, grid.pixel_scale)[None]
        model = ForwardModel(deflections, psf, grid, fine, oversampling=rays)
        image = ops.convert_to_numpy(model.predict(np.float32(source)[None]))[0]
        exact = seen.image - noise
        image = image * np.sum(image * exact) / np.sum(image**2)
        errors.append(np.sqrt(np.mean((image - exact) ** 2)) / example.NOISE)
    assert errors[0] < 0.1 < errors[1], errors


@pytest.mark.slow
def test_a_subhalo_is_found_on_small_grids(example, ridge_model):
    seen = example.mock(example.truth(0.3), ridge_model.image_grid)
    found = example.fit(seen, ridge_model)
    assert found.reconstruction.ray_oversampling == example.OVERSAMPLING
    lens = dict(zip(found.mass_model.names, found.lens, strict=True))
    std = dict(zip(found.mass_model.names, found.std, strict=True))
    held = {"lens.slope": 1.0, "subhalo.x": example.PLACE[0], "subhalo.y": example.PLACE[1]}
    for name, value in held.items():
        assert lens[name] == pytest.approx(value, abs=1e-6) and std[name] == 0
    assert (lens["boxy.x"], lens["boxy.y"]) == (lens["lens.x"], lens["lens.y"])
    assert std["boxy.x"] == std["lens.x"] > 0
    assert 0 < std["subhalo.theta_E"] < 0.05
    assert abs(lens["subhalo.theta_E"] - 0.3) < 3 * std["subhalo.theta_E"]


@pytest.mark.slow
def test_its_mass_is_found_within_its_error(example):
    """Within 3 sigma of 2%: benchmarks/subhalo.py has the distribution."""
    model = rl.load_pretrained("rim_euclid64")
    found = example.fit(example.mock(example.truth(0.12), model.image_grid), model)
    column = found.mass_model.index("subhalo.theta_E")
    assert found.converged and found.std[column] < 0.004
    assert abs(found.lens[column] - 0.12) < 3 * found.std[column]
    assert np.all(found.std[found.std > 0] < 0.01)
