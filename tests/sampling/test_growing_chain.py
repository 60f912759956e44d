"""A chain that other processes look at, or hold open, while it grows."""

import subprocess
import sys

import numpy as np
import pytest

from rim_lensing.files import hdf5_files
from rim_lensing.files.hdf5_files import FileHeldError
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.sampling.chain_file import ChainFile, alone_with
from rim_lensing.sampling.lens_chain import LensChain
from rim_lensing.sampling.sample import sample_posterior
from rim_lensing.simulation.priors import Priors

LENS = np.array([1.1, 0.1, 0.05, 0.01, -0.02, 0.02, 0.03])
DESCRIPTION = {"source_model": {"name": "a Gaussian"}}
STEPS = 120

LOOK = """
import sys
from rim_lensing.sampling.lens_chain import LensChain
print("looking", flush=True)
while True:
    try:
        chain = LensChain.from_hdf5(sys.argv[1])
    except (FileNotFoundError, ValueError) as error:
        assert "no file" in str(error) or "no step" in str(error), error
        continue
    assert len(chain.walkers) == len(chain.log_posteriors)
    assert abs(chain.log_posteriors).min() > 0, "a step that is not written yet"
    print(len(chain.walkers) + chain.burn_in, flush=True)
"""


class Gaussian:
    """Round, 0.01 wide."""

    temperature = 1.0
    support = LensSupport.from_priors(Priors(), 7)
    steps = np.full((2, 7), 0.01)

    def log_posterior(self, lenses):
        values = -0.5 * np.sum((lenses - LENS) ** 2, axis=1) / 0.01**2 - 1
        return np.where(self.support.contains(lenses), values, -np.inf)

    def held_at(self, lens):
        return self


def sample(path=None, steps=STEPS):
    return sample_posterior(Gaussian(), LENS, DESCRIPTION, max_steps=steps, path=path)


@pytest.fixture(scope="module")
def undisturbed():
    with pytest.warns(UserWarning, match="NOT converged"):
        return sample()


@pytest.mark.filterwarnings("ignore:NOT converged")
def test_others_may_look_all_the_time(tmp_path, undisturbed):
    path = tmp_path / "chain.h5"
    with subprocess.Popen(
        [sys.executable, "-c", LOOK, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as looking:
        assert looking.stdout.readline() == "looking\n"
        chain = sample(path)
        alive = looking.poll() is None
        looking.kill()
        seen, error = looking.communicate()
    assert alive, error
    assert len(seen.split()) > 3
    np.testing.assert_array_equal(chain.walkers, undisturbed.walkers)
    np.testing.assert_array_equal(chain.log_posteriors, undisturbed.log_posteriors)
    assert [entry.name for entry in tmp_path.iterdir()] == ["chain.h5"]


def test_a_reader_that_is_left_open_is_told_and_does_not_end_the_chain(
    tmp_path, hold, undisturbed, monkeypatch
):
    path = tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample(path, steps=20)
    hold(path, "r")
    monkeypatch.setattr(hdf5_files, "PATIENCE", 0.3)
    with pytest.warns(UserWarning) as caught:
        chain = sample(path)
    told = [str(one.message) for one in caught if "is being read by another" in str(one.message)]
    assert len(told) == 1 and str(path) in told[0] and "goes on" in told[0]
    np.testing.assert_array_equal(chain.walkers, undisturbed.walkers)


def test_a_chain_that_is_being_written_is_not_called_damaged(tmp_path, hold, monkeypatch):
    path = tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample(path, steps=20)
    before, after_flags = path.read_bytes(), 24  # one of them says that it is open
    hold(path, "a")
    monkeypatch.setattr(hdf5_files, "PATIENCE", 0.1)
    for use in (LensChain.from_hdf5, sample):
        with pytest.raises(FileHeldError, match="is being written by another .* not damaged"):
            use(path)
    assert path.read_bytes()[after_flags:] == before[after_flags:]


def test_a_chain_that_is_held_for_a_moment_is_read(tmp_path, hold):
    path = tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample(path, steps=20)
    hold(path, "a", 0.5)
    assert len(LensChain.from_hdf5(path).walkers) == 16


def test_a_locked_chain_is_not_an_empty_one(tmp_path, hold, monkeypatch):
    """emcee says so, and one without a step would be made anew."""
    path = tmp_path / "chain.h5"
    with pytest.warns(UserWarning, match="NOT converged"):
        sample(path, steps=20)
    file = ChainFile(path)
    hold(path, "a")
    monkeypatch.setattr(hdf5_files, "PATIENCE", 0.1)
    with pytest.raises(FileHeldError):
        file.steps  # noqa: B018


def test_two_do_not_sample_into_one_file(tmp_path):
    path = tmp_path / "chain.h5"
    begun = "from rim_lensing.sampling.chain_file import alone_with; import sys, time\n"
    begun += "with alone_with(sys.argv[1]): print('begun', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", begun, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        with pytest.raises(FileExistsError, match=f"Another process is sampling into {path}"):
            sample(path)
        other.kill()
        other.wait()
    with alone_with(path):  # what it has left behind is no obstacle
        pass
    assert not list(tmp_path.iterdir())
