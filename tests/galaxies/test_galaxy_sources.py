"""Readers: every format is read and recognised; the unreadable is skipped, counted, named."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from rim_lensing.galaxies.galaxy_sources import (
    canonical_object_name,
    open_galaxies,
    read_catalogue,
)


def picture(path, shape=(40, 40, 3), value=100):
    """Write a picture of one value to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def images(count, shape, start=0.0):
    """`count` different float32 images."""
    return [
        np.full(shape, start + i, np.float32) + np.eye(*shape, dtype=np.float32)
        for i in range(count)
    ]


def write_catalogue(folder, prefix=""):
    """A two-galaxy catalogue in GalSim's format: its path, and the galaxies' images."""
    folder.mkdir(parents=True, exist_ok=True)
    galaxies = images(2, (50, 44))
    units = [fits.PrimaryHDU(galaxies[0]), fits.ImageHDU(galaxies[1])]
    fits.HDUList(units).writeto(folder / f"{prefix}images.fits")
    columns = [
        fits.Column("IDENT", "J", array=[101, 102]),
        fits.Column("RA", "D", unit="deg", array=[150.1, 150.2]),
        fits.Column("GAL_FILENAME", "20A", array=["images.fits "] * 2),
        fits.Column("GAL_HDU", "I", array=[0, 1]),
        fits.Column("PSF_FILENAME", "20A", array=["not_downloaded.fits"] * 2),
    ]
    path = folder / "catalog.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path, galaxies


def test_pictures_are_found_recursively_in_grey_and_colour(tmp_path):
    picture(tmp_path / "a.png", (30, 40), 7)
    picture(tmp_path / "deep" / "er" / "b.JPEG", (30, 40, 3), 200)
    (tmp_path / "notes.txt").write_text("not a galaxy")
    first, second = open_galaxies(tmp_path)
    assert (first.name, first.image.shape) == ("a", (30, 40))
    assert second.image.shape == (30, 40, 3)
    np.testing.assert_allclose(first.image, 7)
    np.testing.assert_allclose(second.image, 200, atol=1)


def test_a_transparent_picture_lies_on_black(tmp_path):
    pixels = np.full((30, 30, 4), 255, np.uint8)
    pixels[:, :15, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (galaxy,) = open_galaxies(tmp_path)
    assert galaxy.image[:, :15].max() == 0
    assert galaxy.image[:, 15:].min() == 255


def test_unreadable_pictures_are_skipped_counted_and_named(tmp_path):
    picture(tmp_path / "good.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.jpg").read_bytes()[:300])
    (tmp_path / "nothing.png").write_bytes(b"")
    reader = open_galaxies(tmp_path)
    assert len(reader) == 4
    for _ in range(2):  # a second walk does not count twice
        assert [galaxy.name for galaxy in reader] == ["good"]
        assert len(reader.skipped) == 3
    assert "broken.jpg" in reader.skipped[0][0]
    assert "broken.jpg" in reader.skipped[0][1]


def test_a_picture_too_large_to_open_is_skipped(tmp_path, monkeypatch):
    picture(tmp_path / "good.jpg")
    picture(tmp_path / "huge.jpg")
    real = Image.open

    def refuse_huge(path, *arguments):
        if "huge" in str(path):
            raise Image.DecompressionBombError("exceeds limit")
        return real(path, *arguments)

    monkeypatch.setattr(Image, "open", refuse_huge)
    reader = open_galaxies(tmp_path)
    assert [galaxy.name for galaxy in reader] == ["good"]
    assert "exceeds limit" in reader.skipped[0][1]


def test_an_empty_or_missing_folder_is_an_error_that_names_it(tmp_path):
    empty = tmp_path / "empty_folder"
    empty.mkdir()
    with pytest.raises(ValueError, match="empty_folder"):
        open_galaxies(empty)
    with pytest.raises(FileNotFoundError, match="no_such"):
        open_galaxies(tmp_path / "no_such")


@pytest.mark.parametrize("prefix", ["", "cosmos_"])
def test_a_galsim_catalogue(tmp_path, prefix):
    path, images = write_catalogue(tmp_path / "cosmos", prefix)
    for reader in (read_catalogue(path), open_galaxies(tmp_path), open_galaxies(path)):
        galaxies = list(reader)
        assert reader.skipped == []
        assert [galaxy.name for galaxy in galaxies] == ["catalog:101", "catalog:102"]
        assert {galaxy.kind for galaxy in galaxies} == {"cosmos"}
        for galaxy, image in zip(galaxies, images, strict=True):
            np.testing.assert_array_equal(galaxy.image, image)


def test_one_galaxy_in_two_bands_has_one_object_name(tmp_path):
    write_catalogue(tmp_path / "f606w")
    write_catalogue(tmp_path / "f814w")
    names = [galaxy.object_name for galaxy in open_galaxies(tmp_path)]
    assert len(names) == 4
    assert len(set(names)) == 2


def test_a_catalogue_without_its_images_names_them(tmp_path):
    path, _ = write_catalogue(tmp_path)
    (tmp_path / "images.fits").unlink()
    reader = read_catalogue(path)
    assert list(reader) == []
    assert [name for name, _ in reader.skipped] == ["catalog:101", "catalog:102"]
    assert "images.fits" in reader.skipped[0][1]


def test_a_missing_hdu_skips_one_galaxy_only(tmp_path):
    path, galaxies = write_catalogue(tmp_path)
    fits.PrimaryHDU(galaxies[0]).writeto(tmp_path / "images.fits", overwrite=True)
    reader = read_catalogue(path)
    assert [galaxy.name for galaxy in reader] == ["catalog:101"]
    assert "HDU 1" in reader.skipped[0][1]


def test_a_table_that_is_no_catalogue_names_the_missing_column(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("IDENT", "J", array=[1])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    with pytest.raises(ValueError, match="t.fits.*GAL_FILENAME, GAL_HDU"):
        read_catalogue(tmp_path / "t.fits")


def test_single_fits_stamps_plain_and_compressed(tmp_path):
    one, two = images(2, (33, 35))
    fits.PrimaryHDU(one).writeto(tmp_path / "one.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(two)]).writeto(tmp_path / "two.fits.gz")
    (tmp_path / "bad.fits").write_text("SIMPLE, but not enough")
    reader = open_galaxies(tmp_path)
    found = {galaxy.name: galaxy.image for galaxy in reader}
    np.testing.assert_array_equal(found["one"], one)
    np.testing.assert_array_equal(found["two"], two)
    assert len(reader.skipped) == 1
    assert "bad.fits" in reader.skipped[0][1]


def test_bulge_and_disk_of_one_number_are_one_galaxy(tmp_path):
    bulges, disks = images(2, (30, 30)), images(2, (30, 30), start=10.0)
    for i in range(2):
        for part, plane in (("bulge", bulges[i]), ("disk", disks[i])):
            folder = tmp_path / "hst" / f"{part}_f8"
            folder.mkdir(parents=True, exist_ok=True)
            fits.PrimaryHDU(plane).writeto(folder / f"f814w_{part}{i}.fits.gz")
    fits.PrimaryHDU(bulges[0]).writeto(tmp_path / "hst" / "bulge_f8" / "f814w_bulge7.fits.gz")
    reader = open_galaxies(tmp_path / "hst")
    found = list(reader)
    assert [galaxy.name for galaxy in found] == ["f814w_galaxy0", "f814w_galaxy1"]
    assert {galaxy.kind for galaxy in found} == {"hst"}
    assert {galaxy.kind for galaxy in open_galaxies(tmp_path)} == {"hst"}
    for i in range(2):
        np.testing.assert_array_equal(found[i].image, bulges[i] + disks[i])
    assert "bulge7" in reader.skipped[0][1]


def test_parts_of_two_galaxies_are_no_galaxy(tmp_path):
    bulges, disks = images(2, (30, 30)), images(2, (30, 30), start=10.0)
    for i, folder in enumerate(("a", "b")):
        for part, plane in (("bulge", bulges[i]), ("disk", disks[i])):
            path = tmp_path / folder / part / f"{part}_7.fits"
            path.parent.mkdir(parents=True)
            fits.PrimaryHDU(plane).writeto(path)
    found = list(open_galaxies(tmp_path))
    for galaxy, bulge, disk in zip(found, bulges, disks, strict=True):
        np.testing.assert_array_equal(galaxy.image, bulge + disk)
    for folder in ("a", "b"):
        (tmp_path / folder / "bulge" / "bulge_7.fits").unlink()
    reader = open_galaxies(tmp_path)
    assert list(reader) == [] and len(reader.skipped) == 2


def test_a_mixed_folder_is_read_whole_and_its_subfolders_are_kinds(tmp_path):
    write_catalogue(tmp_path / "cosmos")
    picture(tmp_path / "zoo" / "a.jpg")
    picture(tmp_path / "efigi" / "b.jpg")
    kinds = [galaxy.kind for galaxy in open_galaxies(tmp_path)]
    assert sorted(kinds) == ["cosmos", "cosmos", "efigi", "zoo"]


@pytest.mark.parametrize(
    "first, second",
    [
        ("m51-vasey.png", "M051.jpg"),
        ("n4394-dss.png", "NGC4394.png"),
        ("PGC0004394.jpg", "pgc4394.png"),
        ("PGC0004394_i.jpg", "PGC0004394_g.jpg"),
        ("obj_12_f814w.fits", "obj_12_f606w.fits.gz"),
        ("sloan-3_a-0_1.jpg", "sloan_singleband-3_a-0_1.jpg"),
    ],
)
def test_names_of_one_object(first, second):
    assert canonical_object_name(first) == canonical_object_name(second)


@pytest.mark.parametrize(
    "first, second",
    [
        ("100008.jpg", "100023.jpg"),
        ("gama-1_a-0_1.jpg", "gama-1_a-0_2.jpg"),
        ("n45.png", "n4535.png"),
        ("m31.png", "n31.png"),
    ],
)
def test_names_of_different_objects(first, second):
    assert canonical_object_name(first) != canonical_object_name(second)
