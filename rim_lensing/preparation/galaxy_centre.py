"""The centre of the lens galaxy's light."""

import numpy as np
from scipy.ndimage import gaussian_filter

NEAR_MIDDLE = 1.0
"""arcsec: the galaxy is looked for with a Gaussian weight of this width around the middle."""

EXTENDED = 0.25
"""arcsec: width of the Gaussian that the image is smoothed with to find an extended object: it
takes the edge off stars and arcs, which are thinner."""

AROUND = (0.15, 0.4)
"""arcsec: the ring in which a galaxy has light on all sides; wider by as much as the PSF is."""

SECTORS = 8

ALL_SIDES, MIN_SIGNAL = 0.3, 3.0
"""Of the brightest sector's light, and in sigma, what the faintest sector but one has. A galaxy of
axis ratio 0.5 has about 0.6, an arc up to 0.2."""

WINDOWS, PRECISE = (1.0, 1.7, 3.0, 5.0), 0.02
"""Of 1.5 PSF, widths of windows that are tried, and the error in pixels that is good enough."""

SMALLEST_LAG = 0.03
"""A mean within a window that lags more says nothing of the centre."""

_SETTLED = 1e-3
"""In pixels."""


def galaxy_centre(
    image: np.ndarray,
    used: np.ndarray,
    pixel_scale: float,
    psf_sigma: float,
    rms: float,
    near: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Return (row, column) of the brightest extended object near the middle, below a pixel.

    The start is where the smoothed image, times a Gaussian around the middle, is brightest. From
    there a centroid within a Gaussian window is repeated until it rests, which for a round and an
    elliptical galaxy is the true centre (SExtractor's windowed position). The window is 1.5 PSF
    wide, so that arcs and neighbours weigh nothing, or wider where the core is so flat that noise
    would decide. A pixel that is not used is taken for its counterpart on the other side.

    Args:
        image: (y, x), the sky about 0; anything where it is not used.
        used: True where a pixel is, (y, x).
        pixel_scale: arcsec.
        psf_sigma: Width of the Gaussian as sharp as the PSF, arcsec.
        rms: Of the noise, in the image's unit.
        near: (row, column) instead of the middle.
    """
    rows, columns = np.indices(image.shape).astype("float64")
    middle = ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2) if near is None else near
    distance = np.hypot(rows - middle[0], columns - middle[1]) * pixel_scale
    width = max(EXTENDED, psf_sigma) / pixel_scale
    seen = gaussian_filter(used.astype("float64"), width)
    smooth = gaussian_filter(np.where(used, image, 0), width) / np.maximum(seen, 0.05)
    weighted = np.maximum(smooth, 0) * np.exp(-0.5 * (distance / NEAR_MIDDLE) ** 2)
    start = np.unravel_index(np.argmax(weighted), image.shape)
    centre = np.array(start, dtype="float64")
    centre, _ = _windowed(image, used, centre, width, rms)
    narrow = max(1.5 * psf_sigma / pixel_scale, 1.5)
    for window in narrow * np.array(WINDOWS):
        found, error = _windowed(image, used, centre, window, rms)
        if error < PRECISE:
            return float(found[0]), float(found[1])
    return float(centre[0]), float(centre[1])


def has_galaxy(
    image: np.ndarray,
    noise: np.ndarray,
    used: np.ndarray,
    pixel_scale: float,
    psf_sigma: float,
    centre: tuple[float, float],
) -> bool:
    """Whether there is light on all sides of a centre, as a galaxy has it and an arc has not.

    In an image whose lens light is subtracted, or where the lens is not seen, there is none.

    Args:
        image: (y, x), the sky about 0.
        noise: rms, (y, x).
        used: True where a pixel is, (y, x).
        pixel_scale: arcsec.
        psf_sigma: arcsec.
        centre: (row, column).
    """
    y, x = np.indices(image.shape).astype("float64")
    y, x = y - centre[0], x - centre[1]
    radius = np.hypot(x, y) * pixel_scale
    ring = used & (radius > AROUND[0] + psf_sigma) & (radius < AROUND[1] + 2 * psf_sigma)
    sector = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    number = np.maximum(np.bincount(sector[ring], minlength=SECTORS), 1)
    light = np.bincount(sector[ring], image[ring], SECTORS) / number
    error = np.sqrt(np.bincount(sector[ring], noise[ring] ** 2, SECTORS)) / number
    faint = np.argsort(light)[1]
    return bool(light[faint] > max(ALL_SIDES * light.max(), MIN_SIGNAL * error[faint]))


def _windowed(
    image: np.ndarray, used: np.ndarray, start: np.ndarray, width: float, rms: float
) -> tuple[np.ndarray, float]:
    """Return the centre of a Gaussian window that is the centroid of the light in it, its error."""
    centre, reach = start.copy(), int(np.ceil(4 * width))
    for _ in range(50):
        low = np.round(centre).astype(int) - reach
        rows, columns = (np.arange(at, at + 2 * reach + 1) for at in low)
        light, known = _patch(image, used, rows, columns)
        mirrored = light[::-1, ::-1], known[::-1, ::-1]
        light = np.where(known, light, np.where(mirrored[1], mirrored[0], 0))
        row, column = rows[:, None] - centre[0], columns[None] - centre[1]
        window = np.exp(-(row**2 + column**2) / (2 * width**2))
        total = (window * light).sum()
        if total <= 0:
            return start, np.inf
        # A Gaussian of width s in a window of width w shows a mean that lags its centre by
        # w^2 / (w^2 + s^2), and a variance of w^2 s^2 / (w^2 + s^2).
        variance = (window * light * (row**2 + column**2)).sum() / total / 2
        lag = float(np.clip(1 - variance / width**2, SMALLEST_LAG, 1))
        step = np.array([(window * light * each).sum() for each in (row, column)]) / total / lag
        centre = centre + np.clip(step, -width, width)
        if np.hypot(*(centre - start)) > 3 * width:
            return start, np.inf
        if np.hypot(*step) < _SETTLED:
            break
    return centre, float(rms * np.sqrt((window**2 * row**2).sum()) / total / lag)


def _patch(image, used, rows, columns):
    """Return the pixels of some rows and columns, those beyond the image not known."""
    inside_rows = (rows >= 0) & (rows < image.shape[0])
    inside_columns = (columns >= 0) & (columns < image.shape[1])
    inside = inside_rows[:, None] & inside_columns[None]
    at = np.ix_(np.clip(rows, 0, image.shape[0] - 1), np.clip(columns, 0, image.shape[1] - 1))
    return image[at], used[at] & inside
