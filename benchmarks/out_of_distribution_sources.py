"""The sources of out_of_distribution.py: galaxies, rendered and photographed text, digits.

Stamps are (s, s) float32 of peak 1, zero or nearly so at the border. The first row is the bottom
one, as everywhere in the package: text reads the right way with origin="lower".
"""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from scipy import ndimage

from rim_lensing.galaxies.galaxy_file import Galaxies, read_galaxies

CLASSES = {
    "galaxies": "galaxies",
    "survey": "other surveys",
    "rendered": "rendered text",
    "photographed": "photographed text",
    "digits": "handwritten digits",
}
"""Titles, in the order of the tables; the first is the yardstick."""

PAGE = (
    "to see what",
    "lies behind",
    "a lens, ask",
    "by how much",
    "the picture",
    "misses what",
    "was observed",
)
"""What the picture of rendered text says."""

RENDERED_PAGE = "rendered"
"""Name of that picture among the pages."""

_SIDE = 96  # of stamps, where no galaxy file says otherwise
_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three axes
_OVERSAMPLING = 8
_TEXT_WIDTH = 0.88  # of the stamp
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PICTURES = (".png", ".jpg", ".jpeg")
_PAPER_WINDOW = 6  # times in the shorter side of a photograph: wider than any stroke
_SMALLEST_PHOTOGRAPH = 64
_CROPS = (0.35, 0.8)
_TAPER = 0.12  # of the stamp, at each edge
_MIN_INK_FRACTION = 0.02
_DIGIT_FRAME = 4  # empty pixels around a digit, so that its interpolation ends at zero


@dataclass(frozen=True)
class Stamp:
    """One source before it is placed.

    Args:
        picture: (s, s), peak 1.
        source: Number of the galaxy, digit or text: two systems with the same one are not
            independent.
        kind: Where a galaxy comes from; the class of any other.
    """

    picture: np.ndarray
    source: int
    kind: str


class Sources:
    """All sources of a run: stamps for every class, reproducible system by system.

    Args:
        galaxies: A galaxy file; its validation split is used. Without one they are procedural.
        survey: Kinds of that file that make up the class "survey", in equal parts; the class
            "galaxies" has all others.
        photographs: Folder for `read_photographs`; without one there is no such class.
        digits: For `read_idx_images`; likewise.
        seed: Decides which system gets which source.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ValueError: One is damaged; or a survey that the validation split lacks, or all of it.
    """

    def __init__(
        self,
        galaxies: Path | None,
        survey: tuple[str, ...],
        photographs: Path | None,
        digits: Path | None,
        seed: int,
    ):
        """Read everything."""
        if survey and not galaxies:
            raise ValueError("--survey takes kinds of a galaxy file: say --galaxies, too")
        self._seed = seed
        self._galaxies = read_galaxies(galaxies, "validation", "float16") if galaxies else None
        self.side = self._galaxies.side if galaxies else _SIDE
        self._kinds = _by_kind(self._galaxies, seed) if galaxies else {}
        unknown = set(survey) - set(self._kinds)
        if unknown:
            raise ValueError(
                "--survey takes kinds of the validation split of the galaxy file, "
                f"{', '.join(sorted(self._kinds))}. Received: {', '.join(sorted(unknown))}"
            )
        self._survey = tuple(dict.fromkeys(survey))
        others = [kind for kind in self._kinds if kind not in self._survey]
        if galaxies and not others:
            raise ValueError("The galaxy file has no other galaxies to compare those of --survey")
        if galaxies:
            yardstick = np.concatenate([self._kinds[kind] for kind in others])
            self._yardstick = np.random.default_rng(seed).permutation(yardstick)
        self._photographs = read_photographs(photographs) if photographs else {}
        self._digits = read_idx_images(digits) if digits else np.zeros((0, 1, 1), "uint8")
        self._digit_order = np.random.default_rng(seed).permutation(len(self._digits))

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of CLASSES that there are sources for."""
        present = {
            "survey": len(self._survey),
            "photographed": len(self._photographs),
            "digits": len(self._digits),
        }
        return tuple(name for name in CLASSES if present.get(name, True))

    def stamps(self, system: int) -> list[Stamp]:
        """Return the source of a system in each of `classes`."""
        return [getattr(self, f"_{name}_stamp")(system) for name in self.classes]

    def digest(self) -> str:
        """Return the sha256 of what was given, but for the galaxy file."""
        text = hashlib.sha256("\n".join((*self.classes, *self._survey)).encode())
        text.update(self._digits.tobytes())
        for name, ink in self._photographs.items():
            text.update(name.encode() + np.round(255 * ink).astype("uint8").tobytes())
        return text.hexdigest()

    def pages(self, side: int) -> dict[str, np.ndarray]:
        """Return text that fills the source grid, (side, side) by name."""
        pages = {RENDERED_PAGE: render_text(PAGE, side)}
        return pages | {name: middle_of(ink, side) for name, ink in self._photographs.items()}

    def _galaxies_stamp(self, system: int) -> Stamp:
        if self._galaxies is None:
            from rim_lensing.galaxies.procedural import draw_procedural_galaxies

            picture = draw_procedural_galaxies(1, self._generator("galaxies", system), self.side)[0]
            return Stamp(picture, system, "procedural")
        return self._galaxy(self._yardstick[system % len(self._yardstick)])

    def _survey_stamp(self, system: int) -> Stamp:
        turn, kind = divmod(system, len(self._survey))
        members = self._kinds[self._survey[kind]]
        return self._galaxy(members[turn % len(members)])

    def _rendered_stamp(self, system: int) -> Stamp:
        picture = random_text(self._generator("rendered", system), self.side)
        return Stamp(picture, system, "rendered")

    def _photographed_stamp(self, system: int) -> Stamp:
        inks = list(self._photographs.values())
        generator = self._generator("photographed", system)
        picture = crop_photograph(inks[system % len(inks)], generator, self.side)
        return Stamp(picture, system, "photographed")

    def _digits_stamp(self, system: int) -> Stamp:
        number = self._digit_order[system % len(self._digits)]
        return Stamp(digit_stamp(self._digits[number], self.side), int(number), "digits")

    def _galaxy(self, number: int) -> Stamp:
        picture = self._galaxies.stamps[number].astype("float32")
        return Stamp(picture, int(number), self._galaxies.kinds[number])

    def _generator(self, name: str, system: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, list(CLASSES).index(name), system])


def _by_kind(galaxies: Galaxies, seed: int) -> dict[str, np.ndarray]:
    """Return the numbers of the galaxies of each kind, in an order that is not the file's."""
    order = np.random.default_rng(seed).permutation(len(galaxies))
    kinds = np.array(galaxies.kinds)[order]
    return {str(kind): order[kinds == kind] for kind in np.unique(kinds)}


def render_text(lines: tuple[str, ...], side: int) -> np.ndarray:
    """Return bright text on dark ground, in matplotlib's own font, as large as the stamp holds it.

    Args:
        lines: From the top.
        side: s, in pixels.

    Returns:
        (s, s).
    """
    import matplotlib

    font_file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    text, fine = "\n".join(lines), side * _OVERSAMPLING
    style = {"anchor": "mm", "align": "center"}
    canvas = Image.new("L", (fine, fine))
    draw = ImageDraw.Draw(canvas)
    box = draw.multiline_textbbox((0, 0), text, ImageFont.truetype(font_file, 100), **style)
    extent = max(box[2] - box[0], box[3] - box[1])
    font = ImageFont.truetype(font_file, 100 * _TEXT_WIDTH * fine / extent)
    draw.multiline_text((fine / 2, fine / 2), text, fill=255, font=font, **style)
    return _normalised(np.asarray(canvas.reduce(_OVERSAMPLING), "float32")[::-1])


def random_text(generator: np.random.Generator, side: int) -> np.ndarray:
    """Return three to five lines of random small letters, (side, side)."""
    rows = generator.integers(3, 6)
    letters = generator.choice(list(_LETTERS), size=(rows, rows + 2))
    return render_text(tuple("".join(row) for row in letters), side)


def read_photographs(folder: Path) -> dict[str, np.ndarray]:
    """Return the ink of every photographed page of a folder.

    Args:
        folder: With PNG or JPEG pictures of writing that is darker than its paper.

    Returns:
        By name, (rows, columns) float32, bright ink on paper near zero, peak 1.

    Raises:
        FileNotFoundError: There is no such folder, or no picture in it.
        ValueError: A picture that cannot be read, is too small, or is blank; or names that are
            equal but for the suffix, or that of the rendered page.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no picture ({', '.join(_PICTURES)})")
    _check_names(paths)
    return {path.stem: _read_ink(path) for path in paths}


def _check_names(paths: list[Path]) -> None:
    """Make sure that no page takes the name, which is the file's without suffix, of another."""
    names = [path.stem for path in paths]
    same = [path.name for path in paths if names.count(path.stem) > 1]
    if same:
        raise ValueError(
            "Photographs must have names of their own, whatever the suffix. "
            f"Received: {', '.join(same)}"
        )
    if RENDERED_PAGE in names:
        raise ValueError(
            f"A photograph must not be called {RENDERED_PAGE}: that is the rendered page. "
            f"Received: {paths[names.index(RENDERED_PAGE)]}"
        )


def _read_ink(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            grey = np.asarray(picture.convert("L"), "float32")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a picture, or is damaged: {error}") from error
    if min(grey.shape) < _SMALLEST_PHOTOGRAPH:
        raise ValueError(
            f"A photograph must have at least {_SMALLEST_PHOTOGRAPH} pixels a side. "
            f"Received: {path}, {grey.shape}"
        )
    window = min(grey.shape) // _PAPER_WINDOW
    paper = ndimage.gaussian_filter(ndimage.grey_closing(grey, size=window), window / 2)
    ink = np.maximum(paper - grey, 0)
    # The texture of the paper is what most pixels have.
    ink = np.maximum(ink - 2 * np.median(ink), 0)
    if not ink.any():
        raise ValueError(f"{path} is blank: there is no writing that is darker than its paper")
    return np.minimum(ink / np.percentile(ink[ink > 0], 99), 1)[::-1]


def crop_photograph(ink: np.ndarray, generator: np.random.Generator, side: int) -> np.ndarray:
    """Return a random square of a photograph that has writing in it, (side, side)."""
    for _ in range(100):
        width = int(generator.uniform(*_CROPS) * min(ink.shape))
        row, column = (generator.integers(size - width + 1) for size in ink.shape)
        stamp = fit_stamp(ink[row : row + width, column : column + width], side)
        if np.mean(stamp > 0.3) > _MIN_INK_FRACTION:
            return stamp
    raise ValueError("Hardly any writing in a photograph: 100 random crops of it are blank")


def middle_of(ink: np.ndarray, side: int) -> np.ndarray:
    """Return the largest square in the middle of a photograph, (side, side)."""
    width = min(ink.shape)
    row, column = ((size - width) // 2 for size in ink.shape)
    return fit_stamp(ink[row : row + width, column : column + width], side)


def fit_stamp(square: np.ndarray, side: int) -> np.ndarray:
    """Return a picture at another size, tapered at the edges, peak 1.

    Args:
        square: (w, w).
        side: s.

    Returns:
        (s, s).
    """
    picture = Image.fromarray(square.astype("float32"))
    resized = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) / (_TAPER * side)
    window = 0.5 - 0.5 * np.cos(np.pi * np.minimum(distance, 1))
    return _normalised(np.maximum(resized, 0) * window * window[:, None])


def read_idx_images(path: Path) -> np.ndarray:
    """Return the images of an idx file, as MNIST has them.

    Args:
        path: The file, gzipped or not; or a folder with one file whose name holds "images-idx3".

    Returns:
        (count, rows, columns) uint8, first row on top.

    Raises:
        FileNotFoundError: There is no such file, or none in the folder.
        ValueError: The folder has several, or the file is damaged or holds something else.
    """
    if path.is_dir():
        found = sorted(path.glob("*images-idx3*"))
        if not found:
            raise FileNotFoundError(f"{path} holds no file of images (*images-idx3*)")
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise ValueError(f"Say which of the files of {path} to use: {names}")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if len(content) < 16 or int.from_bytes(content[:4], "big") != _IMAGES_MAGIC:
        raise ValueError(
            f"{path} is not an idx file of images: it must begin with {_IMAGES_MAGIC:#010x}. "
            f"Received: {content[:4].hex() or 'nothing'}"
        )
    shape = tuple(np.frombuffer(content, ">u4", count=3, offset=4).tolist())
    expected = 16 + shape[0] * shape[1] * shape[2]
    if len(content) != expected or expected == 16:
        raise ValueError(
            f"{path} is damaged: {shape[0]} images of {shape[1]} x {shape[2]} pixels take "
            f"{expected} bytes. Received: {len(content)}"
        )
    return np.frombuffer(content, "uint8", offset=16).reshape(shape)


def digit_stamp(image: np.ndarray, side: int) -> np.ndarray:
    """Return a digit of a few pixels, smoothly enlarged.

    Args:
        image: (r, r) uint8, first row on top.
        side: s.

    Returns:
        (s, s).
    """
    framed = np.pad(image.astype("float32"), _DIGIT_FRAME)[::-1]
    enlarged = Image.fromarray(framed).resize((side, side), Image.Resampling.BICUBIC)
    return _normalised(np.maximum(np.asarray(enlarged), 0))


def _normalised(picture: np.ndarray) -> np.ndarray:
    """Return a picture that is not blank, with peak 1."""
    return (picture / max(picture.max(), 1e-6)).astype("float32")
