"""Pictures of what was found on a cutout: arrays to matplotlib figures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.observation.observation import Observation
from rim_lensing.preparation.sky_level import Sky

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("tab:gray", "tab:purple", "tab:red", "tab:orange", "tab:cyan")


def cutout_picture(
    observation: Observation,
    maps: Mapping[str, np.ndarray],
    blank: np.ndarray,
    offset: tuple[float, float],
    galaxy: np.ndarray,
    sky: Sky,
    noise_factor: float | None,
) -> "Figure":
    """Draw a cutout with what was found on it, what is used, the sky's fit, and the noise.

    Args:
        observation: Sky subtracted, noise corrected, masked.
        maps: True where something was found, by name, (y, x) each; outlined.
        blank: True in blank sky, (y, x).
        offset: (x, y) of the galaxy's centre from the middle, arcsec.
        galaxy: The smooth galaxy, the sky in it, (y, x).
        sky: The sky's fit.
        noise_factor: What the noise map was multiplied by, None where none was given.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9.5), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    half = [length * observation.pixel_scale / 2 for length in observation.image.shape]
    extent = (-half[1], half[1], -half[0], half[0])
    style = {"origin": "lower", "extent": extent, "cmap": "gray", "interpolation": "nearest"}
    seen = np.where(maps["no data"], np.nan, observation.image)
    left = observation.image + sky.level - galaxy
    stretched = np.arcsinh(seen / (2 * sky.rms))
    axes[0].imshow(stretched, vmin=-1, vmax=6, **style)
    axes[0].set_title("sky subtracted, asinh")
    axes[1].imshow(np.where(maps["no data"], np.nan, left) / sky.rms, vmin=-4, vmax=8, **style)
    axes[1].set_title("smooth galaxy taken off, in sky rms")
    axes[2].imshow(np.where(observation.mask, stretched, np.nan), vmin=-1, vmax=6, **style)
    axes[2].set_facecolor("tab:brown")
    axes[2].set_title("what is used")
    for (name, found), colour in zip(maps.items(), _COLOURS, strict=True):
        if found.any():
            for axis in axes[:2]:
                axis.contour(found, levels=[0.5], colors=colour, extent=extent, linewidths=0.8)
            axes[0].plot([], [], color=colour, label=name)
    axes[0].plot(*offset, "+", color="yellow", label="centre")
    axes[0].legend(fontsize=8, loc="upper right")
    for axis in axes[:3]:
        axis.set(xlabel="x (arcsec)", ylabel="y (arcsec)")
    sky_panel(axes[3], sky)
    _scatter_panel(axes[4], (left / observation.noise)[blank], noise_factor)
    _correlation_panel(axes[5], observation.noise_correlation)
    return figure


def sky_panel(axis, sky: Sky) -> None:
    """Draw the rings' brightness over the sky, with the fit.

    Args:
        axis: Of matplotlib.
        sky: The fit.
    """
    axis.errorbar(sky.radius, sky.profile - sky.level, sky.profile_error, fmt=".", label="rings")
    axis.plot(sky.radius, sky.fitted - sky.level, label="Sersic profiles and sky")
    axis.axhspan(-sky.error, sky.error, color="tab:green", alpha=0.3, label="error of the sky")
    axis.set_yscale("symlog", linthresh=max(sky.rms, sky.error))
    axis.set(xlabel="radius of the ring (arcsec)", ylabel="brightness over the sky")
    axis.set_title(f"sky {sky.level:.4g} +- {sky.error:.2g}")
    axis.legend(fontsize=8)


def _scatter_panel(axis, normalised: np.ndarray, noise_factor: float | None) -> None:
    """Draw blank pixels over their noise, as given and as it is now, beside a Gaussian."""
    from scipy.stats import norm

    bins = np.linspace(-5, 5, 51)
    axis.hist(normalised, bins, density=True, alpha=0.6, label="blank sky / noise")
    if noise_factor not in (None, 1.0):
        given = normalised * noise_factor
        label = "with the noise map as given"
        axis.hist(given, bins, density=True, histtype="step", label=label)
    axis.plot(bins, norm.pdf(bins), "k", label="Gaussian of width 1")
    axis.set(xlabel="sigma", yscale="log", ylim=(1e-4, None))
    axis.set_title(f"{normalised.size} blank pixels")
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
