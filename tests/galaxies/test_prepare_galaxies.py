"""The preparation program, run as a user runs it."""

import functools
import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from rim_lensing.galaxies.galaxy_file import read_galaxies
from rim_lensing.galaxies.procedural import draw_procedural_galaxies

PROGRAM = Path(__file__).resolve().parents[2] / "train" / "prepare_galaxies.py"


@pytest.fixture(scope="module")
def program():
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("prepare_galaxies", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def pictures():
    """24 pictures (140, 140) uint8 of different galaxies on a noisy sky."""
    rng = np.random.default_rng(4)
    frames = rng.normal(12, 1.0, (24, 140, 140))
    frames[:, 22:118, 22:118] += 200 * draw_procedural_galaxies(24, 11)
    return np.clip(frames, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, pictures):
    """Two folders of pictures and one of FITS stamps, with some that are no galaxies."""
    for kind in ("zoo", "survey", "hst"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for i, picture in enumerate(pictures[:20]):
        kind = "zoo" if i % 2 else "survey"
        Image.fromarray(picture).save(tmp_path / "data" / kind / f"{i:03d}.png")
    for i, picture in enumerate(pictures[20:]):
        fits.PrimaryHDU(picture.astype(np.float32)).writeto(
            tmp_path / "data" / "hst" / f"s{i}.fits"
        )
    Image.fromarray(np.full((100, 100), 9, np.uint8)).save(tmp_path / "data" / "zoo" / "flat.png")
    (tmp_path / "data" / "zoo" / "broken.jpg").write_bytes(b"not a picture")
    return tmp_path / "data"


@pytest.mark.parametrize("options, named", [([], 10), (["--list-unreadable"], 13)])
def test_few_of_the_unreadable_are_named_unless_all_are_asked_for(
    program, folder, tmp_path, capsys, options, named
):
    for i in range(12):
        (folder / "zoo" / f"damaged{i:02d}.jpg").write_bytes(b"no picture")
    arguments = [str(folder), "--output", str(tmp_path / "g.h5"), "--side", "48", *options]
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "13 could not be read:" in printed
    assert printed.count("cannot read picture") == named
    assert sum(f"damaged{i:02d}.jpg" in printed for i in range(12)) == named - 1
    assert ("... and 3 more, which --list-unreadable names" in printed) == (not options)


def test_one_file_from_all_kinds_of_source(program, folder, tmp_path, capsys):
    output, sheets = tmp_path / "g.h5", tmp_path / "sheets"
    status = program.main(
        [str(folder), "--output", str(output), "--validation-fraction", "0.3", "--side", "48"]
        + ["--contact-sheet", str(sheets)]
    )
    assert status == 0
    train, validation = read_galaxies(output, "train"), read_galaxies(output, "validation")
    assert len(train) + len(validation) >= 20
    assert len(validation) >= 2
    assert train.side == 48
    assert set(train.kinds) | set(validation.kinds) == {"zoo", "survey", "hst"}
    np.testing.assert_array_equal(train.stamps.max(axis=(1, 2)), 1)
    printed = capsys.readouterr().out
    assert "flat" in printed.splitlines()[0]  # a column of the table of reasons
    assert "1 could not be read" in printed
    assert "broken.jpg" in printed
    assert {"zoo_kept.png", "zoo_rejected.png", "hst_kept.png"} <= {
        p.name for p in sheets.iterdir()
    }


def test_the_same_galaxy_is_on_one_side_only(program, tmp_path, pictures):
    for band in ("f606w", "f814w", "g", "r"):
        (tmp_path / band).mkdir()
        for i, picture in enumerate(pictures[:12]):
            noisy = picture + np.random.default_rng(len(band) + i).integers(0, 3, picture.shape)
            image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
            image.save(tmp_path / band / f"obj{i:02d}_{band}.png")
    paths = [str(tmp_path / band) for band in ("f606w", "f814w", "g", "r")]
    output = tmp_path / "g.h5"
    assert program.main([*paths, "--output", str(output), "--validation-fraction", "0.4"]) == 0
    sides = [
        {name.split("_")[0] for name in read_galaxies(output, split).names}
        for split in ("train", "validation")
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_copy_under_another_name_is_left_out_of_training(program, tmp_path, pictures):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for i, picture in enumerate(pictures[:12]):
        Image.fromarray(picture).save(tmp_path / "a" / f"first{i}.png")
        Image.fromarray(picture).save(tmp_path / "b" / f"second{i}.png")
    output = tmp_path / "g.h5"
    arguments = [str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(output)]
    assert program.main([*arguments, "--validation-fraction", "0.4"]) == 0
    train, validation = read_galaxies(output, "train"), read_galaxies(output, "validation")
    assert len(validation) > 0
    for stamp in train.stamps:
        assert np.abs(validation.stamps - stamp).max(axis=(1, 2)).min() > 0.01


def test_more_data_never_moves_a_galaxy_to_the_other_side(program):
    few = [SimpleNamespace(object_name=f"n{i}") for i in range(50)]
    many = few + [SimpleNamespace(object_name=f"m{i}") for i in range(950)]
    small, large = (program.split_by_galaxy(items, 0.1, seed=0) for items in (few, many))
    for part, whole in zip(small, large, strict=True):
        assert {item.object_name for item in part} <= {item.object_name for item in whole}
    assert 60 < len(large[1]) < 140
    other = program.split_by_galaxy(many, 0.1, seed=1)[1]
    assert other != large[1]


def test_any_number_of_workers_writes_the_same_stamps(program, folder, tmp_path):
    outputs = [str(tmp_path / name) for name in ("one.h5", "two.h5")]
    assert program.main([str(folder), "--output", outputs[0]]) == 0
    command = [sys.executable, str(PROGRAM), str(folder), "--output", outputs[1], "--workers", "2"]
    subprocess.run(command, check=True, timeout=120)
    first, second = (read_galaxies(output) for output in outputs)
    assert first.names == second.names
    np.testing.assert_array_equal(first.stamps, second.stamps)


def test_an_existing_file_and_bad_options_are_refused_at_once(program, folder, tmp_path, capsys):
    output = tmp_path / "g.h5"
    output.write_text("precious")
    for extra, message in (
        ([], "--overwrite"),
        (["--overwrite", "--validation-fraction", "1.5"], "1.5"),
        (["--overwrite", "--side", "2"], "--side"),
        (["--overwrite", "--workers", "0"], "--workers"),
    ):
        with pytest.raises(SystemExit) as caught:
            program.main([str(folder), "--output", str(output), *extra])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert output.read_text() == "precious"


def test_nothing_to_read_or_keep_is_a_clear_error(program, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    output = tmp_path / "g.h5"
    assert program.main([str(tmp_path / "empty"), "--output", str(output)]) == 1
    assert "empty holds no galaxy images" in capsys.readouterr().err
    assert program.main([str(tmp_path / "absent"), "--output", str(output)]) == 1
    assert "absent" in capsys.readouterr().err
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "empty" / "black.png")
    assert program.main([str(tmp_path / "empty"), "--output", str(output)]) == 1
    assert "no galaxy was left" in capsys.readouterr().err
    assert not output.exists()


def test_ctrl_c_ends_without_a_traceback_or_a_file(tmp_path, pictures):
    (tmp_path / "many").mkdir()
    for i in range(2000):
        # Links to one picture: enough work to be interrupted in, little to write.
        if i == 0:
            Image.fromarray(pictures[0]).save(tmp_path / "many" / "0.png")
        else:
            (tmp_path / "many" / f"{i}.png").symlink_to(tmp_path / "many" / "0.png")
    code = (
        "import runpy, sys; program = runpy.run_path(sys.argv[1]); print('ready', flush=True); "
        "sys.exit(program['main'](sys.argv[2:]))"
    )
    arguments = [str(PROGRAM), str(tmp_path / "many"), "--output", str(tmp_path / "g.h5")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell has its background jobs ignore ctrl-C.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert "Traceback" not in errors
    assert "interrupted: nothing was written" in errors
    assert process.returncode == 130
    assert [item.name for item in tmp_path.iterdir()] == ["many"]
