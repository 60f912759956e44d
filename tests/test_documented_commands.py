"""What README and docs tell a user to type: quick commands and all Python are run, options parsed.

The cells of the tutorials run in `test_tutorials.py`.

What installs the package is what `.ci/run` runs.
"""

import argparse
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from astropy.io import fits

import rim_lensing
from rim_lensing import cli
from rim_lensing.demo import DEMO_FILE, read_demo_lens
from rim_lensing.lens_fit.fit_rounds import AutomatedFit

ROOT = Path(__file__).parents[1]
DOCS = sorted(ROOT.glob("docs/**/*.md"))
README, ALGORITHM_1 = ROOT / "README.md", ROOT / "docs" / "howto" / "algorithm_1.md"
PAGES = [README, ROOT / "benchmarks" / "README.md", *DOCS]
PAGES += sorted(ROOT.glob("pretrained/*/README.md"))
PROGRAM = r"(?:[A-Z_]+=\S+ )*python ((?:train|benchmarks|examples)/\w+\.py)"


def indented(text: str) -> str:
    """Return a page with its fenced blocks of shell and Python indented by four."""

    def indent(block: re.Match) -> str:
        return re.sub("^(?=.)", "    ", block[1], flags=re.M)

    return re.sub(r"^```(?:bash|python)\n(.*?)^```$", indent, text, flags=re.M | re.S)


def commands(text: str) -> list[str]:
    """Return the commands of a page's blocks, in its order, on one line each."""
    joined = re.sub(r"\\\n\s*", "", indented(text))
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
    """The search itself: by hand, of some pages."""
    assert "rim-lensing models" in ALL[README]
    assert sum("rim-lensing fit" in line for line in ALL[README]) == 1
    assert "f=rim_lensing/demo/mock_lens.fits" in ALL[ROOT / "docs" / "howto" / "files.md"]
    training = ALL[ROOT / "docs" / "training.md"]
    assert (
        "python train/publish.py runs/euclid64 --name rim_mine --galaxies galaxies.h5" in training
    )
    paths = [line.split()[1] for line in ALL[ROOT / "docs" / "history" / "training.md"]]
    assert paths.count("train/train_rim.py") >= 3 and "train/ablation.py" in paths
    assert any("KERAS_BACKEND=jax" in line for line in PROGRAM_LINES)
    assert len(PROGRAM_LINES) >= 40
    assert {README, ALGORITHM_1} <= set(WITH_PYTHON) and len(WITH_PYTHON) >= 8


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


def run_in(place: Path, monkeypatch, page: Path, wanted: str) -> None:
    """Run a page's commands of that name as a shell would, in one process."""
    monkeypatch.chdir(place)
    variables, ran = {}, 0
    for line in ALL[page]:
        assignment = re.fullmatch(r"(\w)=(\S+)", line)
        if assignment:
            variables[assignment[1]] = assignment[2]
        elif line.startswith(f"rim-lensing {wanted}"):
            for name, value in variables.items():
                line = line.replace(f"${{{name}}}", value).replace(f"${name}", value)
            ran += 1
            assert cli.main([*shlex.split(line)[1:], *OVERWRITE.get(wanted, ())]) in (0, 3), line
    assert ran


OVERWRITE = {"reconstruct": ["--overwrite"], "fit": ["--overwrite"]}


@pytest.mark.parametrize(
    "page, wanted",
    [("README", "models"), ("README", "reconstruct"), ("howto/files", "reconstruct")],
)
def test_quick_commands_run(place, monkeypatch, page, wanted):
    run_in(place, monkeypatch, README if page == "README" else ROOT / f"docs/{page}.md", wanted)
    if wanted == "reconstruct":
        assert (place / "output" / "mine" / "summary.png").exists()


def test_the_demo_that_is_run_after_installation(place, monkeypatch):
    (line,) = re.findall(r"rim-lensing (demo --output \S+)$", README.read_text(), re.M)
    monkeypatch.chdir(place)
    assert cli.main(shlex.split(line)) == 0
    assert (place / "output" / "demo" / "result.fits").exists()


@pytest.mark.slow
def test_the_fit_of_arcs_runs(place, monkeypatch):
    run_in(place, monkeypatch, ALGORITHM_1, "fit")
    assert (place / "output" / "fit" / "rounds.png").exists()


def python_blocks(page: Path) -> list[str]:
    """Return a page's Python, in its order."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)


WITH_PYTHON = [page for page in [README, *DOCS] if python_blocks(page)]
LONG = ("automated_fit", "fit_cutout", "optimise_lens", "sample_lens_posterior")


class Anything:
    """What a function that is not run returns: it has every attribute."""

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *arguments, **more):
        return Anything()


def run_blocks(place: Path, monkeypatch, page: Path) -> dict:
    monkeypatch.chdir(place)
    names = {}
    for block in python_blocks(page):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs(place, monkeypatch, page):
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
    kinds = {"chain": rim_lensing.LensChain, "fit": None}
    kinds["fit"] = rim_lensing.CutoutFit if page == README else AutomatedFit
    for name, attribute in re.findall(r"\b(fit|chain)\.(\w+)", "\n".join(python_blocks(page))):
        fields = {*dir(kinds[name]), *getattr(kinds[name], "__dataclass_fields__", ())}
        assert attribute in fields | {"h5"}, attribute
    names = run_blocks(place, monkeypatch, page)
    assert set(called) == {name for name in LONG if f".{name}(" in page.read_text()}
    if page == README:
        assert names["result"].chi2 == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("page", [README, ALGORITHM_1, ROOT / "docs/howto/posterior.md"])
def test_long_python_runs(place, monkeypatch, page):
    """The real functions, and a chain of few steps."""
    real = rim_lensing.sample_lens_posterior
    monkeypatch.setattr(
        rim_lensing,
        "sample_lens_posterior",
        lambda *given, **more: real(*given, **more, walkers=16, max_steps=12),
        raising=False,
    )
    names = run_blocks(place, monkeypatch, page)
    if "fit" in names:
        assert names["fit"].reconstruction.chi2 < 2
    else:
        assert len(names["chain"].mean) == 7
