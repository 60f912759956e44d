"""Images, residuals, sources, critical curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.figures.marks import compass, scale_bar
from rim_lensing.figures.panels import (
    FLUX,
    SIGNED,
    draw_system,
    flux_label,
    flux_norm,
    hatch,
    sky_panel,
    source_label,
)
from rim_lensing.lensing.grids import PixelGrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def summary(
    chi2_history: np.ndarray, title: str = "", source_std: np.ndarray | None = None, **system
) -> "Figure":
    """Draw one system: data, model, residuals in sigma, source, and chi^2 of the steps.

    Or, of a method that knows it, the standard deviation of the source in their place.

    Args:
        chi2_history: chi^2 per pixel after every step of the method, (T,).
        title: Above all, for example the name of the model.
        source_std: (n, n), in the image's unit.
        system: What `panels.draw_system` takes, such as `Reconstruction.panels()`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    below = (0, slice(1, 3)) if source_std is None else range(3)
    axes = [figure.add_subplot(grid[0, column]) for column in range(3)]
    axes += [figure.add_subplot(grid[1, column]) for column in below]
    draw_system(axes[:4], **system)
    if source_std is None:
        _chi2_panel(axes[4], np.asarray(chi2_history))
    else:
        plane = system["source_grid"].extent
        words = "standard deviation", source_label(system.get("unit"))
        sky_panel(axes[4], source_std, plane, *words, vmin=0, cmap=FLUX)
        words = "source / standard deviation", "sigma"
        sky_panel(axes[5], system["source"] / source_std, plane, *words, vmin=0, cmap=FLUX)
        for axis in axes[4:]:
            hatch(axis, system.get("constrained"), plane)
        title = ", ".join(filter(None, [title, f"$\\chi^2$ per pixel {chi2_history[-1]:.3f}"]))
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
        ("data", "of peak", image, {"vmin": 0, "vmax": 1, "cmap": FLUX}),
        ("model", "of peak", model_image, {"vmin": 0, "vmax": 1, "cmap": FLUX}),
        ("residuals / sigma", "sigma", residuals, {"vmin": -4, "vmax": 4, "cmap": SIGNED}),
        ("true source", "of peak", true_source, {"vmin": 0, "vmax": 1, "cmap": FLUX}),
        ("reconstruction", "of true peak", source, {"vmin": 0, "vmax": 1, "cmap": FLUX}),
        ("error", "of true peak", errors, {"vmin": -0.1, "vmax": 0.1, "cmap": SIGNED}),
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
        low, high = drawn.get_clim()
        figure.colorbar(
            drawn,
            ax=axes[:, column],
            ticks=(low, high, (low + high) / 2),
            location="bottom",
            label=label,
            aspect=14,
            shrink=0.9,
            pad=0.1 / rows,
        )
    for i in range(rows):
        axes[i, 0].set_ylabel(f"noise {np.median(noise[i]) / image[i].max():.1%}")
        axes[i, 2].set_xlabel(f"$\\chi^2$/pixel {np.mean(residuals[i] ** 2):.2f}")
        axes[i, 5].set_xlabel(f"rms {np.sqrt(np.mean(errors[i] ** 2)):.2%} of peak")
    return figure


def lens_fit(rows: Sequence[dict]) -> "Figure":
    """A row per lens that was tried: data, model, residuals, source (figures 7 and 8).

    Args:
        rows: Each with what `panels.draw_system` takes, such as `Reconstruction.panels()`, and its
            title, which may have several lines.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.9 * len(rows)), layout="constrained")
    strips = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    axes = [strip.subplots(1, 4) for strip in strips]
    for strip, line, row in zip(strips, axes, rows, strict=True):
        strip.suptitle(row["title"], x=0.01, ha="left")
        draw_system(line, **{name: value for name, value in row.items() if name != "title"})
    return figure


def observation(
    image: np.ndarray,
    noise: np.ndarray,
    psf: np.ndarray,
    pixel_scale: float | None,
    unit: str | None = None,
    north: tuple[float, float] | None = None,
    stretch: str = "linear",
) -> "Figure":
    """Draw what was observed: image, noise, their ratio, and the PSF.

    Args:
        image: (y, x).
        noise: rms, (y, x); infinite where masked, which is drawn grey.
        psf: Kernel (k, k), drawn as its logarithm.
        pixel_scale: arcsec; None draws in pixels.
        unit: Of image and noise.
        north: Position angles of north and east, see `marks.compass`; None, they are not known.
        stretch: One of `panels.STRETCHES`, of the image.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    masked = ~np.isfinite(noise)
    rows, columns = (length * (pixel_scale or 1.0) / 2 for length in image.shape)
    sky = (-columns, columns, -rows, rows)
    shown = np.where(masked, np.nan, image)
    level = np.nanpercentile(shown, 99.5) if np.isfinite(shown).any() else 1.0
    ratio = np.where(masked, np.nan, image / np.where(masked, 1, noise))
    label, darkest = flux_label(unit), min(0, np.nanmin(shown))
    norm = flux_norm(stretch, level, noise, darkest)
    sky_panel(axes[0], shown, sky, "image", label, norm=norm, cmap=FLUX)
    sky_panel(axes[1], np.where(masked, np.nan, noise), sky, "noise (rms)", label, cmap=FLUX)
    sky_panel(axes[2], ratio, sky, "image / noise", "sigma", cmap=FLUX)
    side = len(psf) / 2
    drawn = np.log10(np.maximum(psf, 1e-6 * psf.max()) / psf.max())
    sky_panel(axes[3], drawn, (-side, side, -side, side), "PSF", "log10 of PSF / peak", cmap=FLUX)
    if pixel_scale is None:
        for axis in axes[:3]:
            axis.set(xlabel="x (pixels)", ylabel="y (pixels)")
    else:
        scale_bar(axes[0], sky)
    if north is not None:
        compass(axes[0], sky, *north)
    axes[3].set(xlabel="x (pixels)", ylabel="y (pixels)")
    return figure


def lens_light(
    data: np.ndarray,
    noise: np.ndarray,
    light: np.ndarray,
    fitted: np.ndarray,
    pixel_scale: float,
    unit: str | None = None,
    north: tuple[float, float] | None = None,
) -> "Figure":
    """Draw a lens galaxy: data, light, data without light, and this over the noise.

    Args:
        data: Without the sky, (y, x).
        noise: rms, (y, x); infinite where masked, which is drawn grey.
        light: (y, x).
        fitted: True where the light was fitted, (y, x): its border is drawn on the residuals.
        pixel_scale: arcsec.
        unit: Of the image.
        north: Position angles of north and east, see `marks.compass`; None, they are not known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    used = np.isfinite(noise)
    rows, columns = (length * pixel_scale / 2 for length in data.shape)
    sky = (-columns, columns, -rows, rows)
    rest = np.where(used, data - light, np.nan)
    level = 5 * np.median(noise[used])
    # The light spans decades.
    style = {"norm": flux_norm("asinh", np.nanmax(light), noise), "cmap": FLUX}
    label = flux_label(unit)
    sky_panel(axes[0], np.where(used, data, np.nan), sky, "data without sky", label, **style)
    sky_panel(axes[1], light, sky, "light", label, **style)
    scale_bar(axes[0], sky)
    if north is not None:
        compass(axes[0], sky, *north)
    outside = rest[used & ~fitted]
    top = np.percentile(outside, 99) if outside.size else level
    style = {"vmin": -level, "vmax": max(level, top), "cmap": FLUX}
    sky_panel(axes[2], rest, sky, "without the light", label, **style)
    ratio = rest / np.where(used, noise, 1)
    sky_panel(axes[3], ratio, sky, "residuals / sigma", "sigma", vmin=-5, vmax=5, cmap=SIGNED)
    if fitted.any() and not fitted.all():
        axes[3].contour(fitted, [0.5], colors="k", linewidths=0.6, extent=sky)
    return figure


def cutout_fit(cutout: np.ndarray, light: np.ndarray, title: str = "", **system) -> "Figure":
    """Draw a cutout's field: with the lens galaxy, its light, the arcs, their model, the source.

    Args:
        cutout: With the galaxy's light, without the sky, (m, m); masked pixels are NaN.
        light: Of the galaxy, (m, m).
        title: Above all.
        system: What `panels.draw_system` takes of the image without the light.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    noise, north = system["noise"], system.get("north")
    sky = PixelGrid(cutout.shape[-1], system["image_pixel_scale"]).extent
    level = 5 * np.median(noise[np.isfinite(noise)])
    # The light spans decades.
    style = {"norm": flux_norm("asinh", np.nanmax(cutout), noise), "cmap": FLUX}
    label = flux_label(system.get("unit"))
    sky_panel(axes[0], cutout, sky, "data without sky", label, **style)
    sky_panel(axes[1], light, sky, "lens galaxy's light", label, **style)
    scale_bar(axes[0], sky)
    if north is not None:
        compass(axes[0], sky, *north)
    # Not the core: what is left there may be brighter than all arcs.
    brightest = max(float(np.max(system["model_image"])), level)
    draw_system(axes[2:], **system, data_title="data without light", brightest=brightest)
    if title:
        figure.suptitle(title)
    return figure


def _chi2_panel(axis, chi2: np.ndarray) -> None:
    """Draw chi^2 per pixel against the step."""
    steps = np.arange(1, len(chi2) + 1)
    axis.plot(steps, chi2, "o-", color="C0")
    axis.axhline(1, color="0.5", linestyle="--", linewidth=1)
    if np.ptp(np.log(chi2)) > 1:
        low, high = min(0.5, chi2.min() / 2), max(2.0, chi2.max() * 2)
        axis.set_yscale("log")
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
        ticks = np.outer(decades, (1, 2, 5) if high < 1000 * low else (1,)).ravel()
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.yaxis.set_minor_formatter("")
        axis.set_ylim(low, high)
    axis.annotate(
        f"{chi2[-1]:.3g}", (steps[-1], chi2[-1]), (0, 8), textcoords="offset points", ha="center"
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlim(0.5, len(chi2) + 0.5)
    axis.margins(y=0.2)
    axis.set_title("$\\chi^2$ per pixel")
    axis.set_xlabel("step")
