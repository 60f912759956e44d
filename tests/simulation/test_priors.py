import json

import numpy as np
import pytest
from scipy.stats import kstest

from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity
from rim_lensing.simulation.priors import Priors


def test_marginals_are_the_ones_documented():
    priors = Priors(log_noise_fraction=0.0)
    draws = priors.draw(np.random.default_rng(0), 20_000)

    def is_uniform(values, low, high):
        return kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3

    lens = draws["lens"].astype("float64")
    axis_ratio, angle = axis_ratio_from_ellipticity(lens[:, 1], lens[:, 2])
    assert is_uniform(lens[:, 0], *priors.theta_E)
    assert is_uniform(axis_ratio, *priors.axis_ratio)
    assert is_uniform(angle, -np.pi / 2, np.pi / 2)
    assert is_uniform(lens[:, 3], *priors.centre) and is_uniform(lens[:, 4], *priors.centre)
    assert is_uniform(np.hypot(lens[:, 5], lens[:, 6]), *priors.shear)
    assert is_uniform(draws["noise"].astype("float64"), *priors.noise)
    assert is_uniform(draws["psf_sigma"].astype("float64"), *priors.psf_sigma)
    radius2 = np.sum(draws["placement"][:, :2].astype("float64") ** 2, axis=1)
    assert is_uniform(radius2, 0, priors.source_radius[1] ** 2)
    assert is_uniform(draws["placement"][:, 2].astype("float64"), *priors.source_size)


def test_log_noise_fraction_adds_quiet_systems():
    """Log-uniform over two decades puts half below 1%, uniform one in eleven."""
    for fraction, expected in ((0.0, 1 / 11), (1.0, 0.5), (0.5, (1 / 11 + 0.5) / 2)):
        noise = Priors(log_noise_fraction=fraction).draw(np.random.default_rng(1), 20_000)["noise"]
        assert np.mean(noise < 0.01) == pytest.approx(expected, abs=0.012)


def test_a_smaller_field_has_smaller_lenses_and_the_same_psf():
    priors = Priors(theta_E=(0.6, 2.0)).on_field(0.5)
    assert priors.theta_E == (0.3, 1.0) and priors.centre == (-0.025, 0.025)
    assert priors.source_size == (0.4, 1.3) and priors.source_radius == (0.0, 0.4)
    assert (priors.psf_sigma, priors.noise) == (Priors().psf_sigma, Priors().noise)


def test_json_round_trip():
    priors = Priors(theta_E=(0.7, 1.1))
    assert Priors.from_dict(json.loads(json.dumps(priors.to_dict()))) == priors


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"theta_E": (2.0, 1.0)}, "theta_E.*smallest, largest"),
        ({"noise": (-0.1, 0.1)}, "noise.*below 0"),
        ({"axis_ratio": (0.05, 1.0)}, "axis_ratio.*0.143"),
        ({"axis_ratio": (0.5, 1.2)}, "axis_ratio"),
        ({"noise": (0.0, 0.1)}, "noise.*positive"),
        ({"source_size": (0.0, 1.0)}, "source_size.*positive"),
        ({"source_radius": (-0.8, 0.8)}, "source_radius.*below 0"),
        ({"shear": (-0.1, 0.1)}, "shear.*below 0"),
        ({"theta_E": [2.0, 1.0]}, "theta_E.*smallest, largest"),
        ({"theta_E": (1.0, np.nan)}, "theta_E.*smallest, largest"),
        ({"log_noise_fraction": 2.0}, "log_noise_fraction.*from 0 to 1"),
    ],
)
def test_ranges_that_are_none_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Priors(**values)
