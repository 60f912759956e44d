"""Figures: functions from arrays to a matplotlib Figure. Nothing here computes a result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.lensing.grids import PixelGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FLUX = "inferno"
_SIGNED = "RdBu_r"
_MASKED = "0.6"


def summary(
    image: np.ndarray,
    noise: np.ndarray,
    model_image: np.ndarray,
    source: np.ndarray,
    image_pixel_scale: float,
    source_pixel_scale: float,
    chi2_history: np.ndarray,
    critical_curves: Sequence[np.ndarray] = (),
    caustics: Sequence[np.ndarray] = (),
    title: str = "",
) -> "Figure":
    """Draw one system: data, model, residuals in sigma, source, and chi^2 of the steps.

    Args:
        image: The data, (m, m); masked pixels are NaN, and drawn grey.
        noise: rms, (m, m).
        model_image: (m, m), in the image's unit.
        source: (n, n), in the image's unit.
        image_pixel_scale: arcsec.
        source_pixel_scale: arcsec.
        chi2_history: chi^2 per pixel after every step of the method, (T,).
        critical_curves: Drawn on the model: (points, 2) each, x and y in arcsec.
        caustics: Drawn on the source, likewise.
        title: Above all, for example the name of the model.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    axes = [figure.add_subplot(grid[0, column]) for column in range(3)]
    axes += [figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1:])]
    residuals = (image - model_image) / noise
    flux_range = {"vmin": 0, "vmax": np.nanmax(image), "cmap": _FLUX}
    sky = PixelGrid(image.shape[-1], image_pixel_scale).extent
    _sky_panel(axes[0], image, sky, "data", "flux per pixel", **flux_range)
    _sky_panel(axes[1], model_image, sky, "model, critical curves", "flux per pixel", **flux_range)
    _sky_panel(axes[2], residuals, sky, "residuals / sigma", "sigma", vmin=-5, vmax=5, cmap=_SIGNED)
    _sky_panel(
        axes[3],
        source,
        PixelGrid(source.shape[-1], source_pixel_scale).extent,
        "source, caustics",
        "flux per image pixel",
        vmin=0,
        cmap=_FLUX,
    )
    _curves(axes[1], critical_curves)
    _curves(axes[3], caustics)
    _chi2_panel(axes[4], np.asarray(chi2_history))
    if title:
        figure.suptitle(title)
    return figure


def mock_reconstructions(
    image: np.ndarray,
    noise: np.ndarray,
    model_image: np.ndarray,
    true_source: np.ndarray,
    source: np.ndarray,
) -> "Figure":
    """A row per system: data, model, residual in sigma, truth, reconstruction, error.

    Args:
        image: (rows, m, m).
        noise: (rows, m, m).
        model_image: (rows, m, m).
        true_source: (rows, n, n), peak 1.
        source: (rows, n, n).
    """
    from matplotlib.figure import Figure

    rows = len(image)
    figure = Figure(figsize=(13, 2.2 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, 6, squeeze=False)
    residuals, errors = (image - model_image) / noise, source - true_source
    columns = (
        ("data", "of peak", image, {"vmin": 0, "vmax": 1, "cmap": _FLUX}),
        ("model", "of peak", model_image, {"vmin": 0, "vmax": 1, "cmap": _FLUX}),
        ("residuals / sigma", "sigma", residuals, {"vmin": -4, "vmax": 4, "cmap": _SIGNED}),
        ("true source", "of peak", true_source, {"vmin": 0, "vmax": 1, "cmap": _FLUX}),
        ("reconstruction", "of true peak", source, {"vmin": 0, "vmax": 1, "cmap": _FLUX}),
        ("error", "of true peak", errors, {"vmin": -0.1, "vmax": 0.1, "cmap": _SIGNED}),
    )
    for column, (title, label, arrays, style) in enumerate(columns):
        for i in range(rows):
            peak = image[i].max() if column < 2 else 1.0
            drawn = axes[i, column].imshow(
                arrays[i] / peak, origin="lower", interpolation="nearest", **style
            )
            axes[i, column].set_xticks([])
            axes[i, column].set_yticks([])
        axes[0, column].set_title(title)
        ends = (style["vmin"], style["vmax"])
        bar = {"location": "bottom", "label": label, "aspect": 14, "shrink": 0.9}
        figure.colorbar(drawn, ax=axes[:, column], ticks=(*ends, np.mean(ends)), **bar)
    for i in range(rows):
        axes[i, 0].set_ylabel(f"noise {np.median(noise[i]) / image[i].max():.1%}")
        axes[i, 2].set_xlabel(f"$\\chi^2$/pixel {np.mean(residuals[i] ** 2):.2f}")
        axes[i, 5].set_xlabel(f"rms {np.sqrt(np.mean(errors[i] ** 2)):.2%} of peak")
    return figure


def _sky_panel(axis, array: np.ndarray, extent: tuple, title: str, label: str, **style) -> None:
    """Draw an image with its colour bar on axes in arcsec."""
    drawn = axis.imshow(array, origin="lower", extent=extent, interpolation="nearest", **style)
    axis.set_facecolor(_MASKED)
    axis.set_title(title)
    axis.set_xlabel("x (arcsec)")
    axis.set_ylabel("y (arcsec)")
    axis.figure.colorbar(drawn, ax=axis, label=label, shrink=0.9)


def _curves(axis, curves: Sequence[np.ndarray]) -> None:
    """Draw curves without letting them change the panel's frame."""
    frame = axis.get_xlim(), axis.get_ylim()
    for curve in curves:
        axis.plot(curve[:, 0], curve[:, 1], color="white", linewidth=0.8, alpha=0.8)
    axis.set(xlim=frame[0], ylim=frame[1])


def _chi2_panel(axis, chi2: np.ndarray) -> None:
    """Draw chi^2 per pixel against the step."""
    steps = np.arange(1, len(chi2) + 1)
    axis.plot(steps, chi2, "o-", color="C0")
    axis.axhline(1, color="0.5", linestyle="--", linewidth=1)
    if np.ptp(np.log(chi2)) > 1:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.set_ylim(min(0.5, chi2.min() / 2), max(2.0, chi2.max() * 2))
    axis.annotate(
        f"{chi2[-1]:.3g}", (steps[-1], chi2[-1]), (0, 8), textcoords="offset points", ha="center"
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlim(0.5, len(chi2) + 0.5)
    axis.margins(y=0.2)
    axis.set_title("$\\chi^2$ per pixel")
    axis.set_xlabel("step")
