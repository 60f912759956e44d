"""Malformed input at the gates: refused by rule or taken rightly, no traceback, no silence.

Valid arguments are spoilt in several places at once. Every way of spoiling one says itself whether
a rule of the documentation forbids it: a forbidden one must be refused, with a ValueError.
`pytest -m slow tests/test_fuzz.py` throws 10,000 of each kind, the suite a hundred.
"""

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rim_lensing import cli
from rim_lensing.commands import fit, reconstruct
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.observation.checks import check_observation

SIDE = 16
GRID = PixelGrid(SIDE, 0.3)
HOLE = np.zeros((SIDE, SIDE), bool)
HOLE[:3, 4:9] = True
KERNEL = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81.0
QUICK_EXAMPLES, SLOW_EXAMPLES = 100, 10_000
QUIET = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def ring() -> np.ndarray:
    x, y = GRID.coordinates()
    image = np.exp(-0.5 * ((np.hypot(x, y) - 1.0) / 0.2) ** 2)
    return image + 0.02 * np.random.default_rng(1).standard_normal(image.shape)


IMAGE, NOISE = ring(), np.full((SIDE, SIDE), 0.02)


@dataclass(frozen=True)
class Spoilt:
    """One argument, and whether a rule forbids it."""

    value: Any
    forbidden: bool


def no(value) -> Spoilt:
    return Spoilt(value, forbidden=True)


def yes(value) -> Spoilt:
    return Spoilt(value, forbidden=False)


def with_pixel(array, place, value):
    changed = np.array(array, dtype=np.result_type(array, type(value)))
    changed[place] = value
    return changed


# Not in the hole, which another argument may mask.
PLACES = st.tuples(st.integers(3, SIDE - 1), st.integers(0, SIDE - 1))
NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf])
WRONG_SHAPES = st.sampled_from(
    [(), (SIDE,), (SIDE, SIDE + 1), (SIDE + 4, SIDE + 4), (3, 3), (0, SIDE), (1, 1, SIDE, SIDE)]
)
NO_NUMBERS = st.sampled_from(
    ["text", b"bytes", np.full((SIDE, SIDE), "a"), IMAGE + 1j, [[None] * SIDE] * SIDE, object()]
    + [{"a": 1}, np.array([[1], [2, 3]], dtype=object), {1, 2}]
)

IMAGES = st.one_of(
    PLACES.flatmap(lambda p: NOT_FINITE.map(lambda v: no(with_pixel(IMAGE, p, v)))),
    WRONG_SHAPES.map(lambda shape: no(np.ones(shape))),
    NO_NUMBERS.map(no),
    st.sampled_from([no(None), no(np.zeros((SIDE, SIDE))), no(-IMAGE), no(fits.ImageHDU(IMAGE))]),
    st.sampled_from([no(IMAGE * units.Jy), no(CCDData(IMAGE, unit="adu")), no(1e-320 * IMAGE)]),
    st.sampled_from([yes(IMAGE.astype(">f4")), yes(IMAGE.tolist()), yes(IMAGE[None])]),
    st.sampled_from([yes(np.ma.masked_array(with_pixel(IMAGE, HOLE, np.nan), HOLE))]),
    st.sampled_from([yes(Masked(with_pixel(IMAGE, HOLE, 1e30), mask=HOLE))]),
)
NOISES = st.one_of(
    PLACES.flatmap(
        lambda p: st.sampled_from([np.nan, -1.0, 0.0, -np.inf]).map(
            lambda v: no(with_pixel(NOISE, p, v))
        )
    ),
    WRONG_SHAPES.filter(len).map(lambda shape: no(np.ones(shape))),
    NO_NUMBERS.map(no),
    st.sampled_from(
        [no(v) for v in (None, 0, -1, np.nan, 1e9, 1e-9, [0.02, 0.03], -np.inf, np.inf)]
    ),
    st.sampled_from([no(NOISE * units.Jy), no(NOISE**2 * units.Jy**2), no(3.0 * NOISE / NOISE)]),
    st.sampled_from([yes(0.02), yes(np.float32(0.02)), yes([0.02]), yes(NOISE[None])]),
    st.sampled_from([yes(StdDevUncertainty(NOISE)), yes(VarianceUncertainty(NOISE**2))]),
    st.sampled_from([yes(np.ma.masked_array(NOISE, HOLE)), yes(with_pixel(NOISE, HOLE, 1e8))]),
)
PSFS = st.one_of(
    st.sampled_from(
        [no(v) for v in (None, -0.1, np.nan, np.inf, 1e9, [0.1, 0.1], "0.1", 0.1 * units.m)]
    ),
    st.sampled_from([no(-KERNEL), no(0 * KERNEL), no(KERNEL * np.nan), no(np.stack([KERNEL] * 2))]),
    st.sampled_from([no(np.ones((4, 4))), no(np.ones((31, 31))), no(np.ones((1, 1, 3, 3)))]),
    NO_NUMBERS.map(no),
    st.sampled_from([no(np.ma.masked_array(KERNEL, KERNEL > 0.1)), no(np.ones((0, 0)))]),
    st.sampled_from([yes(0), yes(100 * units.mas), yes(7 * KERNEL), yes(KERNEL[None]), yes([0.1])]),
    st.sampled_from([yes(np.pad(KERNEL, ((1, 0), (1, 0)))), yes(KERNEL[:, 1:-1])]),
)
MASKS = st.one_of(
    st.sampled_from([no(v) for v in (np.zeros((SIDE, SIDE)), np.full((SIDE, SIDE), 2), 1, "all")]),
    WRONG_SHAPES.map(lambda shape: no(np.ones(shape))),
    st.sampled_from([no(IMAGE < 0.1), no(np.full((SIDE, SIDE), np.nan)), no(NOISE * units.Jy)]),
    NO_NUMBERS.map(no),
    st.sampled_from(
        [yes(~HOLE), yes((~HOLE).astype("uint8")), yes(np.ma.masked_array(~HOLE, HOLE))]
    ),
)
LENSES = st.one_of(
    st.sampled_from([no(v) for v in (None, {}, {"theta": 1}, {"theta_E": np.nan}, [], "SIE", 1.0)]),
    st.sampled_from([no({"theta_E": -1}), no({"theta_E": 1, "e1": 0.9}), no(np.ones(9))]),
    st.sampled_from([no({"theta_E": 1, "slope": 2.5}), no(np.ones((2, 7)) * 0.1)]),
    st.sampled_from([no(np.ones(7) * units.deg), no(np.full(7, np.inf)), no(np.zeros((1, 1, 7)))]),
    NO_NUMBERS.map(no),
    st.sampled_from(
        [no(np.ma.masked_array(np.full(7, 0.1), np.eye(7)[2])), no({"theta_E": "big"})]
    ),
    st.sampled_from(
        [yes(np.full(7, 0.1)), yes({"theta_E": 1 * units.arcsec}), yes([1, 0, 0, 0, 0, 0, 0])]
    ),
)
PIXEL_SCALES = st.one_of(
    st.sampled_from(
        [no(v) for v in (0, -0.3, np.nan, np.inf, 0.2, "0.3", [0.3, 0.3], 0.3 * units.m)]
    ),
    st.sampled_from(
        [yes(np.float32(0.3)), yes(300 * units.mas), yes(0.3 * units.arcsec / units.pix)]
    ),
)
FORMS = {
    "image": IMAGES,
    "noise": NOISES,
    "psf": PSFS,
    "mask": MASKS,
    "lens": LENSES,
    "pixel_scale": PIXEL_SCALES,
}
VALID = {"image": IMAGE, "noise": NOISE, "psf": 0.1, "lens": LensParameters(theta_E=1.0)}


@st.composite
def spoilt_arguments(draw) -> tuple[dict, set[str]]:
    """Return arguments, one to four of them spoilt, and the names of those that are forbidden."""
    names = draw(st.sets(st.sampled_from(sorted(FORMS)), min_size=1, max_size=4))
    parts = {name: draw(FORMS[name]) for name in sorted(names)}
    arguments = VALID | {name: part.value for name, part in parts.items()}
    return arguments, {name for name, part in parts.items() if part.forbidden}


def throw_at_the_gate(arguments: dict, forbidden: set[str]) -> None:
    """Check one set of arguments; what is accepted has to be what networks can take."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = check_observation(**arguments, image_grid=GRID)
    except ValueError as error:
        # Valid parts may not fit each other, such as a quantity beside a number.
        assert any(f"`{name}`" in str(error) for name in [*FORMS, "theta_E", "slope", "e1"])
        return
    assert not forbidden, f"accepted: {forbidden}"
    assert np.isfinite(found.image).all() and found.image.max() == pytest.approx(1)
    assert np.all(found.noise > 0) and found.mask.any()
    assert found.psf.shape[-1] % 2 == 1
    np.testing.assert_allclose(found.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert np.isfinite(found.lens).all() and found.lens.shape[1] in (7, 8)
    if np.ma.isMaskedArray(arguments["image"]) or isinstance(arguments["image"], Masked):
        assert not found.mask[0, HOLE].any()


@given(spoilt_arguments())
@settings(max_examples=QUICK_EXAMPLES, **QUIET)
def test_spoilt_arguments(spoilt):
    throw_at_the_gate(*spoilt)


@pytest.mark.slow
@given(spoilt_arguments())
@settings(max_examples=SLOW_EXAMPLES, **QUIET)
def test_many_spoilt_arguments(spoilt):
    throw_at_the_gate(*spoilt)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_folder):
    """FITS files, good and bad, and a model; the working directory of the command lines."""
    folder = tmp_path_factory.mktemp("fuzz")
    right = fits.Header({"PIXSCALE": 0.3})
    arrays = {
        "image": IMAGE,
        "noise": NOISE,
        "psf": KERNEL,
        "mask": 1.0 - HOLE,
        "nan": with_pixel(IMAGE, (8, 8), np.nan),
        "zeros": 0 * IMAGE,
        "small": IMAGE[:8, :8],
        "wide": np.pad(IMAGE, 12),
        "cube": np.stack([IMAGE, IMAGE]),
        "negative": -NOISE,
        "even": np.ones((4, 4)),
        "integers": (1000 * IMAGE).astype("int16"),
    }
    for name, array in arrays.items():
        fits.PrimaryHDU(array, right).writeto(folder / f"{name}.fits")
    fits.PrimaryHDU(IMAGE).writeto(folder / "no_scale.fits")
    fits.PrimaryHDU(IMAGE, fits.Header({"PIXSCALE": -1.0})).writeto(folder / "bad_scale.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(
        folder / "table.fits"
    )
    whole = (folder / "image.fits").read_bytes()
    (folder / "cut_off.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "text.fits").write_text("not FITS")
    (folder / "empty.fits").write_bytes(b"")
    (folder / "directory.fits").mkdir()
    (folder / "model").symlink_to(tiny_folder)
    return folder


NAMES = [
    *("image noise psf mask nan zeros small wide cube negative even integers no_scale".split()),
    *("bad_scale table cut_off text empty directory none".split()),
]
FILES = st.sampled_from([f"{name}.fits" for name in NAMES] + ["image.fits[0]", "image.fits[SCI]"])
NUMBERS = st.sampled_from("0 0.02 -1 1e9 nan inf -inf 1e400 0,1 1;2 0x10 ½ one".split() + [""])
LENS_TEXTS = st.sampled_from(
    ["theta_E=1", "theta_E=1,e1=0.1", "theta_E=1,e1=2", "theta_E=nan", "e1=0", "", "theta_E", "=1"]
    + ["theta_E=1,theta_E=2", "theta_E=1,slope=1.1", "theta_E=1,slope=9", "theta_E=1e999", "1.2"]
)
OPTIONS = {
    "--mask": FILES,
    "--pixel-scale": NUMBERS,
    "--crop-centre": st.sampled_from(["8,8", "20.5,20.5", "500,5", "a,b", "8", "nan,8", "1e99,1"]),
    "--psf-oversampling": NUMBERS,
    "--mask-marks": st.sampled_from(["used", "masked", "both"]),
    "--model": st.sampled_from(["model", "rim_euclid65", "lens_cnn_euclid64", "image.fits", "."]),
    "--output": st.sampled_from(["out", "image.fits", "image.fits/out", "model"]),
}
FLAGS = (
    "--mask-missing",
    "--own-pixels",
    "--allow-hidden-arcs",
    "--overwrite",
    "--linear",
    "--what",
)
GOOD = {"--psf": "psf.fits", "--noise": "noise.fits", "--model": "model", "--output": "out"}


@st.composite
def command_lines(draw) -> list[str]:
    """Return a command line with up to five of its options replaced, and some flags more."""
    command = draw(st.sampled_from(["reconstruct", "fit"]))
    lens = "--lens" if command == "reconstruct" else "--start"
    good = GOOD | {lens: "theta_E=1"}
    forms = OPTIONS | {lens: LENS_TEXTS, "--noise": FILES | NUMBERS, "--psf": FILES | NUMBERS}
    names = draw(st.sets(st.sampled_from(sorted(forms)), max_size=5))
    chosen = good | {name: draw(forms[name]) for name in sorted(names)}
    image = draw(st.just("image.fits") | FILES)
    flags = draw(st.sets(st.sampled_from(FLAGS), max_size=2))
    return [command, image, *(f"{name}={text}" for name, text in chosen.items()), *sorted(flags)]


class TakenError(Exception):
    """The command line was taken: a model would be loaded now."""


def throw_at_the_command(line: list[str]) -> None:
    """Run a command line up to the point where a model is loaded."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = cli.main(line)
        except SystemExit as exit_:
            code = exit_.code
        except TakenError:
            return
    assert code == 2, line
    lines = [each for each in errors.getvalue().splitlines() if not each.startswith("warning: ")]
    assert lines and all(each.startswith("error: ") for each in lines), errors.getvalue()


@pytest.fixture
def no_models(folder, monkeypatch):
    """Stand in the folder of the files; what would load a model raises TakenError."""

    def taken(*arguments, **options):
        raise TakenError

    for module in (reconstruct, fit):
        monkeypatch.setattr(module, "load", taken)
    monkeypatch.setattr(reconstruct, "linear_inversion", taken)
    monkeypatch.chdir(folder)


@given(command_lines())
@settings(max_examples=QUICK_EXAMPLES, **QUIET)
def test_command_lines(no_models, line):
    throw_at_the_command(line)


@pytest.mark.slow
@given(command_lines())
@settings(max_examples=SLOW_EXAMPLES, **QUIET)
@pytest.mark.timeout(3600)
def test_many_command_lines(no_models, line):
    throw_at_the_command(line)
