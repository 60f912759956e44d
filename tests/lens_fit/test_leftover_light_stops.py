"""Lens light left in an image stops searches at once, and is warned of where nothing is sought."""

import numpy as np
import pytest

from rim_lensing.lens_fit import automated_fit as algorithm
from rim_lensing.lens_fit import optimise
from rim_lensing.lens_fit.automated_fit import automated_fit
from rim_lensing.lens_fit.optimise import optimise_lens
from rim_lensing.sampling import sample
from rim_lensing.sampling.sample import sample_lens_posterior

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
SEARCHES = {
    "automated_fit": (automated_fit, algorithm, "lens_posterior"),
    "optimise_lens": (optimise_lens, optimise, "lens_posterior"),
    "sample_lens_posterior": (sample_lens_posterior, sample, "lens_posterior"),
}


class SearchBegins(Exception):
    """In place of minutes of it."""


def begin(*arguments, **more):
    raise SearchBegins


@pytest.fixture
def with_light(mock, ridge):
    seen = mock(LENS)
    x, y = ridge.CONFIG.image_grid.coordinates()
    return seen | {"image": seen["image"] + 6 * np.exp(-np.hypot(x, 1.2 * y) / 0.35)}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_stops_before_it_begins(name, with_light, mock, ridge_model, monkeypatch):
    search, module, first = SEARCHES[name]
    monkeypatch.setattr(module, first, begin)
    arguments = {"source_model": ridge_model, "start": LENS}
    with pytest.raises(ValueError, match="lens galaxy's light subtracted.*--allow-lens-light"):
        search(**with_light, **arguments)
    with pytest.raises(SearchBegins):
        search(**with_light, **arguments, allow_lens_light=True)
    with pytest.raises(SearchBegins):
        search(**mock(LENS), **arguments)


def test_reconstructions_warn(with_light, mock, ridge_model, linear_model, recwarn):
    for model in (ridge_model, linear_model):
        with pytest.warns(UserWarning, match="lens galaxy's light subtracted"):
            model.reconstruct(**with_light, lens=LENS)
        recwarn.clear()
        model.reconstruct(**mock(LENS), lens=LENS)
        assert not any("galaxy's light" in str(warning.message) for warning in recwarn)
