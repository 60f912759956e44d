"""What the two training programs share; the programs themselves are run by their own tests."""

import argparse
import hashlib
import json
import runpy
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.networks.lens_cnn_presets import get_lens_cnn_preset
from rim_lensing.networks.presets import get_preset
from rim_lensing.networks.rim import RIM
from rim_lensing.simulation.priors import Priors
from rim_lensing.training.rim_training import recipe_of, training_priors
from rim_lensing.training.training_run import Recipe

COMMAND = runpy.run_path(str(Path(__file__).parents[2] / "train" / "training_command.py"))
CONFIGS = {RIM: get_preset("tiny16"), LensCNN: get_lens_cnn_preset("tiny16")}


def built(kind, config, seed):
    keras.utils.set_random_seed(seed)
    model = kind(config)
    model.build()
    return model


def options(**values):
    names = ("galaxies", "initial_weights", "preset", "development_systems", "procedural")
    numbers = ("steps", "batch", "learning_rate", "steps_per_epoch", "seed")
    nothing = dict.fromkeys((*names, *numbers))
    return argparse.Namespace(**nothing | values)


SPEED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "training_speed.py"))


def test_training_speed_says_what_the_recipe_takes(capsys):
    assert SPEED["main"](["tiny16", "--batch", "2", "--steps", "1"]) == 0
    text = capsys.readouterr().out
    step = 6 * CONFIGS[RIM].multiply_adds
    assert "tiny16 (2,661 weights)" in text and "float32, batch 2" in text
    assert f"per system      {step / 1e12:.3g} TFLOP" in text
    assert f"4000 steps of 8: {step * 32000 / 1e18:.3g} EFLOP" in text
    rough = ["tiny16", "--batch", "2", "--steps", "1", "--precision", "mixed_bfloat16"]
    assert SPEED["main"](rough) == 0
    assert "mixed_bfloat16, batch 2" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`precision` must be one of"):
        SPEED["main"](["tiny16", "--precision", "half"])
    for wrong in (["--batch", "0"], ["--steps", "-1"]):
        with pytest.raises(ValueError, match="must be positive"):
            SPEED["main"](["tiny16", *wrong])


def test_paper_is_trained_as_in_the_paper():
    """2e-5, times 0.96 every 5000 steps (section 2.4); batches of 5, of one noise level."""
    recipe = recipe_of("paper192")
    assert (recipe.learning_rate, recipe.schedule, recipe.batch) == (2e-5, "exponential", 5)
    assert training_priors("paper192") == Priors(noise_per_batch=True)
    for compact in ("hst192", "euclid64"):
        assert recipe_of(compact).schedule == "cosine"
        assert training_priors(compact) == Priors(log_noise_fraction=0.5)


@pytest.mark.parametrize("step, factor", [(0, 1), (5000, 0.96), (50_000, 0.96**10)])
def test_the_papers_learning_rate(step, factor):
    optimizer = recipe_of("paper192").optimizer()
    optimizer.iterations.assign(step)
    assert float(optimizer.learning_rate) == pytest.approx(2e-5 * factor, rel=1e-5)
    assert optimizer.global_clipnorm == 5


def test_the_cosine_is_half_in_the_middle_and_ends_at_zero():
    recipe, rates = recipe_of("euclid64"), []
    optimizer = recipe.optimizer()
    rise, total = recipe.steps // 50, recipe.epochs * recipe.steps_per_epoch
    for step in (rise // 2, rise, (rise + total) // 2, total):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    top = recipe.learning_rate
    assert rates == pytest.approx([top / 2, top, top / 2, 0], abs=1e-3 * top)


@pytest.fixture
def saved(tmp_path):
    """Weights of one network of each kind, and their files."""
    found = {}
    for kind, config in CONFIGS.items():
        model, path = built(kind, config, seed=1), tmp_path / f"{kind.__name__}.weights.h5"
        model.save_weights(path)
        found[kind] = model.get_weights(), path
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_initial_weights_are_loaded_and_described(kind, saved):
    weights, path = saved[kind]
    model = built(kind, CONFIGS[kind], seed=2)
    said = options(initial_weights=path, preset="tiny16", development_systems=8)
    COMMAND["load_initial_weights"](model, said)
    for loaded, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(loaded, expected)
    description = COMMAND["describe_run"](said, 40, Priors())
    assert description["initial_weights"] == path.name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert description["initial_weights_sha256"] == digest
    assert description["galaxies"] is None and description["galaxies_sha256"] is None
    assert description["initial_galaxies_sha256"] == ["unknown"]


@pytest.mark.parametrize(
    "told, expected",
    [
        ({"galaxies": None, "galaxies_sha256": None}, []),
        ({"galaxies": "a.h5", "galaxies_sha256": "aa"}, ["aa"]),
        ({"galaxies": "a.h5"}, ["unknown"]),
        # Of before runs knew the galaxies of those before them.
        ({"galaxies": "a.h5", "galaxies_sha256": "aa", "initial_weights": "b"}, ["aa", "unknown"]),
        (
            {
                "galaxies": "a.h5",
                "galaxies_sha256": "aa",
                "initial_galaxies_sha256": ["bb", "unknown"],
            },
            ["aa", "bb", "unknown"],
        ),
    ],
)
def test_a_run_knows_the_galaxies_of_those_before_it(tmp_path, told, expected):
    (tmp_path / "run.json").write_text(json.dumps(told))
    assert COMMAND["galaxies_behind"](tmp_path / "checkpoint.weights.h5") == expected
    (tmp_path / "run.json").unlink()
    (tmp_path / "metadata.json").write_text(json.dumps({"training": told}))
    assert COMMAND["galaxies_behind"](tmp_path / "rim.weights.h5") == expected


@pytest.mark.parametrize("galaxies, procedural", [(None, 0), (None, -1), ("here", -1)])
def test_no_galaxies_to_train_on_are_refused_at_once(tmp_path, galaxies, procedural):
    said = options(
        procedural=procedural,
        galaxies=galaxies and tmp_path,
        initial_weights=None,
        output=tmp_path / "new",
        development_systems=8,
    )
    with pytest.raises(ValueError, match=f"--procedural must be .* Received: {procedural}"):
        COMMAND["check_options"](said, "rim")


@pytest.mark.parametrize(
    "name, value", [("steps", 0), ("batch", -1), ("learning_rate", float("nan")), ("seed", -1)]
)
def test_numbers_that_train_nothing_are_refused_at_once(tmp_path, name, value):
    said = options(output=tmp_path / "new", development_systems=8, **{name: value})
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} must be .*positive"):
        COMMAND["check_options"](said, "rim")


@pytest.mark.parametrize("kind, other", [(RIM, LensCNN), (LensCNN, RIM)])
def test_weights_of_another_network_are_refused(kind, other, saved, tmp_path):
    model = built(kind, CONFIGS[kind], seed=2)
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(b"no weights")
    for path in (saved[other][1], damaged):
        said = options(initial_weights=path, preset="tiny16")
        with pytest.raises(ValueError, match=f"{path.name} does not hold weights of tiny16"):
            COMMAND["load_initial_weights"](model, said)


@pytest.mark.parametrize(
    "kind, changes",
    [
        (RIM, {"channels": (4, 4, 4, 8)}),
        # Not fully convolutional: the weights belong to one size of the image.
        (LensCNN, {"image_side": 32}),
        (LensCNN, {"blocks": (1, 1)}),
    ],
)
def test_weights_of_another_architecture_are_refused(kind, changes, saved):
    model = built(kind, replace(CONFIGS[kind], **changes), seed=2)
    said = options(initial_weights=saved[kind][1], preset="tiny16")
    with pytest.raises(ValueError, match="does not hold weights"):
        COMMAND["load_initial_weights"](model, said)


def test_a_rim_starts_from_weights_of_a_smaller_field(tmp_path):
    """It is fully convolutional: the pixel scales are what its weights belong to."""
    config = get_preset("hst192")
    small = built(RIM, replace(config, image_side=64, source_side=48), seed=1)
    small.save_weights(tmp_path / "small.weights.h5")
    model = built(RIM, config, seed=2)
    said = options(initial_weights=tmp_path / "small.weights.h5", preset="hst192")
    COMMAND["load_initial_weights"](model, said)
    for loaded, expected in zip(model.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, expected)


def test_recipe_is_the_default_but_for_what_was_said():
    parser = COMMAND["training_parser"]("Train.", ("a", "b", "c"), "images", 96)
    said = ["--preset", "a", "--output", "x", "--steps", "7", "--learning-rate", "0.5"]
    default = Recipe(schedule="cosine", batch=3)
    recipe = COMMAND["chosen_recipe"](parser.parse_args(said), default)
    assert recipe == replace(default, steps=7, learning_rate=0.5)
    assert "a, b or c" in parser.format_help() and "images per step" in parser.format_help()
