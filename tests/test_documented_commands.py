"""What README and docs tell a user to type: quick commands are run, options of long ones parsed.

What installs the package is what `.ci/run` runs.
"""

import argparse
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import rim_lensing
from rim_lensing import cli
from rim_lensing.demo import DEMO_FILE, read_demo_lens

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("pretrained/*/README.md"))
PROGRAM = r"(?:[A-Z_]+=\S+ )*python ((?:train|benchmarks|examples)/\w+\.py)"


def commands(text: str) -> list[str]:
    """Return the commands of a page's blocks, in its order, on one line each."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = re.findall(rf"^ {{4,6}}((?:{PROGRAM}|rim-lensing) ?.*|\w=\S+)$", joined, re.M)
    return [whole for whole, *_ in found]


def mentions(text: str) -> list[str]:
    """Return the commands within sentences, which may lack what they do not speak of."""
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    return [span for span in spans if re.match(rf"{PROGRAM}|rim-lensing", span)]


ALL = {page: commands(page.read_text()) for page in PAGES}
PROGRAM_LINES = sorted(
    {line for lines in ALL.values() for line in lines if re.match(PROGRAM, line)}
    | {line for page in PAGES for line in mentions(page.read_text()) if re.match(PROGRAM, line)}
)
MENTIONS = sorted(
    {
        line
        for page in PAGES
        for line in mentions(page.read_text())
        if line.startswith("rim-lensing")
    }
)


class ParsedError(BaseException):
    """Ends a program whose options have been understood."""


def parse(line: str, monkeypatch) -> argparse.Namespace:
    """Start a program with the options of a command, and stop it when it has parsed them."""
    real = argparse.ArgumentParser.parse_args

    def stop(self, arguments=None, namespace=None):
        raise ParsedError(real(self, arguments, namespace))

    program = ROOT / re.match(PROGRAM, line)[1]
    line = re.sub(r"\[(\w+) \.\.\.\]", r"\1", line)  # FOLDER [FOLDER ...]
    arguments = shlex.split(line.partition(".py")[2])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [str(program), *arguments])
    monkeypatch.syspath_prepend(program.parent)
    with pytest.raises(ParsedError) as found:
        runpy.run_path(str(program), run_name="__main__")
    return found.value.args[0]


def test_the_pages_hold_what_is_known_to_be_there():
    """The search itself: by hand, of three pages."""
    readme = ALL[ROOT / "README.md"]
    assert "rim-lensing models" in readme and "f=rim_lensing/demo/mock_lens.fits" in readme
    assert "python train/publish.py runs/euclid64 --name rim_mine --galaxies galaxies.h5" in readme
    assert sum("rim-lensing reconstruct" in line for line in readme) == 2
    paths = [line.split()[1] for line in ALL[ROOT / "docs" / "training.md"]]
    assert paths.count("train/train_rim.py") >= 3 and "train/ablation.py" in paths
    assert any("KERAS_BACKEND=jax" in line for line in PROGRAM_LINES)
    assert len(PROGRAM_LINES) >= 40


@pytest.mark.parametrize("line", PROGRAM_LINES)
def test_the_options_of_a_program_parse(line, monkeypatch):
    if "real_lenses" in line:
        pytest.importorskip("lenstronomy")
    assert parse(line, monkeypatch) is not None


def test_an_option_that_there_is_not_is_found(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parse("python train/evaluate.py rim_euclid64 --galaxy galaxies.h5 --pages 3", monkeypatch)
    assert "--pages" in capsys.readouterr().err


@pytest.mark.parametrize("line", MENTIONS)
def test_the_options_that_a_sentence_names_exist(line, capsys):
    words = [word for word in shlex.split(line)[1:] if word != "..."]
    asked = [word for word in words if not word.startswith("-")][:1]
    with pytest.raises(SystemExit):
        cli.main([*asked, "--help"])
    said = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b(?!-)", said), option


def test_extras_that_are_told_to_install_exist():
    setup = (ROOT / "setup.py").read_text()
    for page in PAGES:
        for extra in re.findall(r'pip install.* "?\.\[(\w+)\]', page.read_text()):
            assert f'"{extra}": [' in setup, (page, extra)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a user's image, noise and PSF: the demo's, in files of their own."""
    folder = tmp_path_factory.mktemp("user")
    mock = read_demo_lens()
    header = fits.Header({"PIXSCALE": mock.image_pixel_scale})
    units = [fits.PrimaryHDU(), fits.ImageHDU(mock.image, header, name="SCI")]
    fits.HDUList(units).writeto(folder / "image.fits")
    fits.PrimaryHDU(mock.noise, header).writeto(folder / "noise.fits")
    fits.PrimaryHDU(mock.psf, header).writeto(folder / "psf.fits")
    (folder / "rim_lensing" / "demo").mkdir(parents=True)
    (folder / "rim_lensing" / "demo" / DEMO_FILE.name).write_bytes(DEMO_FILE.read_bytes())
    (folder / "pretrained").symlink_to(ROOT / "pretrained")
    return folder


def run_in(place: Path, monkeypatch, wanted: str) -> None:
    """Run the README's commands of that name as a shell would, in one process."""
    monkeypatch.chdir(place)
    variables, ran = {}, 0
    for line in ALL[ROOT / "README.md"]:
        assignment = re.fullmatch(r"(\w)=(\S+)", line)
        if assignment:
            variables[assignment[1]] = assignment[2]
        elif line.startswith(f"rim-lensing {wanted}"):
            for name, value in variables.items():
                line = line.replace(f"${{{name}}}", value).replace(f"${name}", value)
            ran += 1
            again = ["--overwrite"] if ran > 1 else []
            assert cli.main(shlex.split(line)[1:] + again) in (0, 3), line
    assert ran


@pytest.mark.parametrize("wanted", ["models", "reconstruct"])
def test_the_readmes_quick_commands_run(place, monkeypatch, wanted):
    run_in(place, monkeypatch, wanted)
    if wanted == "reconstruct":
        assert (place / "output" / "mine" / "summary.png").exists()


def test_the_demo_that_is_run_after_installation(place, monkeypatch):
    (line,) = re.findall(r"rim-lensing (demo --output \S+)$", PAGES[0].read_text(), re.M)
    monkeypatch.chdir(place)
    assert cli.main(shlex.split(line)) == 0
    assert (place / "output" / "demo" / "result.fits").exists()


@pytest.mark.slow
def test_the_readmes_fit_runs(place, monkeypatch):
    run_in(place, monkeypatch, "fit")
    assert (place / "output" / "fit" / "rounds.png").exists()


def python_blocks() -> list[str]:
    """Return the README's Python, in its order."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGES[0].read_text(), re.M)
    blocks = [re.sub("^ {4}", "", block, flags=re.M) for block in blocks]
    found = []
    for block in blocks:
        try:
            compile(block, "README.md", "exec")
        except SyntaxError:
            continue
        if re.search(r"\w\(|= ", block):
            found.append(block)
    return found


LONG = ("automated_fit", "fit_cutout", "optimise_lens", "sample_lens_posterior")


class Anything:
    """What a function that is not run returns: it has every attribute."""

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *arguments, **more):
        return Anything()


def run_blocks(place: Path, monkeypatch) -> dict:
    monkeypatch.chdir(place)
    middle = (len(read_demo_lens().image) - 1) / 2
    names = {"row": middle, "column": middle}
    for block in python_blocks():
        if "saved_model" in block:
            import tensorflow as tf

            arrays = {name: np.asarray(names[name], "float32") for name in ("image", "noise")}
            psf = np.zeros((25, 25), "float32")
            psf[12, 12] = 1
            given = {"image": arrays["image"], "noise_map": arrays["noise"], "psf": psf}
            given["lens_parameters"] = np.asarray(names["lens"], "float32")
            batch = {name: array[None] for name, array in given.items()}
            names["source"] = eval(block.strip(), {"tf": tf} | batch)
        else:
            exec(block, names)
    return names


def test_the_readmes_python_runs(place, monkeypatch):
    """All of it; of what takes minutes the arguments are bound, and nothing is run."""
    called = []

    def bound(name, function):
        def call(*arguments, **more):
            inspect.signature(function).bind(*arguments, **more)
            called.append(name)
            return Anything()

        return call

    for name in LONG:
        real = getattr(rim_lensing, name)
        monkeypatch.setattr(rim_lensing, name, bound(name, real), raising=False)
        for attribute in re.findall(r"\b(fit|chain)\.(\w+)", PAGES[0].read_text()):
            kind = rim_lensing.LensChain if attribute[0] == "chain" else None
            assert kind is None or hasattr(kind, attribute[1]) or attribute[1] == "h5", attribute
    names = run_blocks(place, monkeypatch)
    assert sorted(called) == sorted(LONG)
    assert names["result"].chi2 == pytest.approx(1, abs=0.1)
    assert np.asarray(names["source"]).shape == (1, 64, 64)
    assert (place / "summary.png").exists() and (place / "result.fits").exists()


@pytest.mark.slow
def test_the_readmes_long_python_runs(place, monkeypatch):
    """The real functions, and a chain of few steps."""
    real = rim_lensing.sample_lens_posterior
    monkeypatch.setattr(
        rim_lensing,
        "sample_lens_posterior",
        lambda **more: real(**more, walkers=16, max_steps=12),
        raising=False,
    )
    names = run_blocks(place, monkeypatch)
    assert names["fit"].reconstruction.chi2 < 2 and len(names["chain"].mean) == 7
