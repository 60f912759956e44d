"""The subhalo example, on small grids: lenstronomy makes the mock, held parameters stay."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "subhalo.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("subhalo", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_mass_of_the_subhalo_is_found_within_its_error(example, ridge_model):
    noise = 0.02
    image = example.mock(example.TRUTH, noise, ridge_model.image_grid)
    theta_E, std = example.fit(image, noise, ridge_model)
    assert 0 < std < 0.1
    assert abs(theta_E - 0.12) < 2 * std
