"""Readers of galaxy images: pictures, GalSim catalogues, FITS stamps, bulge + disk pairs.

`open_galaxies(path)` looks at what a path holds and returns one `GalaxyReader` that walks through
all of it. A galaxy that cannot be read is skipped, counted and named in `reader.skipped`; it never
ends the walk.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rim_lensing.files.tolerant_fits import open_fits, pixels

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz")
_PAIR = re.compile(r"^(?P<before>.*)(?P<part>bulge|disk)(?P<after>[_-]?\d+.*)$", re.IGNORECASE)
# What telescopes and filters add to a file's name; the object stays the same.
_BAND = re.compile(
    r"[-_ ]?(f\d{3,4}[wml][p]?|sdss\d?|dss\d?|(?<=_)[ugrizyjhk]|[ugrizyjhk]band)$", re.IGNORECASE
)


class UnreadableGalaxyError(ValueError):
    """One galaxy's file could not be read; the message names the file and says what is wrong."""


@dataclass(frozen=True)
class GalaxyImage:
    """One galaxy as it comes from disk.

    Attributes:
        name: unique within its reader, for messages.
        image: (y, x) or (y, x, 3) array, in the file's own unit.
        kind: where it comes from, e.g. the folder's name.
        object_name: the galaxy's name without survey, band or version: equal names are the same
            galaxy.
        white: of a picture, the largest value of its format; None of linear flux.
    """

    name: str
    image: np.ndarray
    kind: str
    object_name: str
    white: float | None = None


@dataclass
class GalaxyReader:
    """Iterates over the galaxies of one or more places; `len()` is how many it will try to read.

    Attributes:
        loaders: one function per galaxy, each paired with the name to report if it fails.
        skipped: (name, why) of what the iteration so far could not read.
    """

    loaders: list[tuple[str, Callable[[], GalaxyImage]]]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of galaxies, readable or not."""
        return len(self.loaders)

    def __iter__(self) -> Iterator[GalaxyImage]:
        """Yield every readable galaxy in order; start `skipped` afresh."""
        self.skipped.clear()
        for name, load in self.loaders:
            try:
                yield load()
            except UnreadableGalaxyError as error:
                self.skipped.append((name, str(error)))


def open_galaxies(path: str | Path) -> GalaxyReader:
    """A reader for everything under `path`, whatever mixture of formats that is.

    `path` is a picture, a FITS stamp, a GalSim real-galaxy catalogue, or a folder, searched
    recursively. In a folder that holds a catalogue only the catalogue's galaxies are read from
    FITS files: the rest are its images and PSFs.

    Raises:
        FileNotFoundError: `path` does not exist.
        ValueError: there is nothing under `path` that could be a galaxy.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    fits_files = [item for item in files if item.name.lower().endswith(FITS_SUFFIXES)]
    pictures = [item for item in files if item.name.lower().endswith(PICTURE_SUFFIXES)]
    catalogues = [item for item in fits_files if _is_catalogue(item)]
    beside_catalogues = {item.parent for item in catalogues}
    stamps = [item for item in fits_files if item.parent not in beside_catalogues]
    readers = [read_catalogue(item, _kind(item, path)) for item in catalogues]
    readers += [_read_fits_files(stamps, path), _read_pictures(pictures, path)]
    loaders = [loader for reader in readers for loader in reader.loaders]
    if not loaders:
        known = ", ".join(PICTURE_SUFFIXES + FITS_SUFFIXES)
        raise ValueError(
            f"{path} holds no galaxy images: expected files ending in {known}. "
            f"Received: {len(files)} files"
        )
    return GalaxyReader(loaders)


def read_catalogue(path: str | Path, kind: str | None = None) -> GalaxyReader:
    """The galaxies of a GalSim-format real-galaxy catalogue (COSMOS, GREAT3, AEGIS, or one's own).

    The catalogue is a FITS binary table with one row per galaxy. Columns (names in any case):
    IDENT, GAL_FILENAME and GAL_HDU are required, and all that is read: PSF and pixel scale do not
    matter to a stamp. File names are relative to the catalogue's folder; HDU numbers count from 0,
    the primary.

    Raises:
        FileNotFoundError: `path` does not exist.
        ValueError: `path` is not such a catalogue; the message says which column is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such catalogue: {path}")
    rows = _catalogue_rows(path)
    kind = kind or path.parent.name
    return GalaxyReader(
        [
            (f"{path.stem}:{row['IDENT']}", lambda row=row: _load_catalogue_row(path, row, kind))
            for row in rows
        ]
    )


def canonical_object_name(name: str) -> str:
    """`name` without folder, suffixes, band and leading zeros: equal for images of one galaxy."""
    stem = Path(name).name.lower()
    for suffix in FITS_SUFFIXES[::-1] + PICTURE_SUFFIXES:
        stem = stem.removesuffix(suffix)
    stem = re.sub(r"^sloan_singleband-", "sloan-", stem)
    stem = _BAND.sub("", stem)
    stem = re.sub(r"^(m|n|ngc|ic|ugc|u|pgc|p)0*(\d+)(?![\d_])[a-z-].*$", r"\1\2", stem)
    return re.sub(r"^(m|n|ngc|ic|ugc|u|pgc|p)0*(\d+)$", r"\1\2", stem).replace("ngc", "n")


def _kind(item: Path, root: Path) -> str:
    """The folder directly below `root` that holds `item`, or `root`'s own name."""
    if root.is_file():
        return root.parent.name
    parts = item.relative_to(root).parts
    return parts[0] if len(parts) > 1 else root.resolve().name


def _read_pictures(pictures: list[Path], root: Path) -> GalaxyReader:
    return GalaxyReader(
        [(str(item), lambda item=item: _load_picture(item, _kind(item, root))) for item in pictures]
    )


def _load_picture(path: Path, kind: str) -> GalaxyImage:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
                picture = picture.convert("RGBA")
                black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
                picture = Image.alpha_composite(black, picture)
            grey = picture.mode in ("1", "L", "I", "F", "I;16")
            white = 65535.0 if picture.mode in ("I", "I;16") else 255.0
            image = np.asarray(picture if grey else picture.convert("RGB"), dtype=np.float32)
    # Pillow raises the first three for damaged files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableGalaxyError(f"cannot read picture {path}: {error}") from error
    return GalaxyImage(path.stem, image, kind, canonical_object_name(path.name), white)


def _read_fits_files(files: list[Path], root: Path) -> GalaxyReader:
    pairs: dict[str, list[Path]] = {}
    for item in files:
        pairs.setdefault(_pair_key(item), []).append(item)
    loaders = []
    for key, members in pairs.items():
        name = Path(key).name
        # Bulges and disks lie in folders of their own: the pair belongs to what holds both.
        parent = Path(os.path.commonpath([item.parent for item in members]))
        kind = _kind(parent / name, root)
        loaders.append((name, lambda m=members, n=name, k=kind: _load_fits_stamp(m, n, k)))
    return GalaxyReader(loaders)


def _pair_key(item: Path) -> str:
    """The path of the galaxy that a bulge and a disk add up to; of another file, its own path."""
    match = _PAIR.match(item.name)
    if not match:
        return str(item)
    folder = re.sub("bulge|disk", "", str(item.parent), flags=re.IGNORECASE)
    return str(Path(folder) / f"{match['before']}galaxy{match['after']}")


def _load_fits_stamp(members: list[Path], name: str, kind: str) -> GalaxyImage:
    parts = [_PAIR.match(item.name) for item in members]
    if parts[0] and sorted(part["part"].lower() for part in parts) != ["bulge", "disk"]:
        names = ", ".join(item.name for item in members)
        raise UnreadableGalaxyError(
            f"a bulge and a disk file of the same number are needed for {name}. Received: {names}"
        )
    images = [_first_image(item) for item in members]
    if len({image.shape for image in images}) > 1:
        shapes = " and ".join(str(image.shape) for image in images)
        raise UnreadableGalaxyError(
            f"bulge and disk of {name} must have the same shape. Received: {shapes}"
        )
    return GalaxyImage(_stem(name), np.sum(images, axis=0), kind, canonical_object_name(name))


def _stem(name: str) -> str:
    return re.sub(r"\.fits?(\.gz)?$", "", name, flags=re.IGNORECASE)


def _first_image(path: Path, hdu: int | None = None) -> np.ndarray:
    """The image of one HDU, or of the first one with an image, as float32 (y, x)."""
    try:
        units, unreadable = open_fits(path)
        with units:
            for index in range(len(units)) if hdu is None else [hdu]:
                unit = units[index]
                if unit.is_image and unit.header.get("NAXIS", 0) >= 2:
                    data = pixels(unit, f"{path}[{index}]", unreadable[index])
                    image = np.squeeze(data)
                    if image.ndim != 2:
                        raise UnreadableGalaxyError(
                            f"{path}: expected an image with 2 axes. Received: shape {data.shape}"
                        )
                    return image.astype(np.float32)
    except (OSError, IndexError, EOFError, TypeError, ValueError) as error:
        if isinstance(error, UnreadableGalaxyError):
            raise
        raise UnreadableGalaxyError(
            f"cannot read {path}" + (f" HDU {hdu}" if hdu is not None else "") + f": {error}"
        ) from error
    raise UnreadableGalaxyError(
        f"{path} holds no image" + (f" in HDU {hdu}" if hdu is not None else "")
    )


def _is_catalogue(path: Path) -> bool:
    """Whether `path` is a table with a GAL_FILENAME column."""
    try:
        units, _ = open_fits(path)
        with units:
            if units[0].header.get("NAXIS", 0) != 0 or len(units) < 2 or units[1].is_image:
                return False
            return "GAL_FILENAME" in {name.upper() for name in units[1].columns.names}
    except (OSError, IndexError, EOFError, TypeError, ValueError):
        return False  # reading it as a stamp will name it among the skipped


def _catalogue_rows(path: Path) -> list[dict]:
    try:
        units, _ = open_fits(path)
        with units:
            table = units[1].data if len(units) > 1 and not units[1].is_image else None
            if table is None:
                raise ValueError(
                    f"{path} is no galaxy catalogue: its first extension must be a table"
                )
            columns = {name.upper(): table[name] for name in table.columns.names}
    except OSError as error:
        raise ValueError(f"{path} is not a readable FITS file: {error}") from error
    missing = [name for name in ("IDENT", "GAL_FILENAME", "GAL_HDU") if name not in columns]
    if missing:
        raise ValueError(
            f"{path} is no galaxy catalogue: column {', '.join(missing)} is missing. "
            f"Received: {', '.join(columns)}"
        )
    return [{name: values[row] for name, values in columns.items()} for row in range(len(table))]


def _load_catalogue_row(path: Path, row: dict, kind: str) -> GalaxyImage:
    image = _first_image(_beside(path, row["GAL_FILENAME"]), int(row["GAL_HDU"]))
    ident = str(row["IDENT"]).strip()
    return GalaxyImage(
        name=f"{path.stem}:{ident}",
        image=image,
        kind=kind,
        object_name=f"ident {ident}",
    )


def _beside(catalogue: Path, filename: str) -> Path:
    """The file that `catalogue` names: beside it, or the only one there with a prefix to it."""
    filename = str(filename).strip()
    exact = catalogue.parent / filename
    if exact.is_file():
        return exact
    prefixed = [item for item in catalogue.parent.glob(f"*{filename}") if item.is_file()]
    if len(prefixed) == 1:
        return prefixed[0]
    raise UnreadableGalaxyError(f"{catalogue} names {filename}, which is not in its folder")
