import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.galaxies.galaxy_file import Galaxies, read_galaxies, write_galaxy_file
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.networks.presets import get_preset
from rim_lensing.simulation import validation_set as module
from rim_lensing.simulation.mock_observations import border_fraction
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.validation_set import RECIPES, SYSTEMS, freeze, validation_set

ROOT = Path(__file__).parents[2]
TINY = get_preset("tiny16")
SHIPPED = [
    f"{grid}_{kind}" for grid in ("euclid64", "hst192") for kind in ("procedural", "galaxies")
]


def galaxy_file(folder, stamps, name="galaxies.h5"):
    """A file whose validation split is `stamps`."""
    names = tuple(f"galaxy{i}" for i in range(len(stamps)))
    validation = Galaxies(stamps, names, ("test",) * len(stamps))
    train = Galaxies(stamps[:0], (), ())
    return write_galaxy_file(folder / name, train, validation, seed=0, made_by="a test")


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    stamps = draw_procedural_galaxies(5, 8, side=32)
    return galaxy_file(tmp_path_factory.mktemp("galaxies"), stamps)


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """An empty folder in the place of the package's recipes, for sets of 50 systems."""
    monkeypatch.setattr(module, "SYSTEMS", 50)
    monkeypatch.setattr(module, "RECIPES", tmp_path / "recipes")
    return tmp_path / "recipes"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_give_the_same_parameters_here(name, tmp_path):
    """Galaxies are told apart by their means: stamps of the same means stand in for the file's."""
    recipe = json.loads((RECIPES / f"{name}.json").read_text())
    galaxies = None
    if recipe["galaxies"] == "file":
        level = np.arange(96**2) / 96**2
        stamps = np.array([level < mean for mean in recipe["galaxy_means"]], "float32")
        galaxies = galaxy_file(tmp_path, stamps.reshape(-1, 96, 96))
    systems = validation_set(get_preset(name.split("_")[0]), galaxies)
    assert (systems.name, len(systems)) == (name, SYSTEMS)
    assert systems.priors == Priors()
    assert systems.digest() == recipe["sha256"]


def test_a_frozen_set_does_not_depend_on_the_order_of_the_file(recipes, galaxies, tmp_path):
    freeze("tiny", TINY, galaxies)
    expected = validation_set(TINY, galaxies, systems=3).mocks(range(3))
    stamps = read_galaxies(galaxies, "validation").stamps
    turned = validation_set(TINY, galaxy_file(tmp_path, stamps[::-1]), systems=3)
    assert turned.name == "tiny"
    np.testing.assert_array_equal(turned.mocks(range(3)).source, expected.source)
    other = np.concatenate([stamps[1:], stamps[:1, ::-1] * 0.5])
    assert validation_set(TINY, galaxy_file(tmp_path, other, "b.h5"), systems=3).name is None


def test_shipped_systems_meet_the_constraints():
    systems = validation_set(get_preset("euclid64"), systems=6)
    recipe = json.loads((RECIPES / "euclid64_procedural.json").read_text())
    drawn = [np.mean(systems.galaxies.stamp(i), dtype="float64") for i in systems.galaxy]
    expected = np.array(recipe["galaxy_means"])[systems.galaxy]
    np.testing.assert_allclose(drawn, expected, rtol=0.01)
    mocks = systems.mocks(range(6))
    assert np.all(mocks.magnification > 3 * (1 - 1e-4))
    assert np.all(border_fraction(mocks.source) < 0.02 * (1 + 1e-4))


def test_a_system_is_the_same_alone_in_a_slice_and_in_a_shorter_set(galaxies):
    systems = validation_set(TINY, galaxies, systems=40)
    whole = systems.mocks(range(40))
    alone = systems.mocks([37])
    backwards = systems.mocks(range(39, -1, -1))
    shorter = validation_set(TINY, galaxies, systems=7).mocks(range(7))
    for name in whole.__dataclass_fields__:
        values = getattr(whole, name)
        tolerance = {"rtol": 0, "atol": 2e-6 * np.abs(values).max()}
        np.testing.assert_allclose(getattr(alone, name), values[[37]], **tolerance)
        np.testing.assert_allclose(getattr(backwards, name), values[::-1], **tolerance)
        np.testing.assert_allclose(getattr(shorter, name), values[:7], **tolerance)
    np.testing.assert_array_equal(alone.lens, whole.lens[[37]])
    batches = list(systems.batches(16))
    assert [len(batch.lens) for batch in batches] == [16, 16, 8]
    np.testing.assert_array_equal(np.concatenate([batch.lens for batch in batches]), whole.lens)
    assert len(np.unique(whole.lens, axis=0)) == 40


def test_no_galaxy_is_used_twice_before_all_were_used(galaxies):
    order = validation_set(TINY, galaxies, systems=23).galaxy
    for start in range(0, 20, 5):
        assert sorted(order[start : start + 5]) == [0, 1, 2, 3, 4]


def test_systems_that_are_not_frozen_meet_the_constraints(galaxies):
    systems = validation_set(TINY, galaxies, systems=40)
    assert systems.name is None
    assert 0 < np.mean(systems.candidates > 0) < 1
    mocks = systems.mocks(range(40))
    assert np.all(mocks.magnification >= 3)
    assert np.all(border_fraction(mocks.source) <= 0.02)


def test_noise_is_white_and_has_the_stated_rms(galaxies):
    mocks = validation_set(TINY, galaxies, systems=64).mocks(range(64))
    clean = ForwardModel(mocks.lens, mocks.psf, TINY.image_grid, TINY.source_grid).predict(
        mocks.source
    )
    normalised = (mocks.image - np.asarray(clean)) / mocks.noise
    count = normalised.size
    assert abs(normalised.mean()) < 4 / np.sqrt(count)
    assert normalised.var() == pytest.approx(1, abs=4 * np.sqrt(2 / count))
    # Independent from system to system.
    flat = normalised.reshape(64, -1)
    assert np.abs(np.corrcoef(flat)[~np.eye(64, dtype=bool)]).max() < 5 / np.sqrt(flat.shape[1])


def test_frozen_set_is_found_again_by_galaxies_and_grids(galaxies, recipes, tmp_path):
    path = freeze("tiny16_galaxies", TINY, galaxies)
    assert [file.name for file in recipes.iterdir()] == [path.name]
    frozen = validation_set(TINY, galaxies, systems=30)
    assert frozen.name == "tiny16_galaxies"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RECIPES", tmp_path / "none")
        fresh = validation_set(TINY, galaxies, systems=30)
    np.testing.assert_array_equal(frozen.candidates, fresh.candidates)
    np.testing.assert_array_equal(frozen.galaxy, fresh.galaxy)
    others = galaxy_file(tmp_path, draw_procedural_galaxies(5, 9, side=32))
    assert validation_set(TINY, others, systems=1).name is None

    with pytest.raises(FileExistsError, match="--overwrite"):
        freeze("tiny16_galaxies", TINY, galaxies)
    recipe = json.loads(path.read_text())
    recipe["candidates"][49] += 1
    path.write_text(json.dumps(recipe))
    with pytest.raises(RuntimeError, match="come out differently with numpy"):
        validation_set(TINY, galaxies, systems=1)
    freeze("tiny16_galaxies", TINY, galaxies, overwrite=True)
    assert validation_set(TINY, galaxies, systems=1).name == "tiny16_galaxies"


def test_interrupted_freezing_leaves_nothing(galaxies, recipes, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        freeze("tiny16_galaxies", TINY, galaxies)
    assert list(recipes.iterdir()) == []


def test_command_freezes_verifies_and_refuses(galaxies, recipes, tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "train" / "make_validation_set.py"))["main"]
    arguments = ["tiny16", "--galaxies", str(galaxies)]
    with pytest.raises(ValueError, match="--freeze makes one"):
        main(arguments)
    with pytest.raises(ValueError, match="--overwrite goes with --freeze"):
        main([*arguments, "--overwrite"])
    with pytest.raises(FileNotFoundError, match="none.h5"):
        main(["tiny16", "--galaxies", str(tmp_path / "none.h5")])
    assert main([*arguments, "--freeze"]) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    digest = validation_set(TINY, galaxies, systems=50).digest()
    assert first == f"tiny16_galaxies: 50 systems of 5 galaxies, sha256 {digest}\n"


@pytest.mark.parametrize("systems", [0, -1, SYSTEMS + 1])
def test_impossible_sizes_are_refused(systems):
    with pytest.raises(ValueError, match=f"`systems` must be from 1 to {SYSTEMS}"):
        validation_set(TINY, systems=systems)


@pytest.mark.parametrize("numbers", [[], [4], [-1], range(3, 6)])
def test_numbers_outside_of_the_set_are_refused(galaxies, numbers):
    systems = validation_set(TINY, galaxies, systems=4)
    with pytest.raises(ValueError, match="numbers from 0 to 3"):
        systems.mocks(numbers)


def test_file_without_validation_galaxies_is_refused(tmp_path):
    stamps = draw_procedural_galaxies(1, 8, side=32)
    none, one = Galaxies(stamps[:0], (), ()), Galaxies(stamps, ("a",), ("test",))
    path = write_galaxy_file(tmp_path / "galaxies.h5", one, none, seed=0, made_by="a test")
    with pytest.raises(ValueError, match="validation split of .* is empty"):
        validation_set(TINY, path)


@pytest.mark.slow
def test_backends_make_the_same_pixels(tmp_path):
    program = (
        "import sys, numpy as np\n"
        "from rim_lensing.networks.presets import get_preset\n"
        "from rim_lensing.simulation.validation_set import validation_set\n"
        "mocks = validation_set(get_preset('euclid64'), systems=32).mocks(range(32))\n"
        "np.savez(sys.argv[1], **vars(mocks))\n"
    )
    made = []
    for backend in ("tensorflow", "jax"):
        path = tmp_path / f"{backend}.npz"
        environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program, path], env=environment, check=True)
        made.append(np.load(path))
    for name in made[0].files:
        ours, theirs = (arrays[name] for arrays in made)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(ours).max())
    np.testing.assert_array_equal(made[0]["lens"], made[1]["lens"])
