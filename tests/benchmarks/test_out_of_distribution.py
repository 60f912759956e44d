import argparse
import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rim_lensing.galaxies.galaxy_file import Galaxies, write_galaxy_file
from rim_lensing.galaxies.procedural import draw_procedural_galaxies

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IDX_HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3])


@pytest.fixture(scope="module")
def modules():
    """The program, its sources and its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import out_of_distribution
        import out_of_distribution_report
        import out_of_distribution_sources

        yield argparse.Namespace(
            program=out_of_distribution,
            report=out_of_distribution_report,
            sources=out_of_distribution_sources,
        )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three bright squares in the format of MNIST."""
    images = np.zeros((3, 28, 28), "uint8")
    images[:, 8:20, 8:20] = 255
    images[1, 8:14] = 0
    images[2, :, 8:14] = 0
    header = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28])
    folder = tmp_path_factory.mktemp("digits")
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """One picture: dark strokes on paper that is darker on the right."""
    rows, columns = np.mgrid[:80, :120]
    paper = 220 - columns / 2
    writing = np.where((rows % 12 < 3) & (columns % 9 < 6), 90, 0)
    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray((paper - writing).astype("uint8")).save(folder / "note.png")
    return folder


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Six galaxies of the validation split, of three kinds."""
    stamps = draw_procedural_galaxies(7, 2, side=32)
    path = tmp_path_factory.mktemp("galaxies") / "galaxies.h5"
    kinds = ("sloan", "hubble", "sloan", "hubble", "ukidss", "sloan")
    validation = Galaxies(stamps[1:], tuple("bcdefg"), kinds)
    return write_galaxy_file(path, Galaxies(stamps[:1], ("a",), ("sloan",)), validation, 0, "test")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_images_are_read_row_by_row(modules, tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(IDX_HEADER + bytes(range(12))))
    expected = [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert modules.sources.read_idx_images(path).tolist() == expected


@pytest.mark.parametrize(
    "content, words",
    [
        (IDX_HEADER + bytes(11), "take 28 bytes. Received: 27"),
        (IDX_HEADER + bytes(13), "take 28 bytes. Received: 29"),
        (b"\0\0\x08\x01" + IDX_HEADER[4:] + bytes(12), "not an idx file of images"),
        (b"", "Received: nothing"),
        # Without the time of day: workers must collect the same tests.
        (gzip.compress(IDX_HEADER + bytes(12), mtime=0)[:-9], "is damaged"),
    ],
)
def test_damaged_idx_files_are_refused(modules, tmp_path, content, words):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        modules.sources.read_idx_images(path)


def test_a_folder_without_digits_is_refused(modules, tmp_path):
    with pytest.raises(FileNotFoundError, match="idx3"):
        modules.sources.read_idx_images(tmp_path)


def test_digits_stand_upright(modules):
    image = np.zeros((28, 28), "uint8")
    image[2:6, 10:18] = 200
    stamp = modules.sources.digit_stamp(image, 96)
    assert stamp.max() == 1
    # The first row of the file is the top; the first row of an array here is the bottom.
    assert stamp[70:].sum() > 10 * stamp[:70].sum()
    assert np.abs(stamp[[0, -1]]).max() == 0


def test_rendered_text_stands_upright_inside_of_its_stamp(modules):
    stamp = modules.sources.render_text(("WWWW", "....", "...."), 64)
    ink = stamp.sum(axis=1)
    assert np.argmax(ink) > 34
    assert stamp.max() == 1
    assert max(stamp[[0, -1]].max(), stamp[:, [0, -1]].max()) == 0


def test_ink_is_bright_and_uneven_paper_is_dark(modules, photographs):
    (ink,) = modules.sources.read_photographs(photographs).values()
    rows, columns = np.mgrid[:80, :120]
    written = ((rows % 12 < 3) & (columns % 9 < 6))[::-1]
    middle = np.s_[10:-10, 10:-10]
    assert np.median(ink[middle][written[middle]]) > 0.8
    assert np.percentile(ink[middle][~written[middle]], 95) < 0.05


def test_crops_are_tapered(modules, photographs):
    (ink,) = modules.sources.read_photographs(photographs).values()
    stamp = modules.sources.crop_photograph(ink, np.random.default_rng(0), 48)
    assert stamp.shape == (48, 48)
    assert stamp.max() == 1
    assert max(stamp[[0, -1]].max(), stamp[:, [0, -1]].max()) < 1e-6


def test_a_blank_photograph_is_refused(modules, tmp_path):
    Image.new("L", (100, 100), 200).save(tmp_path / "blank.png")
    with pytest.raises(ValueError, match="blank.png is blank"):
        modules.sources.read_photographs(tmp_path)


def test_a_blank_photograph_of_textured_paper_is_refused(modules, tmp_path):
    texture = np.random.default_rng(0).integers(0, 5, (200, 200))
    Image.fromarray((200 + texture).astype("uint8")).save(tmp_path / "blank.png")
    with pytest.raises(ValueError, match="blank.png is blank"):
        modules.sources.read_photographs(tmp_path)


@pytest.mark.parametrize(
    "names, words",
    [
        (("a.png", "a.jpg"), "names of their own.*Received: a.jpg, a.png"),
        (("a.jpeg", "a.png", "b.png"), "names of their own.*Received: a.jpeg, a.png$"),
        (("b.png", "rendered.jpeg"), "must not be called rendered.*Received: .*rendered.jpeg"),
    ],
)
def test_photographs_whose_names_collide_are_refused(modules, tmp_path, names, words):
    for name in names:
        (tmp_path / name).write_bytes(b"not read")
    with pytest.raises(ValueError, match=words):
        modules.sources.read_photographs(tmp_path)


def test_surveys_are_kept_apart_from_the_yardstick(modules, galaxies):
    sources = modules.sources.Sources(galaxies, ("hubble", "ukidss"), None, None, seed=1)
    assert sources.classes == ("galaxies", "survey", "rendered")
    rows = [sources.stamps(system) for system in range(8)]
    assert {row[0].kind for row in rows} == {"sloan"}
    assert [row[1].kind for row in rows] == ["hubble", "ukidss"] * 4
    # All of a kind come before one comes again.
    assert len({row[1].source for row in rows[:4:2]}) == 2
    assert len({row[0].source for row in rows[:3]}) == 3


def run(modules, patch, output, arguments, tiny_folder) -> list:
    """Run the program in this process; return its jobs."""
    done = []

    def in_this_process(function, jobs, workers, unit):
        done.extend(jobs)
        for job in jobs:
            function(job)

    patch.setattr(modules.program, "in_processes", in_this_process)
    given = ["--model", str(tiny_folder), "--workers", "1", "--output", str(output), *arguments]
    assert modules.program.main(given) == 0
    return done


def test_a_run_resumes_and_is_drawn_again(
    modules, monkeypatch, tmp_path, tiny_folder, galaxies, digits, photographs, capsys
):
    monkeypatch.setattr(modules.program, "_loaded", {})
    monkeypatch.setattr(modules.program, "CHUNK", 2)
    monkeypatch.setattr(modules.report, "_RESAMPLES", 10)
    inputs = ["--galaxies", str(galaxies), "--digits", str(digits)]
    inputs += ["--photographs", str(photographs), "--survey", "hubble", "ukidss"]
    first = run(modules, monkeypatch, tmp_path, [*inputs, "--systems", "2"], tiny_folder)
    assert [job[0].name for job in first] == ["systems_0000_0002.npz", "pages.npz"]
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert table.splitlines()[0].count("|") == 7
    for name in ("examples_digits", "examples_survey", "page_rendered", "page_note", "coherence"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    drawn = []
    monkeypatch.setattr(modules.report, "draw", lambda *given: drawn.append(given))

    chunk = np.load(tmp_path / "systems_0000_0002.npz")
    assert chunk["label"].tolist() == list(modules.sources.CLASSES) * 2
    # Matched: whatever the class, the noise is the same fraction of the peak, deviate by deviate.
    levels = chunk["noise_level"].reshape(2, -1)
    assert np.all(levels == levels[:, :1])
    assert len(np.unique(levels)) == 2

    second = run(modules, monkeypatch, tmp_path, [*inputs, "--systems", "3"], tiny_folder)
    assert [job[0].name for job in second] == ["systems_0002_0003.npz"]
    assert "| systems | 3 | 3 |" in (tmp_path / "table.md").read_text()

    (tmp_path / "table.md").unlink()
    assert run(modules, monkeypatch, tmp_path, [*inputs, "--systems", "2"], tiny_folder) == []
    assert (tmp_path / "table.md").read_text() == table
    assert len(drawn) == 2

    (tmp_path / "systems_0000_0002.npz").unlink()
    run(modules, monkeypatch, tmp_path, [*inputs, "--systems", "2"], tiny_folder)
    again = np.load(tmp_path / "systems_0000_0002.npz")
    assert all(np.array_equal(chunk[name], again[name]) for name in ("image", "true_source"))

    for other in (["--seed", "1", *inputs], inputs[:2]):
        with pytest.raises(FileExistsError, match="other settings"):
            run(modules, monkeypatch, tmp_path, [*other, "--systems", "2"], tiny_folder)


def test_the_table_compares_with_the_yardstick_of_the_same_systems(modules):
    systems, side = 6, 16
    generator = np.random.default_rng(4)
    truth = np.zeros((2 * systems, side, side), "float32")
    truth[:, 4:12, 4:12] = 1
    label = np.array(["galaxies", "rendered"] * systems)
    error = 0.01 * generator.choice([-1, 1], size=truth.shape)
    # Other systems have other errors; every system is compared with itself.
    error *= np.repeat([1, 2, 3, 3, 4, 5], 2)[:, None, None]
    scale = np.where(label == "rendered", 3, 1)[:, None, None]
    arrays = {
        "label": label,
        "system": np.repeat(np.arange(systems), 2),
        "source_number": np.repeat(np.arange(systems), 2),
        "kind": label,
        "noise_level": np.full(2 * systems, 0.02),
        "noise_rms": np.full(2 * systems, 0.02),
        "magnification": np.full(2 * systems, 5.0),
        "true_source": truth,
        "image": truth,
        "rim_source": truth + scale * error,
        "linear_source": truth + 2 * error,
        "rim_model": truth + 0.02,
        "refined_source": truth + error,
        "refined_model": truth + 0.01,
        "linear_model": truth,
    }
    lines = modules.report.class_table(modules.report.measure(arrays)).splitlines()
    cells = {line.split(" | ")[0][2:]: line[2:-2].split(" | ")[1:] for line in lines}
    assert [cell[:5] for cell in cells["rms error, RIM"]] == ["3.00%", "9.00%"]
    assert cells["rms error, RIM / linear"] == ["0.50 ± 0.00", "1.50 ± 0.00"]
    assert cells["rms error, RIM worse than linear"] == ["0% ± 0%", "100% ± 0%"]
    assert cells["rms error inside over that for galaxies, RIM"] == ["1.00 ± 0.00", "3.00 ± 0.00"]
    assert cells["rms error, RIM, refined / linear"] == ["0.50 ± 0.00"] * 2
    assert cells["rms error, RIM, refined worse than linear"] == ["0% ± 0%"] * 2
    assert cells["chi2 / pixel, RIM"] == ["1.000 ± 0.000"] * 2
    assert cells["chi2 / pixel, RIM, refined"] == ["0.250 ± 0.000"] * 2


def test_systems_of_one_galaxy_are_not_independent(modules):
    values = np.repeat([1.0, 3.0], 50)
    groups = [{"source_number": numbers} for numbers in (np.repeat([0, 1], 50), np.arange(100))]
    errors = [
        float(modules.report._with_error(group, lambda rows: values[rows].mean(), "{:.3f}")[-5:])
        for group in groups
    ]
    assert errors == pytest.approx([np.sqrt(0.5), 0.1], rel=0.15)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--survey", "hubble"], "--galaxies, too"),
        (["--seed", "-1"], "--seed must not be negative"),
        (["--digits", "nowhere"], "There is no file nowhere"),
        (["--photographs", "nowhere"], "There is no folder nowhere"),
        (["--galaxies", "nowhere.h5"], "no such galaxy file: nowhere.h5"),
        (["--model", "rim_euclid46"], "rim_euclid64"),
        (["--systems", "0"], "--systems must be from 1"),
    ],
)
def test_bad_input_is_refused_before_any_work(modules, tmp_path, arguments, words):
    output = tmp_path / "run"
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        modules.program.main(["--output", str(output), *arguments])
    assert not output.exists()


def test_unknown_surveys_are_named(modules, galaxies, tmp_path):
    given = ["--output", str(tmp_path / "run"), "--galaxies", str(galaxies)]
    with pytest.raises(ValueError, match="hubble, sloan, ukidss. Received: hst"):
        modules.program.main([*given, "--survey", "hst"])
    with pytest.raises(ValueError, match="no other galaxies"):
        modules.program.main([*given, "--survey", "hubble", "sloan", "ukidss"])


def test_errors_come_without_tensorflow_and_without_traceback(tmp_path):
    code = (
        "import sys, out_of_distribution as o\n"
        "from rim_lensing.program import run\n"
        "try:\n"
        "    run(lambda: o.main(['--output', sys.argv[1], '--digits', 'nowhere']))\n"
        "finally:\n"
        "    print('keras' in sys.modules, 'tensorflow' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "False False\n"
    assert done.stderr == "error: There is no file nowhere\n"
