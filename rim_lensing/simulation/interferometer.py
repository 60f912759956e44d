"""Mock observations by an array of antennas: coverages of the uv plane, and visibilities on them.

Antennas are drawn as ALMA's lie, crowded in the middle: of its 66 antennas about 43 of 12 m are in
the main array, and baselines of a configuration go from 15 m to 0.16-16 km (ALMA Technical
Handbook, chapter 7). Source at declination delta and hour angle H, baseline X, Y, Z in wavelengths
(towards the meridian, the East, the pole; Thompson, Moran & Swenson 2017, equation 4.1):

    u = X sin H + Y cos H,   v = -X sin delta cos H + Y sin delta sin H + Z cos delta.
"""

from dataclasses import dataclass

import numpy as np

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.visibilities import SPEED_OF_LIGHT, VisibilityObservation

ALMA_LATITUDE = -23.029
"""Degrees."""

SHORTEST_BASELINE = 15.0
"""m, of ALMA's 12 m antennas."""

LOWEST_ELEVATION = 20.0
"""Degrees, at which anything is observed."""

_CROWDING = (0.8, 1.4)


@dataclass(frozen=True)
class Coverages:
    """Ranges that observations of an array are drawn from. Pairs are the ends of a range.

    Args:
        longest_baseline: Wavelengths; its logarithm is uniform.
        antennas: Of the array.
        declination: Degrees.
        duration: Hours on source, its logarithm is uniform.
        integrations: That the track is divided into.
        frequency: Hz; it tells how many wavelengths 15 m are.
        noise: rms of the dirty image over its brightest pixel; its logarithm is uniform.
    """

    longest_baseline: tuple[float, float] = (3e5, 1e6)
    antennas: tuple[int, int] = (36, 47)
    declination: tuple[float, float] = (-65.0, 20.0)
    duration: tuple[float, float] = (0.2, 3.0)
    integrations: int = 12
    frequency: tuple[float, float] = (2.3e11, 3.5e11)
    noise: tuple[float, float] = (0.01, 0.1)

    def draw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return u and v of an observation, in wavelengths, (k,)."""
        longest = np.exp(generator.uniform(*np.log(self.longest_baseline)))
        frequency = generator.uniform(*self.frequency)
        metres = longest * SPEED_OF_LIGHT / frequency
        positions = draw_array(generator, generator.integers(*self.antennas), metres)
        declination = generator.uniform(*self.declination)
        duration = np.exp(generator.uniform(*np.log(self.duration)))
        limit = hour_angle_limit(declination)
        duration = min(duration, 2 * limit)
        start = generator.uniform(-limit, limit - duration)
        hours = start + duration * (np.arange(self.integrations) + 0.5) / self.integrations
        u, v = uv_track(positions, hours, declination)
        return u.ravel() * frequency / SPEED_OF_LIGHT, v.ravel() * frequency / SPEED_OF_LIGHT


def draw_array(
    generator: np.random.Generator, antennas: int, longest_baseline: float
) -> np.ndarray:
    """Return antenna positions to the East and the North in m, (antennas, 2).

    Args:
        generator: Of the positions.
        antennas: How many.
        longest_baseline: m.
    """
    power = generator.uniform(*_CROWDING)
    positions = np.zeros((0, 2))
    closest = min(SHORTEST_BASELINE, longest_baseline / (4 * np.sqrt(antennas)))
    while len(positions) < antennas:
        radius = 0.5 * longest_baseline * generator.random() ** power
        angle = generator.uniform(0, 2 * np.pi)
        one = radius * np.array([np.cos(angle), np.sin(angle)])
        if not len(positions) or np.hypot(*(positions - one).T).min() >= closest:
            positions = np.vstack([positions, one])
    apart = np.hypot(*(positions[:, None] - positions[None]).transpose(2, 0, 1))
    return positions * (longest_baseline / apart.max())


def uv_track(
    positions: np.ndarray,
    hours: np.ndarray,
    declination: float,
    latitude: float = ALMA_LATITUDE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of all pairs of antennas, in m, (integrations, pairs).

    Args:
        positions: To the East and the North, (antennas, 2), in m.
        hours: Hour angles, (integrations,).
        declination: Of the source, in degrees.
        latitude: Of the array, in degrees.
    """
    first, second = np.triu_indices(len(positions), 1)
    east, north = (positions[second] - positions[first]).T
    tilt, delta = np.radians([latitude, declination])
    angle = np.pi / 12 * np.asarray(hours)[:, None]
    x, y, z = -np.sin(tilt) * north, east, np.cos(tilt) * north
    u = x * np.sin(angle) + y * np.cos(angle)
    v = -x * np.sin(delta) * np.cos(angle) + y * np.sin(delta) * np.sin(angle) + z * np.cos(delta)
    return u, v


def hour_angle_limit(declination: float, latitude: float = ALMA_LATITUDE) -> float:
    """Return the hour angle at which a source sinks below LOWEST_ELEVATION; degrees to hours.

    Raises:
        ValueError: It does not rise so high.
    """
    low, delta, tilt = np.radians([LOWEST_ELEVATION, declination, latitude])
    cosine = (np.sin(low) - np.sin(tilt) * np.sin(delta)) / (np.cos(tilt) * np.cos(delta))
    if cosine > 1:
        raise ValueError(
            f"`declination` must be such that the source rises above {LOWEST_ELEVATION:g} degrees. "
            f"Received: {declination:g}"
        )
    return float(12 / np.pi * np.arccos(max(cosine, -1.0)))


def observe_sky(
    sky: np.ndarray,
    grid: PixelGrid,
    u: np.ndarray,
    v: np.ndarray,
    noise: float,
    generator: np.random.Generator,
) -> VisibilityObservation:
    """Return mock visibilities of a sky, all of one weight.

    Args:
        sky: Flux per pixel, (m, m).
        grid: Its pixels.
        u: Wavelengths, (k,), as of `VisibilityObservation`'s convention "image".
        v: Likewise.
        noise: rms of the dirty image over its brightest pixel.
        generator: Of the noise.
    """
    blank = VisibilityObservation(u, v, np.zeros(len(u)), 1.0)
    data = blank.predict(sky, grid)
    seen = VisibilityObservation(u, v, data, 1.0).on_grid(grid)
    # The dirty image of weights of 1 has an rms of its `noise`; that of rms sigma sigma times it.
    rms = noise * seen.image.max() / seen.noise
    drawn = generator.standard_normal((2, len(u)))
    return VisibilityObservation(u, v, data + rms * (drawn[0] + 1j * drawn[1]), rms**-2)
