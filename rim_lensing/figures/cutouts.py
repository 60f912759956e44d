"""Raw cutouts: what was found on them, and how it was measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#999999", "#CC79A7", "#D55E00", "#E69F00", "#56B4E9")
"""Okabe & Ito's, which the colour-blind tell apart."""


def raw_cutout(
    image: np.ndarray,
    galaxy: np.ndarray,
    used: np.ndarray,
    found: Mapping[str, np.ndarray],
    pixel_scale: float,
    centre: tuple[float, float],
    rings: Mapping[str, np.ndarray],
    sky: tuple[float, float, float],
    blank: np.ndarray,
    noise_factor: float | None,
    correlation: np.ndarray | None,
) -> "Figure":
    """Draw a cutout with what was found on it, what is used, the sky's fit, and the noise.

    Args:
        image: Sky subtracted, (y, x); NaN where there are no data.
        galaxy: The smooth galaxy that what else there is was found on, sky subtracted, (y, x).
        used: True where a pixel is, (y, x).
        found: Up to five maps, True where something is, by name, (y, x) each; outlined.
        pixel_scale: arcsec.
        centre: (x, y) of the galaxy from the middle, arcsec.
        rings: As `sky_rings`.
        sky: Its level, its error and its scatter, in the image's unit.
        blank: Pixels of blank sky over their noise, (n,).
        noise_factor: What the noise map was multiplied by, None where none was given.
        correlation: Of the noise, (k, k), None where none is seen.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9.5), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    half = [length * pixel_scale / 2 for length in image.shape]
    extent = (-half[1], half[1], -half[0], half[0])
    style = {"origin": "lower", "extent": extent, "cmap": "gray", "interpolation": "nearest"}
    rms = sky[2]
    stretched = np.arcsinh(image / (2 * rms))
    axes[0].imshow(stretched, vmin=-1, vmax=6, **style)
    axes[0].set_title("sky subtracted, asinh")
    axes[1].imshow((image - galaxy) / rms, vmin=-4, vmax=8, **style)
    axes[1].set_title("smooth galaxy taken off, in sky rms")
    axes[2].imshow(np.where(used, stretched, np.nan), vmin=-1, vmax=6, **style)
    axes[2].set_facecolor("tab:brown")
    axes[2].set_title("what is used")
    for (name, pixels), colour in zip(found.items(), _COLOURS, strict=False):
        if pixels.any():
            for axis in axes[:2]:
                axis.contour(pixels, levels=[0.5], colors=colour, extent=extent, linewidths=0.8)
            axes[0].plot([], [], color=colour, label=name)
    axes[0].plot(*centre, "+", color="yellow", label="centre")
    axes[0].legend(fontsize=8, loc="upper right")
    for axis in axes[:3]:
        axis.set(xlabel="x (arcsec)", ylabel="y (arcsec)")
    _rings_panel(axes[3], rings, *sky)
    _scatter_panel(axes[4], blank, noise_factor)
    _correlation_panel(axes[5], correlation)
    return figure


def sky_rings(rings: Mapping[str, np.ndarray], level: float, error: float, rms: float) -> "Figure":
    """Draw the brightness of a galaxy's rings over the sky, with the fit that the sky is from.

    Args:
        rings: radius (arcsec), profile, profile_error and fitted, (n,) each, sky in them.
        level: Of the sky.
        error: Of the level.
        rms: Of blank pixels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    _rings_panel(figure.subplots(), rings, level, error, rms)
    return figure


def _rings_panel(axis, rings, level: float, error: float, rms: float) -> None:
    """Draw the rings' brightness over the sky, with the fit."""
    radius, profile = rings["radius"], rings["profile"]
    axis.errorbar(radius, profile - level, rings["profile_error"], fmt=".", label="rings")
    axis.plot(radius, rings["fitted"] - level, label="Sersic profiles and sky")
    axis.axhspan(-error, error, color="tab:green", alpha=0.3, label="error of the sky")
    axis.set_yscale("symlog", linthresh=max(rms, error))
    axis.set(xlabel="radius of the ring (arcsec)", ylabel="brightness over the sky")
    axis.set_title(f"sky {level:.4g} +- {error:.2g}")
    axis.legend(fontsize=8)


def _scatter_panel(axis, blank: np.ndarray, noise_factor: float | None) -> None:
    """Draw blank pixels over their noise, as given and as it is now, beside a Gaussian."""
    from scipy.stats import norm

    bins = np.linspace(-5, 5, 51)
    axis.hist(blank, bins, density=True, alpha=0.6, label="blank sky / noise")
    if noise_factor not in (None, 1.0):
        given = blank * noise_factor
        label = "with the noise map as given"
        axis.hist(given, bins, density=True, histtype="step", label=label)
    axis.plot(bins, norm.pdf(bins), "k", label="Gaussian of width 1")
    axis.set(xlabel="sigma", yscale="log", ylim=(1e-4, None))
    axis.set_title(f"{blank.size} blank pixels")
    axis.legend(fontsize=8)


def _correlation_panel(axis, correlation: np.ndarray | None) -> None:
    """Draw the noise's correlation by distance."""
    if correlation is None:
        axis.text(0.5, 0.5, "noise not seen\nto be correlated", ha="center", va="center")
        axis.set_axis_off()
        return
    reach = len(correlation) // 2
    side = reach + 0.5
    extent = (-side, side, -side, side)
    drawn = axis.imshow(correlation, origin="lower", extent=extent, vmin=-1, vmax=1, cmap="RdBu")
    for row, line in enumerate(correlation):
        for column, value in enumerate(line):
            axis.text(column - reach, row - reach, f"{value:.2f}", ha="center", va="center", size=6)
    axis.set(xlabel="pixels apart in x", ylabel="pixels apart in y", title="correlation of noise")
    axis.figure.colorbar(drawn, ax=axis, shrink=0.9)
