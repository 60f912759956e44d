"""The lens galaxy as a smooth ellipse-like light, for what is on top of it to show.

Low-order multipoles in angle on elliptical rings, much as Bolton et al. (2006,
ApJ 638, 703) subtract the lenses of the SLACS survey. It is no light model of a fit: arcs are in
its way, and clipped.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

RINGS_PER_DECADE = 16
"""Of radius + 1 pixel: a ring is a seventh wide."""

MIN_PIXELS = 12
"""In a ring for its multipoles to be fitted."""

CLIP_BRIGHT, CLIP_FAINT = 2.5, 4.0
"""In robust standard deviations of a ring: what is on top of the galaxy is brighter than that."""

LARGEST_ELONGATION = 1.2
"""ln(1 / axis ratio) of the flattest rings: an edge-on disc has 1 / 3.3."""


@dataclass(frozen=True, eq=False)
class SmoothGalaxy:
    """The smooth light around a centre, the sky in it.

    Args:
        model: (y, x), in the image's unit.
        centre: (row, column) of its rings.
        axis_ratio: Minor over major axis of the rings.
        angle: Of the major axis, radians counter-clockwise from +x.
        radius: Of every pixel's elliptical ring in pixels, sqrt(q x^2 + y^2 / q), (y, x).
        scatter: Robust standard deviation of the image about the model by pixel's ring, (y, x).
        clean: True where a pixel is used and on top of the galaxy nothing was found, (y, x).
    """

    model: np.ndarray
    centre: tuple[float, float]
    axis_ratio: float
    angle: float
    radius: np.ndarray
    scatter: np.ndarray
    clean: np.ndarray


def smooth_galaxy(
    image: np.ndarray,
    used: np.ndarray,
    centre: tuple[float, float],
    rms: float,
    start: SmoothGalaxy | None = None,
) -> SmoothGalaxy:
    """Fit rings of one ellipticity, with multipoles that leave it by radius.

    In polar coordinates of the ellipse, I = a0 + a2 cos 2 theta + b2 sin 2 theta + a4 cos 4 theta
    + b4 sin 4 theta, each a function of r that is interpolated between rings. The ellipse is that
    which needs no second multipole: where I falls as r^-s, rings that ought to be flatter by a
    factor exp(h) show a2 = a0 s h / 2.

    Args:
        image: (y, x); anything where it is not used.
        used: True where a pixel is, (y, x).
        centre: (row, column).
        rms: Of the sky's noise, in the image's unit.
        start: An earlier fit of the galaxy, whose ellipse is where the search begins.
    """
    image = np.where(used, image, 0.0)
    elongation = np.zeros(2)
    if start is not None:
        along = 2 * start.angle
        elongation = -np.log(start.axis_ratio) * np.array([np.cos(along), np.sin(along)])
    for _ in range(3 if start is None else 1):
        rings = _Rings(image.shape, centre, elongation)
        fit = _fit(image, used, rings, rms, rounds=3)
        elongation = elongation + _missing_elongation(fit, rings, rms)
        size = np.hypot(*elongation)
        elongation *= min(1.0, LARGEST_ELONGATION / max(size, 1e-12))
    rings = _Rings(image.shape, centre, elongation)
    fit = _fit(image, used, rings, rms, rounds=8)
    return SmoothGalaxy(
        model=fit.model,
        centre=(float(centre[0]), float(centre[1])),
        axis_ratio=float(np.exp(-np.hypot(*elongation))),
        angle=float(0.5 * np.arctan2(elongation[1], elongation[0])),
        radius=rings.radius,
        scatter=fit.scatter,
        clean=fit.clean,
    )


class _Rings:
    """Elliptical rings on pixels: radius, angle and the number of the ring that a pixel is in."""

    def __init__(self, shape: tuple, centre: tuple[float, float], elongation: np.ndarray):
        rows, columns = np.indices(shape).astype("float64")
        y, x = rows - centre[0], columns - centre[1]
        stretch = np.hypot(*elongation)
        angle = 0.5 * np.arctan2(elongation[1], elongation[0])
        along = np.cos(angle) * x + np.sin(angle) * y
        across = -np.sin(angle) * x + np.cos(angle) * y
        along, across = along * np.exp(-stretch / 2), across * np.exp(stretch / 2)
        self.radius = np.hypot(along, across)
        # Angles are counted from +x, so that the second multipole adds up with the elongation.
        self.theta = np.arctan2(across, along) + angle
        self.place = np.log(self.radius + 1)
        self.number = (self.place * RINGS_PER_DECADE / np.log(10)).astype(int)
        # Pixels by ring, and where each ring begins among them.
        self.order = np.argsort(self.number.ravel(), kind="stable")
        self.bounds = np.r_[0, np.cumsum(np.bincount(self.number.ravel()))]

    def medians(self, values: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Return the median of a ring's pixels among `of`, (rings,); NaN where there are none."""
        values, of = values.ravel()[self.order], of.ravel()[self.order]
        rings = [values[start:stop][of[start:stop]] for start, stop in pairwise(self.bounds)]
        return np.array([np.median(ring) if ring.size else np.nan for ring in rings])

    def multipoles(self, values: np.ndarray, of: np.ndarray, waves: list) -> np.ndarray:
        """Return the least-squares coefficients of waves in every ring, (waves, rings).

        Rings with few pixels get the monopole alone, rings without any NaN.
        """
        number, size = self.number[of], self.number.max() + 1
        values, waves = values[of], np.array([wave[of] for wave in waves])
        count = np.bincount(number, minlength=size)
        normal = np.empty((size, len(waves), len(waves)))
        right = np.empty((size, len(waves)))
        for i, wave in enumerate(waves):
            right[:, i] = np.bincount(number, wave * values, size)
            for j, other in enumerate(waves[: i + 1]):
                normal[:, i, j] = normal[:, j, i] = np.bincount(number, wave * other, size)
        # What pixels of one quarter say of the others is damped.
        normal[:, range(1, len(waves)), range(1, len(waves))] += 1 + 0.02 * count[:, None]
        normal[:, 0, 0] += 1e-9
        found = np.linalg.solve(normal, right[..., None])[..., 0].T
        found[1:, count < MIN_PIXELS] = 0
        found[:, count == 0] = np.nan
        return found

    def by_pixel(self, by_ring: np.ndarray) -> np.ndarray:
        """Return the values of rings at pixels, interpolated in ln r; rings without one bridged."""
        known = np.isfinite(by_ring)
        size = self.number.max() + 1
        middles = (np.arange(size) + 0.5) * np.log(10) / RINGS_PER_DECADE
        if not known.any():
            return np.zeros(self.place.shape)
        return np.interp(self.place, middles[known], by_ring[known])


@dataclass(frozen=True)
class _Fit:
    """A fit on given rings: model, monopole and second multipoles at pixels, which are clean."""

    model: np.ndarray
    monopole: np.ndarray
    second: tuple[np.ndarray, np.ndarray]
    scatter: np.ndarray
    clean: np.ndarray


def _fit(image: np.ndarray, used: np.ndarray, rings: _Rings, rms: float, rounds: int) -> _Fit:
    """Fit the multipoles of every ring by least squares, what is bright on top of them clipped.

    Every round fits what the last has left, so that a profile that is steep within a ring is met.
    """
    waves = [np.ones(image.shape)]
    for order in (2, 4):
        waves += [np.cos(order * rings.theta), np.sin(order * rings.theta)]
    parts = np.zeros((len(waves), *image.shape))
    parts[0] = rings.by_pixel(rings.medians(image, used))
    model = parts[0].copy()
    for _ in range(rounds):
        deviation = image - model
        middle = rings.medians(np.abs(deviation), used)
        scatter = np.maximum(1.4826 * rings.by_pixel(middle), rms)
        clean = used & (deviation < CLIP_BRIGHT * scatter) & (deviation > -CLIP_FAINT * scatter)
        for part, more in zip(parts, rings.multipoles(deviation, clean, waves), strict=True):
            part += rings.by_pixel(more)
        model = np.sum([part * wave for part, wave in zip(parts, waves, strict=True)], axis=0)
    return _Fit(model, parts[0], (parts[1], parts[2]), scatter, clean)


def _missing_elongation(fit: _Fit, rings: _Rings, rms: float) -> np.ndarray:
    """Return by how much the rings should be flatter, h (cos 2 phi, sin 2 phi)."""
    order = np.argsort(rings.radius.ravel())
    radius = rings.radius.ravel()[order]
    light, cosine, sine = (
        part.ravel()[order] for part in (fit.monopole, fit.second[0], fit.second[1])
    )
    at = np.geomspace(2.0, radius.max() / 1.5, 30)
    light, cosine, sine = (np.interp(at, radius, part) for part in (light, cosine, sine))
    sky = np.interp(radius.max() / 1.3, at, light)
    light = light - min(sky, light.min())
    slope = -np.gradient(np.log(np.maximum(light, 1e-3 * rms)), np.log(at))
    good = (light > 3 * rms) & (slope > 0.3)
    if not good.any():
        return np.zeros(2)
    # Where much light is: the error of an elongation falls with the light in the ring.
    weight = (light * slope * at)[good]
    missing = [
        np.median(2 * part[good] / (light * slope)[good]) * 0.5
        + 0.5 * np.average(2 * part[good] / (light * slope)[good], weights=weight)
        for part in (cosine, sine)
    ]
    return np.clip(missing, -0.7, 0.7)
