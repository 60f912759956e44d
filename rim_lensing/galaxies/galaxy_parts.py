"""What procedural galaxies are made of: each function draws one part on a `Canvas`, any flux unit.

Lengths are in units of about half a stamp; every random choice comes from the canvas's generator.
"""

import functools
from dataclasses import dataclass

import numpy as np

CANVAS_REACH = 1.35  # the canvas spans -reach ... reach; the finished stamp is cut out of it


@dataclass(frozen=True)
class Canvas:
    """A square to draw on.

    Attributes:
        rng: where all random choices come from.
        x, y: (n, n) coordinates of the pixels, in units of about half a stamp.
        r: (n, n) distance from the centre.
        step: width of a pixel.
    """

    rng: np.random.Generator
    x: np.ndarray
    y: np.ndarray
    r: np.ndarray
    step: float

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return len(self.x)


@dataclass(frozen=True)
class Plane:
    """Coordinates (n, n) in the plane of an inclined disk.

    Attributes:
        u, v: along and across the line of nodes.
        r, theta: the same in polar form.
        q: apparent axis ratio of a circle in this plane.
    """

    u: np.ndarray
    v: np.ndarray
    r: np.ndarray
    theta: np.ndarray
    q: float


def new_canvas(rng: np.random.Generator, side: int) -> Canvas:
    """A canvas on which a galaxy of unit radius has as many pixels as in a stamp of `side`."""
    size = 4 * round(side * CANVAS_REACH / 4)
    axis = ((np.arange(size) - (size - 1) / 2) * (2 * CANVAS_REACH / size)).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return Canvas(rng, x, y, np.hypot(x, y), 2 * CANVAS_REACH / size)


def tilted_plane(
    canvas: Canvas,
    q: float,
    centre: tuple[float, float],
    scale: float,
    lopsided: float = 0.0,
    twist: float = 0.0,
) -> Plane:
    """A plane seen at a random position angle, with apparent axis ratio `q`.

    Args:
        canvas: what to draw on.
        q: cosine of the inclination.
        centre: (x, y) of the galaxy on the canvas.
        scale: canvas units per unit of the plane.
        lopsided: rms strength of the deformation that makes one side larger than the other.
        twist: rms turn in radians of the position angle per unit radius.
    """
    rng = canvas.rng
    angle = rng.uniform(0, 2 * np.pi)
    dx = (canvas.x - np.float32(centre[0])) / np.float32(scale)
    dy = (canvas.y - np.float32(centre[1])) / np.float32(scale)
    if lopsided:
        shift = rng.normal(0, 0.3 * lopsided, 2).astype(np.float32)
        square = dx * dx + dy * dy
        dx, dy = dx + shift[0] * square, dy + shift[1] * square
    if twist:
        angle = angle + rng.normal(0, twist) * np.hypot(dx, dy)
    cos, sin = np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)
    u = cos * dx + sin * dy
    v = (cos * dy - sin * dx) / np.float32(q)
    return Plane(u, v, np.hypot(u, v), np.arctan2(v, u), q)


def sersic(r: np.ndarray, half_light: float, n: float) -> np.ndarray:
    """A Sersic profile of index `n`, 1 at its half-light radius, softened within a pixel."""
    b = 2 * n - 1 / 3 + 0.009876 / n
    return np.exp(-b * ((np.sqrt(r * r + 2e-4) / half_light) ** (1 / n) - 1))


def exponential_disk(plane: Plane, length: float) -> np.ndarray:
    """An exponential disk of scale `length` that ends near radius 1."""
    return np.exp(-plane.r / np.float32(length)) * soft_edge(plane.r, 0.95, 0.15)


def soft_edge(r: np.ndarray, radius: float, width: float) -> np.ndarray:
    """1 well inside `radius`, 0 well outside it, the change spread over about `width`."""
    return 1 / (1 + np.exp(np.clip((r - radius) / (0.3 * width), -30, 30)))


def scaled_to_share(part: np.ndarray, whole: np.ndarray, fraction: float) -> np.ndarray:
    """`part` scaled to hold `fraction` of the light of `whole`."""
    return part * (fraction * whole.sum() / max(float(part.sum()), 1e-30))


def bulge(canvas: Canvas, plane: Plane) -> np.ndarray:
    """A Sersic bulge, rounder than the disk of the same plane."""
    rng = canvas.rng
    # Part of the disk's deprojection is undone.
    roundness = plane.q / (plane.q + (1 - plane.q) * rng.uniform(0.4, 0.9))
    r = np.hypot(plane.u, plane.v * roundness)
    return sersic(r, rng.uniform(0.03, 0.13), rng.uniform(1.0, 3.5))


def spiral_arms(
    rng: np.random.Generator, plane: Plane, start: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithmic arms that begin at radius `start`: their strength, 0 to about 1, and phase."""
    count = rng.choice([1, 2, 3, 4], p=[0.04, 0.62, 0.2, 0.14])
    pitch = np.radians(rng.uniform(9, 32))
    log_r = np.log(np.maximum(plane.r, 0.02) / 0.3)
    winding = log_r / np.tan(pitch) + rng.normal(0, 0.35) * log_r**2
    hand = rng.choice([-1, 1])
    phase = count * (hand * plane.theta - winding) + rng.uniform(0, 2 * np.pi)
    wobble = rng.normal(0, 0.4) * np.sin(3 * log_r + plane.theta + rng.uniform(0, 6))
    sharpness = rng.uniform(0.8, 4.0)
    arms = np.exp(sharpness * (np.cos(phase + wobble) - 1))
    reach = rng.uniform(0.55, 1.0)
    arms = arms * soft_edge(-plane.r, -start, 0.15) * soft_edge(plane.r, reach, 0.4)
    one_sided = 1 + rng.uniform(0, 0.35) * np.cos(plane.theta - rng.uniform(0, 2 * np.pi))
    return arms * one_sided, phase


def wound_texture(rng: np.random.Generator, plane: Plane, pitch_tangent: float) -> np.ndarray:
    """Noise wound up by differential rotation, of about unit variance: flocculent arms, spurs."""
    size = 128
    field = texture(rng, size, rng.uniform(1.2, 2.0))
    log_r = np.log(np.maximum(plane.r, 0.03))
    turns = (plane.theta + log_r / pitch_tangent) / (2 * np.pi)
    return _looked_up(field, turns * size, log_r * (0.35 * size))


def _looked_up(field: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A periodic field at real-valued positions, bilinear."""
    size = len(field)
    whole_row, whole_column = np.floor(row), np.floor(column)
    t, s = row - whole_row, column - whole_column
    i, j = whole_row.astype(np.int32) % size, whole_column.astype(np.int32) % size
    k, m = (i + 1) % size, (j + 1) % size
    upper = field[i, j] * (1 - s) + field[i, m] * s
    lower = field[k, j] * (1 - s) + field[k, m] * s
    return upper * (1 - t) + lower * t


def texture(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """A Gaussian field with power spectrum k^(-2 slope), zero mean, unit variance."""
    amplitude = (_squared_wave_numbers(size) * size**2 + 1) ** np.float32(-slope / 2)
    amplitude[0, 0] = 0
    modes = rng.standard_normal((2, *amplitude.shape), np.float32) * amplitude
    field = np.fft.irfft2(modes[0] + 1j * modes[1], s=(size, size))
    return field / field.std()


@functools.lru_cache(maxsize=8)
def _squared_wave_numbers(size: int) -> np.ndarray:
    """Squared wave number of each mode of a real FFT, in cycles per pixel."""
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    return np.square(k, dtype=np.float32)


def bar(rng: np.random.Generator, plane: Plane, length: float) -> np.ndarray:
    """A bar of half-length `length`: a generalised ellipse, brighter inwards, sharply ended."""
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * plane.u + np.sin(angle) * plane.v
    v = np.cos(angle) * plane.v - np.sin(angle) * plane.u
    shape = rng.uniform(2.0, 3.5)
    inside = np.abs(u / length) ** shape + np.abs(v / (length * rng.uniform(0.2, 0.4))) ** shape
    return np.clip(1 - inside, 0, None) ** rng.uniform(0.8, 2.0)


def ring(rng: np.random.Generator, plane: Plane, radius: float) -> np.ndarray:
    """A patchy ring of stars."""
    width = radius * rng.uniform(0.06, 0.2)
    patchy = np.exp(0.5 * wound_texture(rng, plane, 0.6))
    return np.exp(-0.5 * ((plane.r - radius) / width) ** 2) * patchy


def arm_dust(
    rng: np.random.Generator, plane: Plane, phase: np.ndarray, floccules: np.ndarray
) -> np.ndarray:
    """Transmission of the dust lanes along the inner edges of the arms."""
    lane = np.exp(3.0 * (np.cos(phase + rng.uniform(0.6, 1.3)) - 1))
    depth = rng.uniform(0, 0.8) * lane + rng.uniform(0, 0.3) * np.clip(-floccules, 0, None)
    return np.exp(-depth * soft_edge(plane.r, 0.7, 0.3))


def star_forming_clumps(canvas: Canvas, where: np.ndarray, flux: float) -> np.ndarray:
    """Star-forming regions strewn where `where` is bright; luminosities follow dN/dL ~ L^-1.8."""
    rng, size = canvas.rng, canvas.size
    count = int(rng.integers(3, 70))
    # The far outskirts of a disk cover so much area that they would collect most of the clumps.
    cumulative = np.cumsum(np.where(where > 0.03 * where.max(), where, 0).ravel())
    pixels = np.searchsorted(cumulative, rng.random(count) * cumulative[-1]).clip(0, size**2 - 1)
    luminosity = np.minimum((1 - rng.random(count)) ** (-1 / 0.8), 40.0)
    width = rng.uniform(0.7, 1.4, count) * luminosity**0.12
    reach = np.arange(-6, 7)
    rows = pixels[:, None] // size + reach
    columns = pixels[:, None] % size + reach
    shift = rng.uniform(-0.5, 0.5, (2, count, 1))
    by_row = np.exp(-0.5 * ((reach - shift[0]) / width[:, None]) ** 2)
    by_column = np.exp(-0.5 * ((reach - shift[1]) / width[:, None]) ** 2)
    light = (luminosity / width**2)[:, None, None] * by_row[:, :, None] * by_column[:, None, :]
    result = np.zeros((size, size))
    inside = (rows >= 0) & (rows < size), (columns >= 0) & (columns < size)
    light *= inside[0][:, :, None] & inside[1][:, None, :]
    np.add.at(result, (rows[:, :, None] % size, columns[:, None, :] % size), light)
    return (result * (flux / result.sum())).astype(np.float32)


def tidal_tail(canvas: Canvas, start: tuple[float, float]) -> np.ndarray:
    """A tidal tail: stars strewn along an arc that leaves `start`, widening and fading."""
    rng = canvas.rng
    along = rng.beta(1.0, rng.uniform(1.2, 2.5), 1500)
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(0.8, 2.6) * rng.choice([-1, 1]) * along
    distance = 0.1 + rng.uniform(0.5, 1.0) * along
    spread = 0.03 + 0.06 * along
    x = start[0] + distance * np.cos(angle) + spread * rng.standard_normal(along.size)
    y = start[1] + distance * np.sin(angle) + spread * rng.standard_normal(along.size)
    edges = (np.arange(canvas.size + 1) - canvas.size / 2) * canvas.step
    counts = np.histogram2d(y, x, bins=(edges, edges))[0]
    return blurred(counts, 1.5)


def blurred(image: np.ndarray, width: float) -> np.ndarray:
    """`image` convolved with a Gaussian of `width` pixels."""
    kernel = np.exp(np.float32(-2 * np.pi**2 * width**2) * _squared_wave_numbers(len(image)))
    modes = np.fft.rfft2(image.astype(np.float32)) * kernel
    return np.clip(np.fft.irfft2(modes, s=image.shape), 0, None)
