"""A source model of the tests' own goes through searches, tests and samplers as it is."""

import ast
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import rim_lensing as rl
from rim_lensing.forward_model.geometry import OnGeometry
from rim_lensing.forward_model.psf_kernels import convolution_matrix
from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.observation.checks import check_observation
from rim_lensing.reconstruction.source_model import SourceModel, check_source_model

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
ERROR = np.array([0.03, -0.03, 0.03, 0.01, 0.01, 0.01, -0.01])
PRIOR = 0.3
"""rms of the source's pixels, in units of the image's peak."""


@dataclass(frozen=True, repr=False)
class RidgeReconstruction(rl.Reconstruction):
    log_evidence: float = field(default=np.nan, kw_only=True)

    @property
    def log_likelihood(self) -> float:
        return self.log_evidence


class RidgeLikelihood(rl.LensLikelihood):
    def __init__(self, observation, geometry):
        super().__init__(observation)
        self._geometry = geometry

    def values(self, lenses: np.ndarray) -> np.ndarray:
        behind = (replace(self.observation, lens=np.float32([lens])) for lens in lenses)
        return np.array([log_evidence(one, self._geometry) for one in behind])


class Ridge(OnGeometry, SourceModel):
    """d = f s + n with s ~ N(0, PRIOR^2), in dense matrices: the mean, and P(d) = N(0, C)."""

    name, priors = "dense ridge", None

    def __init__(self, geometry):
        self.geometry = geometry

    def reconstruct_checked(self, observation) -> RidgeReconstruction:
        side = self.source_grid.side
        systems = [observation[i : i + 1] for i in range(len(observation))]
        means = [mean(system, self.geometry).reshape(1, side, side) for system in systems]
        result = RidgeReconstruction.from_history(
            observation, np.array(means), self.geometry, self.name
        )
        values = np.array([log_evidence(system, self.geometry) for system in systems])
        return replace(result, log_evidence=values if result.is_batch else float(values[0]))

    def lens_likelihood(self, observation) -> RidgeLikelihood:
        return RidgeLikelihood(observation, self.geometry)

    def description(self) -> dict:
        return {"name": self.name, "prior": PRIOR}


def matrices(system, geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return f (pixels, n^2), d and the noise's variance (pixels,), of one system's used pixels."""
    lensing = lensing_matrices(system.lens, geometry, form=system.form)[0]
    blur = convolution_matrix(system.psf[0].astype("float64"), geometry.image_side)
    used = system.mask[0].ravel()
    response = (blur @ lensing).toarray()[used]
    noise = system.noise[0].ravel()[used].astype("float64")
    return response, system.image[0].ravel()[used].astype("float64"), noise**2


def mean(system, geometry) -> np.ndarray:
    response, data, variance = matrices(system, geometry)
    weighted = response.T / variance
    return np.linalg.solve(
        weighted @ response + np.eye(response.shape[1]) / PRIOR**2, weighted @ data
    )


def log_evidence(system, geometry) -> float:
    response, data, variance = matrices(system, geometry)
    root = np.linalg.cholesky(PRIOR**2 * response @ response.T + np.diag(variance))
    whitened = np.linalg.solve(root, data)
    constants = np.log(np.diag(root)).sum() + 0.5 * len(data) * np.log(2 * np.pi)
    return float(-0.5 * whitened @ whitened - constants)


@pytest.fixture(scope="module")
def model(ridge) -> Ridge:
    return Ridge(ridge.CONFIG)


def test_the_third_model_is_what_it_says(model, mock, ridge):
    """So that what the package makes of it can be judged."""
    seen = check_observation(lens=LENS, image_grid=model.image_grid, **mock(LENS))
    response, data, variance = matrices(seen, ridge.CONFIG)
    covariance = PRIOR**2 * response @ response.T + np.diag(variance)
    expected = multivariate_normal(cov=covariance).logpdf(data)
    assert model.reconstruct_checked(seen).log_likelihood == pytest.approx(expected, rel=1e-9)
    assert model.lens_likelihood(seen).values(LENS[None]) == pytest.approx(expected, rel=1e-5)


def test_its_lens_is_found(model, mock):
    found = rl.optimise_lens(**mock(LENS), source_model=model, start=LENS + ERROR)
    assert found.converged and found.reconstruction.model == "dense ridge"
    assert abs(found.lens[0] - LENS[0]) < 0.015
    at_truth = rl.optimise_lens(**mock(LENS), source_model=model, start=LENS)
    assert found.log_posterior == pytest.approx(at_truth.log_posterior, abs=1.0)
    assert found.log_posterior == pytest.approx(found.reconstruction.log_evidence, abs=0.01)
    with pytest.raises(TypeError, match="are those of a chain"):
        _ = found.std


def test_algorithm_1_ends_at_its_lens(model, mock):
    start = LENS + 4 * ERROR
    fit = rl.automated_fit(**mock(LENS), source_model=model, start=start, epl=False)
    assert fit.converged and len(fit.rounds) > 1 and not fit.rounds[0].succeeded
    assert abs(fit.lens[0] - LENS[0]) < 0.015
    assert fit.rounds[-1].log_posterior == fit.reconstruction.log_evidence


def test_its_residuals_are_tested_on_copies(model, mock):
    seen, wrong = (
        check_observation(lens=lens, image_grid=model.image_grid, **mock(LENS))
        for lens in (LENS, LENS + 5 * ERROR)
    )
    assert rl.check_residuals(model.reconstruct_checked(seen), model).consistent
    assert not rl.check_residuals(model.reconstruct_checked(wrong), model).consistent


def test_its_posterior_is_sampled_and_its_chain_goes_on(model, mock, tmp_path):
    arguments = mock(LENS) | {"source_model": model, "start": LENS, "path": tmp_path / "chain.h5"}
    with pytest.warns(UserWarning, match="NOT converged"):
        rl.sample_lens_posterior(**arguments, walkers=14, max_steps=10)
        chain = rl.sample_lens_posterior(**arguments, walkers=14, max_steps=20)
    assert chain.source_model == "dense ridge"
    seen = check_observation(lens=LENS, image_grid=model.image_grid, **mock(LENS))
    expected = model.lens_likelihood(seen).values(chain.walkers[-1])
    np.testing.assert_allclose(chain.log_posteriors[-1], expected, atol=0.01)
    assert np.all(np.abs(chain.mean - LENS) < 0.05)
    with pytest.raises(ValueError, match="'nuts' needs a gradient"):
        rl.sample_lens_posterior(**arguments, method="nuts")


def test_what_lacks_members_is_told_which(model, mock, linear_model):
    class Half:
        name, image_grid, source_grid = "half", model.image_grid, model.source_grid
        lens_likelihood = model.lens_likelihood

    arguments = {**mock(LENS), "source_model": Half(), "start": LENS}
    lacking = "psf_side, priors, reconstruct_checked, description, search_model, with_uncertainties"
    for function in (rl.optimise_lens, rl.automated_fit, rl.sample_lens_posterior):
        with pytest.raises(TypeError, match=f"Received: Half, which lacks {lacking}"):
            function(**arguments)
    result = linear_model.reconstruct(lens=LENS, **mock(LENS))
    with pytest.raises(TypeError, match="Received: Half, which lacks psf_side"):
        rl.check_residuals(result, Half())
    with pytest.raises(TypeError, match="the class SemilinearInversion, and not an object of it"):
        check_source_model(rl.SemilinearInversion)


def test_no_inheritance_is_needed(model):
    class Wrapper:
        def __getattr__(self, name):
            return getattr(model, name)

    check_source_model(Wrapper())


@pytest.mark.parametrize("room", ["lens_fit", "sampling"])
def test_searches_and_samplers_know_no_source_model_by_name(room):
    """What they want to know of one is a member of `SourceModel`."""
    known = {"RIMReconstructor", "SemilinearInversion", "LinearReconstruction"}
    for path in (Path(rl.__file__).parent / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            used = {*names, getattr(node, "id", None), getattr(node, "attr", None)}
            assert not used & known, f"{path.name} knows {used & known}"
