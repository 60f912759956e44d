"""Pixels without data are NaN, and optional cards stop nothing: real files, written by hand."""

import bz2
import gzip
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import rim_lensing
from rim_lensing.files.tolerant_fits import NULL_MASK, open_fits
from rim_lensing.galaxies.galaxy_sources import open_galaxies

BLOCK = 2880
RAMP = np.arange(12).reshape(3, 4)
SCALE = 0.1 / 3600
SKY = {
    **{"CTYPE1": "'RA---TAN'", "CTYPE2": "'DEC--TAN'", "CRVAL1": "150.0", "CRVAL2": "2.0"},
    **{"CRPIX1": "2.0", "CRPIX2": "2.0", "CDELT1": f"{-SCALE:.9E}", "CDELT2": f"{SCALE:.9E}"},
}


def card(keyword: str, value: str) -> bytes:
    return f"{keyword:8}= {value}".encode("latin-1")[:80].ljust(80)


def blocks(content: bytes, padding: bytes) -> bytes:
    return content + padding * (-len(content) % BLOCK)


def raw_file(path: Path, array: np.ndarray, cards: dict[str, str] | list[bytes] = ()) -> Path:
    """Write a primary image as it is in memory, with cards as they are given."""
    array = array.astype(array.dtype.newbyteorder(">"))
    bits = 8 * array.dtype.itemsize * (-1 if array.dtype.kind == "f" else 1)
    header = [card("SIMPLE", "T".rjust(20)), card("BITPIX", str(bits).rjust(20))]
    header += [card("NAXIS", "2".rjust(20))]
    header += [
        card(f"NAXIS{i}", str(side).rjust(20)) for i, side in enumerate(array.shape[::-1], 1)
    ]
    if isinstance(cards, dict):
        cards = [card(keyword, value) for keyword, value in cards.items()]
    header += [*cards, b"END".ljust(80)]
    content = blocks(b"".join(header), b" ") + blocks(array.tobytes(), b"\0")
    path.write_bytes(content)
    return path


INTEGERS = {
    "signed": ("int16", -32768, {}),
    "zero is blank": ("int16", 0, {}),
    "unsigned 16": ("int16", -32768, {"BZERO": "32768"}),
    "unsigned 16, blank in the middle": ("int16", 5, {"BZERO": "32768.0", "BSCALE": "1.0"}),
    "unsigned 32": ("int32", -(2**31), {"BZERO": "2147483648"}),
    "unsigned 64": ("int64", -(2**63), {"BZERO": "9223372036854775808"}),
    "signed 8": ("uint8", 255, {"BZERO": "-128"}),
    "bytes": ("uint8", 0, {}),
    "scaled": ("int32", -1, {"BSCALE": "0.5", "BZERO": "10.0"}),
    "scaled, unsigned": ("int16", 32767, {"BSCALE": "2.0", "BZERO": "32768"}),
    "signed 64": ("int64", 2**53 + 1, {}),
    "a blank written as a float": ("int16", -999, {}),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_the_blank_of_integers_is_nan(tmp_path, name):
    dtype, blank, scaling = INTEGERS[name]
    array = (RAMP + 1).astype(dtype)
    array[array == blank] = 50
    array[1, 2] = blank
    told = f"{blank}.0" if "float" in name else f"{blank}"
    image = rim_lensing.read_image(raw_file(tmp_path / "a.fits", array, scaling | {"BLANK": told}))
    scale, zero = (float(scaling.get(key, d)) for key, d in (("BSCALE", 1), ("BZERO", 0)))
    expected = np.where(array == blank, np.nan, array.astype("float64") * scale + zero)
    assert np.isnan(expected).sum() == 1
    np.testing.assert_array_equal(image.array, expected)


def test_integers_next_to_a_large_blank_are_data(tmp_path):
    array = np.array([[2**53 + 1, 2**53 + 2, 2**53]], "int64")
    path = raw_file(tmp_path / "a.fits", array, {"BLANK": str(2**53 + 1)})
    np.testing.assert_array_equal(np.isnan(rim_lensing.read_image(path).array), [[1, 0, 0]])


def test_a_blank_that_is_meant_after_scaling(tmp_path):
    """65535 is none of 16 signed bits, which hold 32767 for it."""
    array = np.array([[32767, -32768, 0]], "int16")
    path = raw_file(tmp_path / "a.fits", array, {"BZERO": "32768", "BLANK": "65535"})
    with pytest.warns(
        UserWarning, match="BLANK = 65535 .* no integer that its pixels can hold.*the 1 pixels"
    ):
        image = rim_lensing.read_image(path)
    np.testing.assert_array_equal(image.array, [[np.nan, 0, 32768]])


@pytest.mark.parametrize("keyword", ["BLANK", "BAD_DATA", "MISSVAL", "NULLVAL", "BADVAL"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_value_that_a_card_calls_missing_is_nan_in_floats(tmp_path, keyword, dtype):
    array = np.array([[1.0, -1.6375e30, np.nan, 0.0]], dtype)
    path = raw_file(tmp_path / "a.fits", array, {keyword: "-1.6375E+30"})
    with pytest.warns(UserWarning, match=rf"1 pixels of .*a.fits.* the value of {keyword}"):
        image = rim_lensing.read_image(path)
    np.testing.assert_array_equal(image.array, [[1, np.nan, np.nan, 0]])


@pytest.mark.filterwarnings("error")
def test_floats_without_such_pixels_are_as_they_are(tmp_path):
    array = np.array([[1.0, np.inf, np.nan, -0.0]], "float32")
    path = raw_file(tmp_path / "a.fits", array, {"BLANK": "-32768", "BSCALE": "2.0"})
    np.testing.assert_array_equal(rim_lensing.read_image(path).array, 2 * array)


def compressed(path, array, algorithm, quantize=16, **cards):
    """Write an image in tiles, as astropy and fpack do."""
    unit = fits.CompImageHDU(array, compression_type=algorithm, quantize_level=quantize)
    unit.header.update(cards)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path)
    return path


@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "GZIP_2"])
def test_nan_of_quantised_floats(tmp_path, algorithm):
    """They are ZBLANK in the file."""
    array = np.random.default_rng(0).normal(0, 1, (64, 64)).astype("float32")
    array[3, 4:9] = np.nan
    path = compressed(tmp_path / "a.fits", array, algorithm)
    assert fits.open(path, disable_image_compression=True)[1].header["ZBLANK"] == -(2**31)
    image = rim_lensing.read_image(path).array
    np.testing.assert_array_equal(np.isnan(image), np.isnan(array))
    np.testing.assert_allclose(image, array, atol=0.2)


@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("keyword", ["BLANK", "ZBLANK"])
@pytest.mark.parametrize("zero", [0, 32768])
def test_the_blank_of_compressed_integers_is_nan(tmp_path, algorithm, keyword, zero):
    """Rewritten as raw integers with BZERO beside them: astropy's unsigned images have no BLANK."""
    array = np.arange(1, 257, dtype="int16").reshape(16, 16)
    array[5, 5] = 7000
    path = compressed(tmp_path / "a.fits", array, algorithm)
    with fits.open(path, disable_image_compression=True) as file:
        file[1].header[keyword] = 7000
        if zero:
            file[1].header["BZERO"] = zero
        file.writeto(tmp_path / "b.fits")
    expected = np.where(array == 7000, np.nan, array.astype("float64") + zero)
    np.testing.assert_array_equal(rim_lensing.read_image(tmp_path / "b.fits").array, expected)


def with_column(path: Path, column: fits.Column) -> Path:
    """Return a copy of a compressed image with one more column in its table."""
    with fits.open(path, disable_image_compression=True) as file:
        table, header = file[1].data, file[1].header
        columns = [column]
        for old in table.columns:
            array = list(table[old.name]) if "P" in old.format else table[old.name]
            columns.append(fits.Column(old.name, old.format.split("(")[0], array=array))
        unit = fits.BinTableHDU.from_columns(columns)
        unit.header.extend((one for one in header.cards if one.keyword[0] == "Z"), unique=True)
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path.with_name("more.fits"))
    return path.with_name("more.fits")


@pytest.mark.filterwarnings("ignore:Setting default value")
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_column_of_blanks_for_each_tile(tmp_path, dtype):
    array = np.arange(1, 257, dtype=dtype).reshape(16, 16)
    array = np.sin(array) if dtype == "float32" else array
    path = compressed(tmp_path / "a.fits", array, "RICE_1")
    plain = rim_lensing.read_image(path).array
    with fits.open(path, disable_image_compression=True) as file:
        table = file[1].data
        # What the tenth tile's third pixel is in the file.
        blank = np.full(16, 147)
        if dtype == "float32":
            steps = (plain[9, 2] - table["ZZERO"][9]) / table["ZSCALE"][9]
            blank[9] = round(float(steps))
    more = with_column(path, fits.Column("ZBLANK", "1J", array=blank.astype("int32")))
    image = rim_lensing.read_image(more).array
    assert np.isnan(image[9, 2])
    np.testing.assert_array_equal(np.where(np.isnan(image), plain, image), plain)
    if dtype == "int16":
        np.testing.assert_array_equal(np.isnan(image), array == 147)


def test_a_mask_that_cannot_be_read_is_not_passed_over(tmp_path):
    path = compressed(tmp_path / "a.fits", np.ones((16, 16), "int16"), "RICE_1")
    more = with_column(path, fits.Column(NULL_MASK, "1PB", array=[np.zeros(1, "uint8")] * 16))
    with pytest.raises(ValueError, match=NULL_MASK):
        rim_lensing.read_image(more)


def test_damaged_tiles_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 30000, (64, 64)).astype("int16")
    path = compressed(tmp_path / "a.fits", noise, "GZIP_1")
    content = path.read_bytes()
    path.write_bytes(content[:-6000] + b"\xff" * 6000)
    with pytest.raises(ValueError, match="cannot be read, is the file complete"):
        rim_lensing.read_image(path)


def test_a_galaxy_to_train_on_is_read_likewise(tmp_path):
    array = np.ones((20, 20), "int16")
    array[2, 3] = -32768
    cards = {"BZERO": "32768", "BLANK": "-32768", "EXTEND": "N/A"}
    raw_file(tmp_path / "a.fits", array, cards)
    (galaxy,) = open_galaxies(tmp_path)
    assert np.isnan(galaxy.image[2, 3]) and np.isnan(galaxy.image).sum() == 1
    assert galaxy.image[0, 0] == 32769


UNREADABLE = ("NaN", "N/A", "1.2.3", "'no end", "inf", "1e", "\xe9", "'\xe9'")
HARMLESS = (
    *("BUNIT", "OBJECT", "EXTNAME", "EXTVER", "EXTEND", "GROUPS", "PCOUNT", "CHECKSUM", "INHERIT"),
    *("EQUINOX", "RADESYS", "DATE-OBS", "MJD-OBS", "WCSNAME", "EXPTIME", "ZIMAGE", "CRVAL1A"),
)


@pytest.mark.parametrize("value", UNREADABLE)
def test_unreadable_cards_that_do_not_matter_are_passed_over(tmp_path, value):
    cards = SKY | dict.fromkeys(HARMLESS, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = rim_lensing.read_image(raw_file(tmp_path / "a.fits", RAMP.astype("int16"), cards))
    np.testing.assert_array_equal(image.array, RAMP)
    assert image.pixel_scale == pytest.approx(0.1, rel=1e-6)
    assert "BUNIT" not in image.header and image.header["CTYPE1"] == "RA---TAN"


MATTERS = {
    "PIXSCALE": ({}, "PIXSCALE of .* cannot be read, and no card tells the pixel scale", None),
    "BSCALE": ({}, "BSCALE of .* cannot be read: the pixels are taken as if it had none", None),
    "BLANK": ({}, "BLANK of .* cannot be read", None),
    "CRVAL1": (SKY, "left out of what is written: its cards CRVAL1 cannot be read", 0.1),
    "CRPIX2": (SKY, "is left out: its cards CRPIX2 cannot be read", None),
    "CDELT1": (SKY | {"PIXSCALE": "0.2"}, "is left out: its cards CDELT1 cannot", 0.2),
    "CUNIT1": (SKY, "CUNIT1 of .* unit of angle: taken for deg", 0.1),
}


@pytest.mark.parametrize("value", [*UNREADABLE, "'words'"])
@pytest.mark.parametrize("keyword", MATTERS)
def test_unreadable_cards_that_matter_are_warned_of(tmp_path, keyword, value):
    cards, message, scale = MATTERS[keyword]
    path = raw_file(tmp_path / "a.fits", RAMP.astype("int16"), cards | {keyword: value})
    with pytest.warns(UserWarning, match=message):
        image = rim_lensing.read_image(path)
    np.testing.assert_array_equal(image.array, RAMP)
    assert image.pixel_scale == (scale and pytest.approx(scale, rel=1e-6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert rim_lensing.read_image(path, pixel_scale=0.3).pixel_scale == 0.3


def test_a_scale_that_one_keyword_tells_needs_no_other(tmp_path):
    cards = {"PIXSCALE": "N/A", "SECPIX": "0.1"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = raw_file(tmp_path / "a.fits", RAMP.astype("int16"), cards)
        assert rim_lensing.read_image(path).pixel_scale == 0.1


def test_a_later_extension_and_compressed_files_are_read_as_tolerantly(tmp_path):
    units = [fits.PrimaryHDU(), fits.ImageHDU(RAMP, name="A"), fits.ImageHDU(2 * RAMP, name="B")]
    for unit in units[1:]:
        unit.header["MYCARD"] = 1
    content = io.BytesIO()
    fits.HDUList(units).writeto(content)
    damaged = content.getvalue().replace(card("MYCARD", "1".rjust(20)), card("BUNIT", "N/A"))
    assert damaged != content.getvalue()
    for name, pack in (("a.fits", bytes), ("a.fits.gz", gzip.compress), ("a.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(pack(damaged))
        image = rim_lensing.read_image(tmp_path / name, "B")
        np.testing.assert_array_equal(image.array, 2 * RAMP)


@pytest.mark.parametrize("keyword", ["BITPIX", "NAXIS", "NAXIS1", "SIMPLE"])
def test_mandatory_cards_are_named(tmp_path, keyword):
    path = raw_file(tmp_path / "a.fits", RAMP.astype("int16"))
    content = path.read_bytes()
    at = content.index(keyword.ljust(8).encode())
    path.write_bytes(content[:at] + card(keyword, "N/A") + content[at + 80 :])
    with pytest.raises(ValueError, match=f"is not a FITS file: .*card {keyword} cannot be read"):
        rim_lensing.read_image(path)


def test_whole_files_are_not_read_twice(tmp_path, monkeypatch):
    """Only of a damaged file a copy is made."""
    path = raw_file(tmp_path / "a.fits", RAMP.astype("int16"), SKY)
    monkeypatch.setattr("rim_lensing.files.tolerant_fits._without", None)
    file, unreadable = open_fits(path)
    file.close()
    assert not unreadable[0] and not unreadable[7]


KEYWORDS = [
    *HARMLESS,
    *SKY,
    *("BSCALE", "BZERO", "BLANK", "PIXSCALE", "SECPIX", "PIXSCAL1", "PIXSCAL2", "PIXAR_A2"),
    *(
        "CD1_1",
        "CD1_2",
        "CD2_1",
        "CD2_2",
        "PC1_1",
        "PC1_2",
        "CUNIT1",
        "CUNIT2",
        "CROTA2",
        "WCSAXES",
    ),
    *("PV1_1", "PV2_1", "A_ORDER", "B_ORDER", "A_2_0", "LONPOLE", "LATPOLE", "CTYPE3", "VELOSYS"),
    *("CPDIS1", "DP1", "CONTINUE", "HIERARCH", "COMMENT", "", "GCOUNT", "XTENSION", "TFIELDS"),
]
VALUES = st.one_of(
    st.sampled_from(
        [*UNREADABLE, "T", "0", "-1", "1E400", "'RA---SIN'", "'deg'", "''", "/", "(1,2)"]
    ),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.text(st.characters(max_codepoint=255), max_size=70),
)
HEADERS = st.lists(st.tuples(st.sampled_from(KEYWORDS), VALUES), max_size=12)


def read_whatever(folder: Path, cards: list[tuple[str, str]], kind: str, tail: int) -> None:
    """A file is read, or refused in one way; given the pixel scale, its cards refuse nothing."""
    path = folder / "fuzz.fits"
    lines = [card(keyword, value) for keyword, value in [*SKY.items(), *cards][::-1]]
    raw_file(path, RAMP.astype(kind), lines)
    if tail:
        path.write_bytes(path.read_bytes()[:-tail])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = rim_lensing.read_image(path)
            assert image.pixel_scale is None or 0 < image.pixel_scale < np.inf
        except ValueError as error:
            assert "fuzz.fits" in str(error)
        if tail or any(keyword in ("XTENSION", "GROUPS", "END") for keyword, _ in cards):
            return
        image = rim_lensing.read_image(path, pixel_scale=0.1)
        assert image.array.shape == RAMP.shape and image.pixel_scale == 0.1
        image.cutout(3).header.tostring()


FUZZ = {
    "cards": HEADERS,
    "kind": st.sampled_from(["int16", "float32", "uint8"]),
    "tail": st.sampled_from([0, 0, 0, 1, 2000, 2880, 4000]),
}
CHECKS = {"suppress_health_check": list(HealthCheck), "deadline": None, "derandomize": True}


@settings(max_examples=150, **CHECKS)
@given(**FUZZ)
@example(cards=[("CONTINUE", "'x'")], kind="int16", tail=0)
def test_any_header_is_read_or_refused(tmp_path_factory, cards, kind, tail):
    read_whatever(tmp_path_factory.getbasetemp(), cards, kind, tail)


@pytest.mark.slow
@settings(max_examples=10_000, **CHECKS)
@given(**FUZZ)
def test_ten_thousand_headers_are_read_or_refused(tmp_path_factory, cards, kind, tail):
    read_whatever(tmp_path_factory.getbasetemp(), cards, kind, tail)
