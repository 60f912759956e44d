"""The samplers on posteriors known in closed form, chains that are cut short, refusals."""

import functools
import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.stats import truncnorm

from rim_lensing.lens_fit.lens_posterior import LensPosterior, lens_posterior
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.compiled_rim import CompiledRIM
from rim_lensing.reconstruction.semilinear_inversion import SemilinearInversion
from rim_lensing.sampling.chain_file import ChainFile
from rim_lensing.sampling.lens_chain import LensChain
from rim_lensing.sampling.nuts_sampler import gauss_newton_covariance, nuts_sampler
from rim_lensing.sampling.sample import (
    _describe,
    _interrupts_between_steps,
    sample_lens_posterior,
    sample_posterior,
)
from rim_lensing.sampling.sampling_settings import SAMPLERS
from rim_lensing.simulation.priors import Priors
from rim_lensing.zoo.zoo import load_pretrained

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
_MIXING = np.random.default_rng(3).standard_normal((7, 7))
COVARIANCE = 0.002**2 * (_MIXING @ _MIXING.T + np.eye(7))
ROOT = np.linalg.cholesky(COVARIANCE)
DESCRIPTION = {"source_model": {"name": "a Gaussian"}, "image_noise_psf": "none"}
WIDE = Priors(theta_E=(0.3, 5.0), psf_sigma=(0.0, 0.5))
STEPS = {"emcee": 2000, "nuts": 200}


class Gaussian(LensPosterior):
    """N(mean, COVARIANCE), within the priors."""

    def __init__(self, observation, mean=LENS, priors=None):
        super().__init__(observation, priors or Priors(), source_pixel_scale=0.05)
        self.mean = mean

    def residuals(self, lenses):
        return np.linalg.solve(ROOT, (lenses - self.mean).T).T

    def _log_likelihood(self, lenses):
        return -0.5 * np.sum(self.residuals(lenses) ** 2, axis=1)

    def _log_likelihood_and_gradient(self, lenses):
        slopes = -np.linalg.solve(COVARIANCE, (lenses - self.mean).T).T
        return self._log_likelihood(lenses), slopes


@pytest.fixture(scope="module")
def observation(ridge, mock):
    return check_observation(lens=LENS, image_grid=ridge.CONFIG.image_grid, **mock(LENS))


@pytest.fixture(scope="module", params=SAMPLERS)
def chain(request, observation):
    start = LENS + ROOT @ np.full(7, 0.5)
    method = request.param
    return sample_posterior(
        Gaussian(observation), start, DESCRIPTION, method=method, max_steps=STEPS[method]
    )


def test_a_gaussian_is_recovered(chain):
    """Means and variances within 5 standard errors, which follow from the effective samples."""
    assert chain.converged and chain.verdict.startswith("converged")
    assert np.all(chain.effective_samples > 300)
    std = np.sqrt(np.diag(COVARIANCE))
    error = std / np.sqrt(chain.effective_samples)
    assert np.all(np.abs(chain.mean - LENS) < 5 * error)
    # The square of a Gaussian forgets faster than the Gaussian does.
    assert np.all(np.abs(chain.std / std - 1) < 5 / np.sqrt(2 * chain.effective_samples))
    correlation = chain.covariance / np.outer(std, std)
    expected = COVARIANCE / np.outer(std, std)
    assert np.abs(correlation - expected).max() < 0.25
    np.testing.assert_allclose(chain.interval(0.68), LENS + np.outer([-1, 1], std), atol=0.0015)


def test_the_log_posterior_belongs_to_the_draws(chain, observation):
    expected = Gaussian(observation).log_posterior(chain.samples)
    np.testing.assert_allclose(chain.log_posterior, expected, atol=1e-6)
    assert 0.15 < chain.acceptance <= 1 and chain.seconds > 0


def test_r_hat_is_tensorflow_probabilitys(chain):
    """Which returns the square, with the terms of order 1/walkers (Brooks & Gelman 1998)."""
    tfp = pytest.importorskip("tensorflow_probability")
    theirs = tfp.mcmc.potential_scale_reduction(
        chain.walkers, independent_chain_ndims=1, split_chains=True
    )
    halves, half = 2 * chain.walkers.shape[1], len(chain.walkers) // 2
    ours = chain.r_hat**2 * (halves + 1) / halves - (half - 1) / (half * halves)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9)
    assert np.all(chain.r_hat < 1.05)


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_temperature_widens_a_gaussian_by_its_root(observation, method):
    posterior = Gaussian(observation).tempered(4.0)
    chain = sample_posterior(posterior, LENS, DESCRIPTION, method, max_steps=STEPS[method])
    assert chain.converged and chain.summary()["temperature"] == 4 and "T = 4" in chain.title
    std = 2 * np.sqrt(np.diag(COVARIANCE))
    assert np.all(np.abs(chain.mean - LENS) < 5 * std / np.sqrt(chain.effective_samples))
    assert np.all(np.abs(chain.std / std - 1) < 5 / np.sqrt(2 * chain.effective_samples))


@pytest.mark.parametrize("method", SAMPLERS)
def test_an_edge_of_the_priors_cuts_the_posterior(observation, method):
    """theta_E, cut one sigma below its mean: the moments of a truncated normal."""
    std = np.sqrt(COVARIANCE[0, 0])
    priors = Priors(theta_E=(LENS[0] - std, 2.2))
    posterior = Gaussian(observation, priors=priors)
    chain = sample_posterior(posterior, LENS, DESCRIPTION, method, max_steps=STEPS[method])
    assert chain.samples[:, 0].min() >= priors.theta_E[0]
    expected = truncnorm(-1, np.inf, loc=LENS[0], scale=std)
    error = expected.std() / np.sqrt(chain.effective_samples[0])
    assert abs(chain.mean[0] - expected.mean()) < 5 * error


def test_gauss_newton_knows_the_covariance_of_a_gaussian(observation):
    for heat in (1, 4):
        found = gauss_newton_covariance(Gaussian(observation).tempered(heat), LENS)
        np.testing.assert_allclose(found, heat * COVARIANCE, rtol=0.02, atol=heat * 1e-7)


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_chain_goes_on_as_if_it_had_never_stopped(observation, tmp_path, method):
    posterior, first = Gaussian(observation), {"emcee": 30, "nuts": 75}[method]

    def run(name, steps):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            arguments = {"method": method, "max_steps": steps, "path": tmp_path / name}
            return sample_posterior(posterior, LENS, DESCRIPTION, **arguments)

    short = run("cut.h5", first)
    resumed, whole = run("cut.h5", first + 20), run("whole.h5", first + 20)
    assert len(short.walkers) + short.burn_in == first
    assert len(whole.walkers) + whole.burn_in == first + 20
    # NUTS whitens the points that it reads again: rounding alone.
    np.testing.assert_allclose(resumed.walkers, whole.walkers, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(resumed.log_posteriors, whole.log_posteriors, rtol=1e-9)
    assert resumed.acceptance == pytest.approx(whole.acceptance)
    assert resumed.seconds > short.seconds
    before = posterior.evaluations
    again = run("cut.h5", first)
    np.testing.assert_array_equal(again.walkers, resumed.walkers)
    assert posterior.evaluations == before
    read = LensChain.from_hdf5(tmp_path / "cut.h5")
    np.testing.assert_array_equal(read.samples, again.samples)
    assert read.source_model == "a Gaussian" and read.method == method


def test_a_chain_of_something_else_is_not_continued(observation, tmp_path):
    posterior, path = Gaussian(observation), tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample_posterior(posterior, LENS, DESCRIPTION, max_steps=10, path=path)
    for changes, name in (({"seed": 1}, "seed"), ({"walkers": 40}, "walkers")):
        with pytest.raises(FileExistsError, match=f"other {name}"):
            sample_posterior(posterior, LENS, DESCRIPTION, max_steps=10, path=path, **changes)
    with pytest.raises(FileExistsError, match="other temperature"):
        sample_posterior(posterior.tempered(2), LENS, DESCRIPTION, path=path)
    with pytest.raises(FileExistsError, match="other image_noise_psf"):
        sample_posterior(posterior, LENS, DESCRIPTION | {"image_noise_psf": "x"}, path=path)
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match="is not a chain"):
        sample_posterior(posterior, LENS, DESCRIPTION, path=path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        sample_posterior(posterior, LENS, DESCRIPTION, path=tmp_path / "none" / "chain.h5")


def test_a_description_tells_what_made_a_chain(linear_model, tiny_folder, mock):
    def described(model, **changes):
        given = mock(LENS) | changes
        seen = check_observation(lens=LENS, image_grid=model.image_grid, **given)
        return _describe(model, lens_posterior(model, seen, Priors()))

    geometry, image, first = linear_model.geometry, mock(LENS)["image"], described(linear_model)
    assert described(SemilinearInversion(geometry=geometry)) == first
    for other in (
        described(linear_model, noise=0.03),
        described(linear_model, psf=0.4),
        described(linear_model, image=2 * image, noise=0.04),
        described(SemilinearInversion(strength=3.0, geometry=geometry)),
        described(SemilinearInversion("curvature", geometry=geometry)),
        described(SemilinearInversion(geometry=replace(geometry, supersampling=3))),
    ):
        assert other != first
    rim = load_pretrained(tiny_folder)
    before = described(rim)
    rim.network.set_weights([1.01 * weights for weights in rim.network.get_weights()])
    assert described(rim) != before


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_chain_goes_on_whatever_its_start(observation, tmp_path, method):
    """An optimiser's answer differs in the last digit from machine to machine."""
    posterior, first = Gaussian(observation), {"emcee": 10, "nuts": 75}[method]
    chains = []
    for name, again in (("same.h5", LENS), ("other.h5", LENS + 0.001)):
        for start, steps in ((LENS, first), (again, first + 10)):
            with pytest.warns(UserWarning, match="NOT converged"):
                arguments = {"method": method, "max_steps": steps, "path": tmp_path / name}
                chain = sample_posterior(posterior, start, DESCRIPTION, **arguments)
        chains.append(chain)
    np.testing.assert_array_equal(chains[0].walkers, chains[1].walkers)


def test_priors_may_be_as_narrow_as_they_like(ridge_model, mock):
    narrow = Priors(
        theta_E=(0.3, 2.2), centre=(-0.02 - 1e-8, -0.02 + 1e-8), shear=(0, 1e-7), psf_sigma=(0, 0.5)
    )
    with pytest.warns(UserWarning, match="NOT converged"):
        chain = sample_lens_posterior(
            **mock(LENS), source_model=ridge_model, start=LENS, priors=narrow, max_steps=10
        )
    assert np.ptp(chain.samples[:, 3]) <= 2e-8 and np.ptp(chain.samples[:, 0]) > 0


def test_a_file_that_was_left_without_a_step_is_used_again(observation, tmp_path):
    posterior, path = Gaussian(observation), tmp_path / "chain.h5"
    ChainFile(path, DESCRIPTION | {"method": "nuts"})
    with pytest.warns(UserWarning, match="NOT converged"):
        sample_posterior(posterior, LENS, DESCRIPTION, max_steps=10, path=path)
    assert ChainFile(path).description["method"] == "emcee"


def test_a_chain_at_an_edge_says_so(ridge_model, mock):
    """x may be 0.002" around its true value, which is known to 0.01" or so."""
    narrow = Priors(theta_E=(0.3, 2.2), centre=(-0.021, 0.019), psf_sigma=(0.0, 0.5))
    start = LENS.copy()
    start[3] = 0.018
    with pytest.warns(UserWarning, match="NOT converged"):
        chain = sample_lens_posterior(
            **mock(LENS), source_model=ridge_model, start=start, priors=narrow, max_steps=200
        )
    assert {"x", "y"} & set(chain.cut_off) and "widen them" in chain.verdict


def test_a_start_beyond_the_priors_is_warned_of(ridge_model, mock, monkeypatch):
    start = LENS.copy()
    start[3] = 0.07
    with pytest.warns(UserWarning) as caught:
        sample_lens_posterior(
            **mock(LENS), source_model=ridge_model, start=start, walkers=14, max_steps=10
        )
    said = [str(one.message) for one in caught if "outside of the priors" in str(one.message)]
    assert len(said) == 1 and "0.07" in said[0] and "moved to" in said[0]
    start[[0, 3, 4]] = 2.2, 0.05, -0.05  # as fits end, on an edge; float32(0.05) lies beyond it
    monkeypatch.setattr("rim_lensing.sampling.sample.check_source_coverage", lambda *_: None)
    monkeypatch.setattr("rim_lensing.sampling.sample.sample_posterior", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_lens_posterior(**mock(LENS), source_model=ridge_model, start=start)


def test_a_chain_of_the_linear_inversions_former_prior_is_not_continued(
    linear_model, mock, tmp_path
):
    """Its R left the first row and column of the source free."""
    held = SemilinearInversion(strength=30.0, geometry=linear_model.geometry)
    arguments = mock(LENS) | {"source_model": held, "start": LENS, "path": tmp_path / "chain.h5"}
    with pytest.warns(UserWarning, match="NOT converged"):
        sample_lens_posterior(**arguments, walkers=14, max_steps=10)
    with h5py.File(arguments["path"], "a") as file:
        description = json.loads(file.attrs["description"])
        assert description["source_model"].pop("source_outside_of_its_grid") == 0
        file.attrs["description"] = json.dumps(description)
    with pytest.raises(FileExistsError, match="other source_model"):
        sample_lens_posterior(**arguments, walkers=14, max_steps=20)


def test_a_chain_of_before_there_were_inner_edges_is_not_continued(ridge_model, mock, tmp_path):
    ring = Priors(theta_E=(0.3, 2.2), shear=(0.01, 0.15), psf_sigma=(0.0, 0.5))
    arguments = mock(LENS) | {"source_model": ridge_model, "start": LENS, "priors": ring}
    path = tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample_lens_posterior(**arguments, walkers=14, max_steps=10, path=path)
    with h5py.File(path, "a") as file:
        description = json.loads(file.attrs["description"])
        assert description.pop("inner_edges") == {"ellipticity": 0.0, "shear": 0.01}
        file.attrs["description"] = json.dumps(description)
    with pytest.raises(FileExistsError, match="other inner_edges"):
        sample_lens_posterior(**arguments, walkers=14, max_steps=20, path=path)


def test_the_evidence_of_probes_is_warned_of(linear_model, mock):
    rough = SemilinearInversion(engine="matrix-free", geometry=linear_model.geometry)
    observation = check_observation(lens=LENS, image_grid=rough.image_grid, **mock(LENS))
    with pytest.warns(UserWarning, match="engine='exact'"):
        lens_posterior(rough, observation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lens_posterior(linear_model, observation)


def test_nuts_needs_its_package_before_anything_is_written(observation, tmp_path, monkeypatch):
    monkeypatch.setattr("rim_lensing.sampling.sampling_settings.find_spec", lambda name: None)
    path = tmp_path / "chain.h5"
    with pytest.raises(ImportError, match=r"pip install rim_lensing\[nuts\]"):
        sample_posterior(Gaussian(observation), LENS, DESCRIPTION, method="nuts", path=path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("chosen", "variable", "cores"), [(1, "2", 2), (0, "1", 2), (0, "0", 1), (0, None, 1)]
)
def test_nuts_does_not_wait_for_itself(observation, tmp_path, monkeypatch, chosen, variable, cores):
    threading = "tensorflow.config.threading.get_inter_op_parallelism_threads"
    monkeypatch.setattr(threading, lambda: chosen)
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("TF_NUM_INTEROP_THREADS", variable)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(cores), raising=False)
    path = tmp_path / "chain.h5"
    with pytest.raises(ValueError, match="TF_NUM_INTEROP_THREADS=2"):
        sample_posterior(Gaussian(observation), LENS, DESCRIPTION, method="nuts", path=path)
    assert not path.exists()


def test_a_short_chain_says_what_is_missing(observation):
    with pytest.warns(UserWarning, match="NOT converged: 48 steps after 12 of burn-in are"):
        chain = sample_posterior(Gaussian(observation), LENS, DESCRIPTION, max_steps=60)
    assert not chain.converged
    assert len(chain.walkers) < 50 * chain.autocorrelation_time.max()
    assert chain.summary()["converged"] is False


INTERRUPTED = """
import sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from ridge_network import CONFIG, mock
from rim_lensing.observation.checks import check_observation
from rim_lensing.sampling.sample import sample_posterior
sys.path.insert(0, {here!r})
from test_sample import DESCRIPTION, LENS, Gaussian
observation = check_observation(lens=LENS, image_grid=CONFIG.image_grid, **mock(LENS))
class Slow(Gaussian):
    lenses = 0
    def _log_likelihood(self, lenses):
        time.sleep(0.001)
        if self.lenses < 1000 <= self.lenses + len(lenses):
            print("on its way", flush=True)
        self.lenses += len(lenses)
        return super()._log_likelihood(lenses)
try:
    sample_posterior(Slow(observation), LENS, DESCRIPTION, max_steps=100_000, path={path!r})
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_keeps_the_chain(observation, tmp_path):
    path, here = tmp_path / "chain.h5", os.path.dirname(__file__)
    code = INTERRUPTED.format(tests=os.path.dirname(here), here=here, path=str(path))
    pipe = subprocess.PIPE
    # A shell has its background jobs ignore ctrl-C.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=pipe, stderr=pipe, preexec_fn=heed
    ) as process:
        assert process.stdout.readline() == b"on its way\n"
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()
    assert process.returncode == 130 and "Traceback" not in errors
    file = ChainFile(path)
    steps = file.steps
    assert steps > 10 and file.note("seconds") > 0
    with pytest.warns(UserWarning):
        chain = sample_posterior(
            Gaussian(observation), LENS, DESCRIPTION, max_steps=steps + 5, path=path
        )
    assert len(chain.walkers) + chain.burn_in == steps + 5


def test_a_second_ctrl_c_does_not_wait():
    # A shell starts what runs in the background with ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), _interrupts_between_steps():
            signal.raise_signal(signal.SIGINT)  # held back
            signal.raise_signal(signal.SIGINT)
            pytest.fail("waits for the next step")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_rim_and_a_linear_inversion_are_sampled(ridge_model, linear_model, mock):
    """A few steps of each: the draws have the log-posterior of the source model."""
    for model, method, steps in (
        (ridge_model, "emcee", 10),
        (linear_model, "emcee", 10),
        (ridge_model, "nuts", 70),
    ):
        given = mock(LENS)
        with pytest.warns(UserWarning, match="NOT converged"):
            chain = sample_lens_posterior(
                **given, source_model=model, start=LENS, method=method, walkers=14, max_steps=steps
            )
        observation = check_observation(lens=LENS, image_grid=model.image_grid, **given)
        posterior = lens_posterior(model, observation)
        expected = posterior.log_posterior(chain.walkers[-1])
        np.testing.assert_allclose(chain.log_posteriors[-1], expected, atol=0.05)
        assert chain.names[0] == "theta_E" and chain.walkers.shape[1:] == (14, 7)


def test_nuts_runs_with_a_network_that_has_weights(tiny_folder, mock, tmp_path, monkeypatch):
    """TensorFlow refuses a custom gradient that sees variables outside of a graph."""
    monkeypatch.setattr("rim_lensing.sampling.nuts_sampler._WARM_UP", 2)
    model = load_pretrained(tiny_folder)
    assert model.network.trainable_variables
    observation = check_observation(lens=LENS, image_grid=model.image_grid, **mock(LENS))
    posterior, file = lens_posterior(model, observation), ChainFile(tmp_path / "chain.h5", {})
    scatter = np.random.default_rng(0).standard_normal((4, 7))
    seen = []
    advance = nuts_sampler(posterior, file, LENS + 0.003 * scatter, 0, lambda: seen.append(1))
    advance(2)
    assert file.note("step_size") > 0 and file.steps == 2
    advance(2)
    assert file.steps == len(seen) == 4
    expected = posterior.log_posterior(file.backend.get_last_sample().coords)
    np.testing.assert_allclose(file.backend.get_log_prob()[-1], expected, rtol=1e-4)


def test_an_epl_is_sampled_with_its_slope(ridge_model, mock):
    start = np.append(LENS, 1.05)
    with pytest.warns(UserWarning, match="NOT converged"):
        chain = sample_lens_posterior(
            **mock(start), source_model=ridge_model, start=start, walkers=16, max_steps=10
        )
    assert chain.names[-1] == "slope" and np.ptp(chain.samples[:, 7]) > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "metropolis"}, "`method` must be one of"),
        ({"walkers": 10}, "`walkers` must be an integer, at least 14"),
        ({"max_steps": 3}, "`max_steps` must be an integer, at least 10"),
        ({"max_steps": 30, "method": "nuts"}, "at least 70 for nuts"),
        ({"pixel_scale": 0.15}, "`pixel_scale` must be the model's"),
        ({"temperature": 0.5}, "`temperature` must be a finite number, at least 1"),
        ({"start": np.array([LENS, LENS])}, "`start` must be one lens"),
        (
            {"start": [4.0, 0, 0, 0, 0, 0, 0], "priors": WIDE},
            "must map the arcs onto the source grid",
        ),
        ({"noise": -1.0}, "`noise` must be positive"),
        ({"image": np.ones((2, 16, 16))}, "one image"),
    ],
)
def test_refuses_before_any_work(ridge_model, mock, monkeypatch, changes, message):
    def worked(*arguments):
        raise AssertionError("the work has begun")

    for name in ("run", "log_likelihood", "log_likelihood_and_gradient"):
        monkeypatch.setattr(CompiledRIM, name, worked)
    arguments = mock(LENS) | {"source_model": ridge_model, "start": LENS} | changes
    with pytest.raises(ValueError, match=message):
        sample_lens_posterior(**arguments)


def test_no_gradient_no_nuts(linear_model, mock):
    with pytest.raises(ValueError, match="choose 'emcee'"):
        sample_lens_posterior(**mock(LENS), source_model=linear_model, start=LENS, method="nuts")
    with pytest.raises(TypeError, match="source_model"):
        sample_lens_posterior(**mock(LENS), source_model=Grids(linear_model), start=LENS)


class Grids:
    """Has the grids of a source model, and is none."""

    def __init__(self, model):
        self.image_grid, self.psf_side = model.image_grid, model.psf_side
