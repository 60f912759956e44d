"""Small pictures of a fit: data, data without light, model, residuals, source, in one strip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rim_lensing.files.whole_files import whole_file

SIDE = 96
"""Pixels of a panel; the page lays its headings out by it."""

_FLUX, _SIGNED = "inferno", "RdBu_r"
_NOTHING = 0.35
"""Grey of what is masked, or not there."""


def write_thumbnail(
    path: Path,
    cutout: np.ndarray,
    image: np.ndarray,
    noise: np.ndarray,
    model_image: np.ndarray | None = None,
    source: np.ndarray | None = None,
) -> None:
    """Write five panels as one PNG; those that are not there are grey.

    Args:
        path: Of the file.
        cutout: With the lens galaxy's light, without the sky, (m, m); masked pixels are NaN.
        image: Without the light, (m, m); masked pixels are NaN.
        noise: rms, (m, m).
        model_image: Of the arcs, (m, m).
        source: (n, n).
    """
    from PIL import Image

    level = 5 * np.median(noise[np.isfinite(noise) & (noise > 0)])
    bright = np.arcsinh(cutout / level)
    top = level if model_image is None else max(float(np.max(model_image)), level)
    panels = [_coloured(bright, 0, np.nanmax(bright), _FLUX), _coloured(image, 0, top, _FLUX)]
    if model_image is not None and source is not None:
        residuals = (image - model_image) / noise
        panels += [
            _coloured(model_image, 0, top, _FLUX),
            _coloured(residuals, -5, 5, _SIGNED),
            _coloured(source, 0, np.max(source), _FLUX),
        ]
    with whole_file(path) as temporary:
        Image.fromarray(_strip(panels)).save(temporary, format="png", optimize=True)


def _coloured(plane: np.ndarray, low: float, high: float, name: str) -> np.ndarray:
    """Return a plane in colours, (rows, columns, 3) bytes, its first row below."""
    from matplotlib import colormaps

    colours = colormaps[name].with_extremes(bad=(_NOTHING,) * 3)
    share = (plane - low) / max(high - low, np.finfo(float).tiny)
    return colours(np.ma.masked_invalid(share[::-1]), bytes=True)[..., :3]


def _strip(panels: Sequence[np.ndarray], number: int = 5) -> np.ndarray:
    """Return panels side by side, each of SIDE pixels."""
    from PIL import Image

    strip: np.ndarray = np.full((SIDE, number * SIDE, 3), round(255 * _NOTHING), np.uint8)
    for place, panel in enumerate(panels):
        method = Image.Resampling.BOX if len(panel) > SIDE else Image.Resampling.NEAREST
        small = Image.fromarray(panel).resize((SIDE, SIDE), method)
        strip[:, place * SIDE : (place + 1) * SIDE] = np.asarray(small)
    return strip
