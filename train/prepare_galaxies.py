"""Turn folders and catalogues of galaxy images into one file of clean stamps to train on.

python train/prepare_galaxies.py FOLDER [FOLDER ...] --output galaxies.h5
"""

import argparse
import hashlib
import multiprocessing
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rim_lensing.galaxies.framing import FRAME_MARGIN
from rim_lensing.galaxies.galaxy_file import Galaxies, write_galaxy_file
from rim_lensing.galaxies.galaxy_sources import GalaxyImage, open_galaxies
from rim_lensing.galaxies.stamps import (
    OUTSKIRTS_MARGIN,
    NotAGalaxyError,
    Outskirts,
    clean_stamp,
)

# Of the fine structure of two stamps. Pictures of one galaxy from two surveys reach 0.6 to 0.95;
# two different galaxies reach 0.6 once in a hundred thousand pairs, and losing one of them costs
# little.
TWIN_CORRELATION = 0.6


@dataclass(frozen=True)
class _Outcome:
    """What became of one image: a stamp, or the reason why there is none."""

    name: str
    kind: str
    object_name: str
    stamp: np.ndarray | None
    reason: str | None
    picture: np.ndarray | None  # thumbnail of the original, for the contact sheets


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parse(arguments)
    try:
        return _prepare(options)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was written", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"prepare_galaxies: error: {error}", file=sys.stderr)
        return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="prepare_galaxies.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="picture folder, FITS stamps, GalSim catalogue, or a folder of these",
    )
    parser.add_argument("--output", required=True, type=Path, help="the HDF5 file to write")
    parser.add_argument(
        "--side", type=int, default=96, help="pixels on a side of each stamp (default %(default)s)"
    )
    parser.add_argument(
        "--outskirts",
        action="store_true",
        help="in linear flux (pictures: SDSS's asinh stretch undone) and with outskirts, for the "
        "recipe `sky` (default: cut out along the outline, pictures as stretched as they are)",
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.1,
        help="share of the galaxies kept out of training (default %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides which galaxies these are (default %(default)s)"
    )
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="DIR",
        help="also draw what was kept and what was rejected, one PNG each per folder",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that clean (default %(default)s)"
    )
    parser.add_argument(
        "--list-unreadable",
        action="store_true",
        help="name every file that could not be read, not the first ten alone",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the output file if it exists"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.validation_fraction < 1:
        parser.error(
            f"--validation-fraction must be in [0, 1). Received: {options.validation_fraction}"
        )
    if options.side < 16:
        parser.error(f"--side must be at least 16. Received: {options.side}")
    if options.workers < 1:
        parser.error(f"--workers must be at least 1. Received: {options.workers}")
    if options.output.exists() and not options.overwrite:
        parser.error(f"{options.output} exists; --overwrite replaces it")
    if not options.output.resolve().parent.is_dir():
        parser.error(f"the folder of --output does not exist. Received: {options.output}")
    return options


def _prepare(options: argparse.Namespace) -> int:
    readers = [open_galaxies(path) for path in options.paths]
    outcomes = []
    with tqdm(total=sum(map(len, readers)), unit="galaxy", disable=None) as bar:
        for reader in readers:
            before = bar.n
            for outcome in _cleaned(reader, options):
                outcomes.append(outcome)
                bar.update()
            bar.update(len(reader) - (bar.n - before))
    unreadable = [item for reader in readers for item in reader.skipped]
    kept = [outcome for outcome in outcomes if outcome.stamp is not None]
    print(_table(outcomes))
    _report_unreadable(unreadable, len(unreadable) if options.list_unreadable else 10)
    if not kept:
        raise ValueError("no galaxy was left after cleaning: nothing to write")
    train, validation = split_by_galaxy(kept, options.validation_fraction, options.seed)
    train, twins = _without_twins(train, validation, options.outskirts)
    print(
        f"{len(train)} galaxies to train, {len(validation)} to validate; "
        f"left out of training as pictures of a validation galaxy: {twins}"
    )
    write_galaxy_file(
        options.output,
        _gathered(train, options.side),
        _gathered(validation, options.side),
        seed=options.seed,
        made_by=f"prepare_galaxies.py --side {options.side} "
        f"--validation-fraction {options.validation_fraction} --seed {options.seed}"
        + (" --outskirts" if options.outskirts else ""),
        rounded=not options.outskirts,
        overwrite=options.overwrite,
    )
    size = options.output.stat().st_size / 2**20
    print(f"wrote {options.output} ({size:.1f} MiB)")
    if options.contact_sheet is not None:
        _draw_contact_sheets(outcomes, options.contact_sheet)
    return 0


def _cleaned(reader, options: argparse.Namespace) -> Iterator[_Outcome]:
    settings = (options.side, options.outskirts, options.contact_sheet is not None)
    tasks = ((galaxy, *settings) for galaxy in reader)
    if options.workers == 1:
        yield from map(_clean, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(options.workers, _ignore_interrupt) as pool:
        yield from pool.imap(_clean, tasks, chunksize=4)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the main process, or every worker prints a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _clean(task: tuple[GalaxyImage, int, bool, bool]) -> _Outcome:
    galaxy, side, with_outskirts, with_picture = task
    stamp = reason = None
    outskirts = Outskirts(galaxy.white) if with_outskirts else None
    try:
        stamp = clean_stamp(galaxy.image, side, outskirts)
    except NotAGalaxyError as error:
        reason = error.reason
    except ValueError:
        reason = "not an image"
    picture = _thumbnail(galaxy.image) if with_picture else None
    return _Outcome(galaxy.name, galaxy.kind, galaxy.object_name, stamp, reason, picture)


def split_by_galaxy(items: list, fraction: float, seed: int) -> tuple[list, list]:
    """Split `items`, which have an `object_name`, into train and validation, by whole galaxies.

    A galaxy's side depends on nothing but its name and the seed: more data, or other cleaning,
    never moves it.
    """
    train, validation = [], []
    for item in items:
        digest = hashlib.sha256(f"{seed}:{item.object_name}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (validation if share < fraction else train).append(item)
    return train, validation


def _without_twins(
    train: list[_Outcome], validation: list[_Outcome], outskirts: bool
) -> tuple[list[_Outcome], int]:
    """`train` without pictures of `validation` galaxies under other names, and their number."""
    if not train or not validation:
        return train, 0
    structure = _fine_structure_of_linear if outskirts else _fine_structure
    known = np.stack([structure(item.stamp) for item in validation])
    keep = [item for item in train if (known @ structure(item.stamp)).max() < TWIN_CORRELATION]
    return keep, len(train) - len(keep)


def _fine_structure(stamp: np.ndarray) -> np.ndarray:
    """Unit vector of what tells one galaxy from another in a stamp.

    Smooth symmetric light is much the same in all galaxies; what is left agrees only between
    pictures of one.
    """
    return _fine_structure_of(np.sqrt(stamp))


def _fine_structure_of_linear(stamp: np.ndarray) -> np.ndarray:
    """The same of a stamp in linear flux with outskirts: of its middle, stretched as pictures are.

    In linear flux the nucleus outshines all, and what a pixel more or less on one side of it does
    is alike in many galaxies: a third of them would be taken for twins.
    """
    margin = round(len(stamp) * (1 - FRAME_MARGIN / OUTSKIRTS_MARGIN) / 2)
    middle = stamp[margin : len(stamp) - margin, margin : len(stamp) - margin]
    return _fine_structure_of(np.arcsinh(middle / 0.02))


def _fine_structure_of(stretched: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    zoom = 48 / len(stretched)
    rooted = ndimage.zoom(stretched, zoom, order=1, grid_mode=True, mode="nearest")
    fine = ndimage.gaussian_filter(rooted, 0.5) - ndimage.gaussian_filter(rooted, 2.5)
    fine = (fine - fine[::-1, ::-1]).ravel()
    return fine / max(float(np.linalg.norm(fine)), 1e-12)


def _gathered(items: list[_Outcome], side: int) -> Galaxies:
    stamps = (
        np.stack([item.stamp for item in items]) if items else np.zeros((0, side, side), np.float32)
    )
    return Galaxies(stamps, tuple(item.name for item in items), tuple(item.kind for item in items))


def _table(outcomes: list[_Outcome]) -> str:
    """Counts by folder (rows) and by what became of the images (columns)."""
    counts = defaultdict(Counter)
    for outcome in outcomes:
        counts[outcome.kind][outcome.reason or "kept"] += 1
    reasons = sorted({reason for counter in counts.values() for reason in counter} - {"kept"})
    width = max(len(kind) for kind in [*counts, "folder"])
    lines = ["  ".join([f"{'folder':{width}}", "images", "  kept", *reasons])]
    for kind, counter in sorted(counts.items()):
        cells = [f"{counter.total():6d}", f"{counter['kept']:6d}"]
        cells += [f"{counter[reason]:{len(reason)}d}" for reason in reasons]
        lines.append("  ".join([f"{kind:{width}}", *cells]))
    return "\n".join(lines)


def _report_unreadable(unreadable: list[tuple[str, str]], shown: int) -> None:
    if unreadable:
        print(f"{len(unreadable)} could not be read:")
        for _, why in unreadable[:shown]:
            print(f"  {why}")
        if len(unreadable) > shown:
            print(f"  ... and {len(unreadable) - shown} more, which --list-unreadable names")


def _thumbnail(image: np.ndarray, side: int = 96) -> np.ndarray:
    """(side, side) uint8 picture of an image, for looking at."""
    grey = np.nan_to_num(image.mean(axis=-1) if image.ndim == 3 else image)
    rows, columns = (np.linspace(0, size - 1, side).round().astype(int) for size in grey.shape)
    low, high = np.percentile(grey, [2, 99.7])
    shown = np.clip((grey[np.ix_(rows, columns)] - low) / max(high - low, 1e-30), 0, 1)
    return (255 * np.sqrt(shown)).astype(np.uint8)


def _draw_contact_sheets(outcomes: list[_Outcome], folder: Path) -> None:
    """One PNG per folder of pairs, original above stamp; one of the rejected, with the reason."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    by_sheet = defaultdict(list)
    for outcome in outcomes:
        by_sheet[outcome.kind, "kept" if outcome.stamp is not None else "rejected"].append(outcome)
    for (kind, fate), members in by_sheet.items():
        step = max(1, len(members) // 300)
        tiles = []
        for outcome in members[::step]:
            stamp = (
                np.zeros((96, 96), np.uint8) if outcome.stamp is None else _thumbnail(outcome.stamp)
            )
            pixels = np.concatenate([outcome.picture, stamp])
            tile = Image.fromarray(pixels)
            ImageDraw.Draw(tile).text((2, 98), outcome.reason or "", fill=255)
            ImageDraw.Draw(tile).text((2, 1), outcome.name[-15:], fill=255)
            tiles.append(np.asarray(tile))
        columns = 20
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        rows = [
            np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)
        ]
        Image.fromarray(np.concatenate(rows)).save(folder / f"{kind}_{fate}.png")


if __name__ == "__main__":
    sys.exit(main())
