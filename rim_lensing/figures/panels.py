"""Panels that several figures share: the sky, and what explains it."""

from collections.abc import Sequence

import numpy as np

from rim_lensing.lensing.grids import PixelGrid

FLUX = "inferno"
SIGNED = "RdBu_r"
MASKED = "0.6"


def draw_system(
    axes: Sequence,
    image: np.ndarray,
    noise: np.ndarray,
    model_image: np.ndarray,
    source: np.ndarray,
    image_pixel_scale: float,
    source_grid: PixelGrid,
    critical_curves: Sequence[np.ndarray] = (),
    caustics: Sequence[np.ndarray] = (),
    constrained: np.ndarray | None = None,
    data_title: str = "data",
    brightest: float | None = None,
) -> None:
    """Draw one system on four axes: data, model, residuals in sigma, source.

    Args:
        axes: matplotlib's.
        image: The data, (m, m); masked pixels are NaN, and drawn grey.
        noise: rms, (m, m).
        model_image: (m, m), in the image's unit.
        source: (n, n), in the image's unit.
        image_pixel_scale: arcsec.
        source_grid: Where the source's pixels lie.
        critical_curves: Drawn on the model: (points, 2) each, x and y in arcsec.
        caustics: Drawn on the source, likewise.
        constrained: (n, n), False where no used image pixel sees the source, which is hatched.
        data_title: Of the first panel.
        brightest: End of the colours of data and model; by default the brightest of the data.
    """
    top = np.nanmax(image) if brightest is None else brightest
    flux = {"vmin": 0, "vmax": top, "cmap": FLUX}
    signed = {"vmin": -5, "vmax": 5, "cmap": SIGNED}
    sky, plane = PixelGrid(image.shape[-1], image_pixel_scale).extent, source_grid.extent
    residuals = (image - model_image) / noise
    sky_panel(axes[0], image, sky, data_title, "flux per pixel", **flux)
    sky_panel(axes[1], model_image, sky, "model, critical curves", "flux per pixel", **flux)
    sky_panel(axes[2], residuals, sky, "residuals / sigma", "sigma", **signed)
    style = _source_style(source, constrained)
    sky_panel(axes[3], source, plane, "source, caustics", "flux per image pixel", **style)
    hatch(axes[3], constrained, plane)
    _curves(axes[1], critical_curves)
    _curves(axes[3], caustics)


def sky_panel(axis, array: np.ndarray, extent: tuple, title: str, label: str, **style) -> None:
    """Draw an image with its colour bar on axes in arcsec."""
    drawn = axis.imshow(array, origin="lower", extent=extent, interpolation="nearest", **style)
    axis.set_facecolor(MASKED)
    axis.set_title(title)
    axis.set_xlabel("x (arcsec)")
    axis.set_ylabel("y (arcsec)")
    axis.figure.colorbar(drawn, ax=axis, label=label, shrink=0.9)


def _source_style(source: np.ndarray, constrained: np.ndarray | None) -> dict:
    """Return how a source is drawn: light where no data are does not set the scale."""
    style = {"vmin": 0, "cmap": FLUX}
    if constrained is not None and constrained.any() and source[constrained].max() > 0:
        style["vmax"] = source[constrained].max()
    return style


def hatch(axis, constrained: np.ndarray | None, extent: tuple) -> None:
    """Hatch the pixels of a source that no used image pixel sees."""
    if constrained is None or constrained.all():
        return
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    rows, columns = np.nonzero(~constrained)
    left, right, low, high = extent
    width, height = (right - left) / constrained.shape[1], (high - low) / constrained.shape[0]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) * (width, height)
    starts = np.stack([left + columns * width, low + rows * height], axis=1)
    squares = Path.make_compound_path(*(Path(start + corners, closed=True) for start in starts))
    # One patch: the hatching of neighbours joins up.
    axis.add_patch(PathPatch(squares, facecolor="none", edgecolor="0.55", hatch="///", linewidth=0))


def _curves(axis, curves: Sequence[np.ndarray]) -> None:
    """Draw curves without letting them change the panel's frame."""
    frame = axis.get_xlim(), axis.get_ylim()
    for curve in curves:
        axis.plot(curve[:, 0], curve[:, 1], color="white", linewidth=0.8, alpha=0.8)
    axis.set(xlim=frame[0], ylim=frame[1])
