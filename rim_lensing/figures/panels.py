"""Panels that several figures share: the sky, and what explains it."""

from collections.abc import Sequence

import numpy as np

from rim_lensing.figures.marks import compass, scale_bar
from rim_lensing.lensing.grids import PixelGrid

FLUX = "inferno"
SIGNED = "RdBu_r"
"""Both are told apart by the colour-blind, and in print without colour the first."""

MASKED = "0.6"

STRETCHES = ("linear", "asinh")
"""How flux becomes colour. asinh is linear in the noise and logarithmic above it."""

_LINEAR_WIDTH = 5.0
"""In sigma: where asinh turns from the one to the other."""


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
    stretch: str = "linear",
    unit: str | None = None,
    north: tuple[float, float] | None = None,
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
        stretch: One of STRETCHES, of data, model and source.
        unit: Of the image, at the colour bars.
        north: Position angles of north and east, see `marks.compass`; None, they are not known.

    Raises:
        ValueError: There is no such stretch.
    """
    top = np.nanmax(image) if brightest is None else brightest
    flux = {"norm": flux_norm(stretch, top, noise), "cmap": FLUX}
    signed = {"vmin": -5, "vmax": 5, "cmap": SIGNED}
    sky, plane = PixelGrid(image.shape[-1], image_pixel_scale).extent, source_grid.extent
    residuals = (image - model_image) / noise
    sky_panel(axes[0], image, sky, data_title, flux_label(unit), **flux)
    sky_panel(axes[1], model_image, sky, "model, critical curves", flux_label(unit), **flux)
    sky_panel(axes[2], residuals, sky, "residuals / sigma", "sigma", **signed)
    style = {"norm": flux_norm(stretch, _brightest(source, constrained), noise), "cmap": FLUX}
    label = source_label(unit)
    sky_panel(axes[3], source, plane, "source, caustics", label, **style)
    hatch(axes[3], constrained, plane)
    scale_bar(axes[0], sky)
    scale_bar(axes[3], plane)
    if north is not None:
        compass(axes[0], sky, *north)
    _curves(axes[1], critical_curves)
    _curves(axes[3], caustics)


def sky_panel(axis, array: np.ndarray, extent: tuple, title: str, label: str, **style) -> None:
    """Draw an image with its colour bar on axes in arcsec."""
    from matplotlib.colors import AsinhNorm

    drawn = axis.imshow(array, origin="lower", extent=extent, interpolation="nearest", **style)
    axis.set_facecolor(MASKED)
    axis.set_title(title)
    axis.set_xlabel("x (arcsec)")
    axis.set_ylabel("y (arcsec)")
    bar = axis.figure.colorbar(drawn, ax=axis, label=label, shrink=0.9)
    if isinstance(drawn.norm, AsinhNorm):
        ticks = _asinh_ticks(drawn.norm)
        bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        bar.ax.minorticks_off()


def _asinh_ticks(norm) -> list[float]:
    """Return 0 and round numbers from there on where asinh is a logarithm, four or so."""
    if not norm.vmax > norm.linear_width:
        return [0.0]
    rounded = {float(f"{each:.1g}") for each in np.geomspace(norm.linear_width, norm.vmax, 4)}
    return [0.0, *sorted(tick for tick in rounded if tick <= norm.vmax)]


def flux_norm(stretch: str, brightest: float, noise: np.ndarray, darkest: float = 0.0):
    """Return what turns flux into colour, matplotlib's Normalize or AsinhNorm.

    Args:
        stretch: One of STRETCHES.
        brightest: Where the colours end.
        noise: rms, any shape; pixels that are not finite do not count.
        darkest: Where they begin.

    Raises:
        ValueError: There is no such stretch.
    """
    from matplotlib.colors import AsinhNorm, Normalize

    if stretch not in STRETCHES:
        raise ValueError(f"`stretch` must be one of {STRETCHES}. Received: {stretch!r}")
    if stretch == "linear":
        return Normalize(darkest, brightest)
    return AsinhNorm(_LINEAR_WIDTH * np.median(noise[np.isfinite(noise)]), darkest, brightest)


def flux_label(unit: str | None) -> str:
    """Return the words at an image's colour bar: its unit, if it is known."""
    return unit or "flux per pixel"


def source_label(unit: str | None) -> str:
    """Return the words at a source's colour bar: it has the image's unit."""
    return "flux per image pixel" if unit is None else f"{unit}, as in the image"


def _brightest(source: np.ndarray, constrained: np.ndarray | None) -> float:
    """Return where a source's colours end: light where no data are does not set the scale."""
    seen = source[constrained] if constrained is not None and constrained.any() else source
    top = seen.max() if seen.max() > 0 else source.max()
    return float(top) if top > 0 else 1.0


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
