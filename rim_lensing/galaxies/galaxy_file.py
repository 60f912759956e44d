"""The one file format of galaxy stamps: HDF5, split into training and validation galaxies.

Layout, version 1: groups `train` and `validation`, each with the data sets `stamps` (n, side,
side) float16, `name` (n,) and `kind` (n,) strings. Attributes of the file: `format`, `version`,
`side`, `seed`, `made_by`.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from rim_lensing.files.hdf5_files import FileHeldError, open_hdf5
from rim_lensing.files.whole_files import whole_file
from rim_lensing.galaxies.galaxy_sources import canonical_object_name

FORMAT = "rim_lensing galaxies"
VERSION = 1
SPLITS = ("train", "validation")
STEP = 2048  # stamps are rounded to 1/2048: finer than any data here, and it compresses


@dataclass(frozen=True)
class Galaxies:
    """Stamps of galaxies and where they come from.

    Attributes:
        stamps: (n, side, side) float32 or float16, non-negative, peak 1.
        names: n names, one per stamp.
        kinds: n names of origin, e.g. the folders the stamps were read from.
    """

    stamps: np.ndarray
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the three agree."""
        stamps = self.stamps
        if stamps.ndim != 3 or stamps.shape[1] != stamps.shape[2]:
            raise ValueError(f"stamps must have shape (n, side, side). Received: {stamps.shape}")
        if not len(stamps) == len(self.names) == len(self.kinds):
            raise ValueError(
                "stamps, names and kinds must be equally many. Received: "
                f"{len(stamps)}, {len(self.names)} and {len(self.kinds)}"
            )

    def __len__(self) -> int:
        """Number of galaxies."""
        return len(self.names)

    @property
    def side(self) -> int:
        """Pixels on a side of each stamp."""
        return self.stamps.shape[1]


def write_galaxy_file(
    path: str | Path,
    train: Galaxies,
    validation: Galaxies,
    seed: int,
    made_by: str,
    overwrite: bool = False,
    rounded: bool = True,
) -> Path:
    """Write both splits to `path`, whole or not at all.

    The file is written under a temporary name in the same folder and then renamed: an interrupted
    run leaves nothing.

    Args:
        path: the HDF5 file to write.
        train, validation: the two splits; stamps of one side, values in 0 to 1. Either may be
            empty, not both.
        seed: what decided the split, recorded in the file.
        made_by: how the file was made, e.g. the command line, recorded in the file.
        overwrite: replace an existing file.
        rounded: to 1 / STEP; outskirts that fade below that would end in terraces.

    Returns:
        `path`.

    Raises:
        FileExistsError: `path` exists and `overwrite` is not set.
        FileNotFoundError: the folder of `path` does not exist.
        ValueError: the stamps are not what the format holds, or an object is in both splits.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder for the galaxy file: {path.parent}")
    _check_splits(train, validation)
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, "side": train.side, "seed": seed})
        file.attrs["made_by"] = made_by
        for split, galaxies in zip(SPLITS, (train, validation), strict=True):
            _write_split(file.create_group(split), galaxies, rounded)
    return path


def read_galaxies(path: str | Path, split: str = "train", dtype: str = "float32") -> Galaxies:
    """The galaxies of one split of the file `path`.

    Args:
        path: a file that `write_galaxy_file` wrote.
        split: "train" or "validation".
        dtype: "float32" or "float16" (half the memory) for the stamps.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `split` or `dtype` is unknown, or the file is not a sound galaxy file; the
        message says why.
    """
    path = Path(path)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}. Received: {split!r}")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16. Received: {dtype!r}")
    if not path.is_file():
        raise FileNotFoundError(f"no such galaxy file: {path}")
    try:
        with open_hdf5(path) as file:
            _check_attributes(file, path)
            group = file[split]
            stamps = group["stamps"][:].astype(dtype, copy=False)
            names = tuple(group["name"].asstr()[:])
            kinds = tuple(group["kind"].asstr()[:])
    except KeyError as error:
        raise ValueError(f"{path} is an incomplete galaxy file, {split} lacks: {error}") from error
    except FileHeldError:
        raise
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file, or is damaged: {error}") from error
    try:
        galaxies = Galaxies(stamps, names, kinds)
    except ValueError as error:
        raise ValueError(f"{path}, {split}: {error}") from error
    if not np.isfinite(stamps).all():
        raise ValueError(f"{path}, {split}: some stamps hold values that are not finite")
    return galaxies


def _check_splits(train: Galaxies, validation: Galaxies) -> None:
    if len(train) + len(validation) == 0:
        raise ValueError("there is no galaxy to write: train and validation are both empty")
    if train.side != validation.side:
        raise ValueError(
            "train and validation must have stamps of one side. "
            f"Received: {train.side} and {validation.side}"
        )
    for split, galaxies in zip(SPLITS, (train, validation), strict=True):
        values = galaxies.stamps
        if values.size and not (np.isfinite(values).all() and values.min() >= 0):
            raise ValueError(f"{split} stamps must be finite and non-negative")
        if values.size and values.max() > 1:
            raise ValueError(f"{split} stamps must not exceed 1. Received: {values.max():g}")
    objects = [set(map(canonical_object_name, part.names)) for part in (train, validation)]
    shared = sorted(set.intersection(*objects))
    if shared:
        raise ValueError(
            "no galaxy may be in both splits. "
            f"Received: {len(shared)} that are, such as {shared[0]}"
        )


def _write_split(group: h5py.Group, galaxies: Galaxies, rounded: bool) -> None:
    stamps = np.asarray(galaxies.stamps, np.float32)
    if rounded:
        stamps = np.round(stamps * STEP) / STEP
    chunks = (min(16, len(stamps)), galaxies.side, galaxies.side) if len(stamps) else None
    options = {"compression": "gzip", "compression_opts": 6, "shuffle": True} if chunks else {}
    group.create_dataset("stamps", data=stamps.astype(np.float16), chunks=chunks, **options)
    text = h5py.string_dtype()
    group.create_dataset("name", data=np.array(galaxies.names, dtype=object), dtype=text)
    group.create_dataset("kind", data=np.array(galaxies.kinds, dtype=object), dtype=text)


def _check_attributes(file: h5py.File, path: Path) -> None:
    found = file.attrs.get("format")
    if found != FORMAT:
        raise ValueError(
            f"{path} is not a galaxy file: attribute format must be {FORMAT!r}. Received: {found!r}"
        )
    version = int(file.attrs.get("version", 0))
    if version != VERSION:
        raise ValueError(f"{path} has version {version}; this package reads version {VERSION}")
