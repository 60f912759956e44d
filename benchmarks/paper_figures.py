"""The paper's figures 3 to 10, from arrays to matplotlib Figures."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from rim_lensing.figures import lens_contours, mock_reconstructions
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

_RIM, _LINEAR = "tab:blue", "tab:red"
_FLUX = {"vmin": 0, "vmax": 1, "cmap": "inferno"}
_ERROR = {"vmin": -0.1, "vmax": 0.1, "cmap": "RdBu_r"}
_SIGMA = {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}
_CLIPPED_FLUX_ERROR = 0.3
"""Flux errors beyond this are drawn at the border of figure 4."""


def reconstructions_figure(examples: dict[str, np.ndarray], rows: int = 6) -> Figure:
    """Figure 3: the RIM behind the true lens, a row per system.

    Args:
        examples: image, rim_model (systems, m, m), noise_rms (systems,), true_source, rim_source
            (systems, n, n).
        rows: The first so many systems.
    """
    image = examples["image"][:rows]
    return mock_reconstructions(
        image,
        np.broadcast_to(examples["noise_rms"][:rows, None, None], image.shape),
        examples["rim_model"][:rows],
        examples["true_source"][:rows],
        examples["rim_source"][:rows],
    )


def flux_figure(true_flux: np.ndarray, errors: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Figure 4: the source's flux and its error against the true flux.

    Args:
        true_flux: (systems,), any unit.
        errors: By title: which systems (some,), and their flux errors, sum S / sum S_true - 1
            (some,).
    """
    figure = Figure(figsize=(6.5, 7.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    ends = np.array([true_flux.min(), true_flux.max()])
    for (title, (systems, error)), colour in zip(
        errors.items(), ("k", _RIM, "tab:orange"), strict=False
    ):
        style = {"ls": "", "marker": ".", "ms": 4, "alpha": 0.6, "color": colour}
        true = true_flux[systems]
        label = f"{title} ({len(systems)}): median |error| {np.nanmedian(np.abs(error)):.1%}"
        upper.plot(true, true * (1 + error), label=label, **style)
        lower.plot(true, 100 * np.clip(error, -_CLIPPED_FLUX_ERROR, _CLIPPED_FLUX_ERROR), **style)
    upper.plot(ends, ends, color="r", lw=1)
    lower.axhline(0, color="r", lw=1)
    upper.set(xscale="log", yscale="log", ylabel="predicted flux (peak x source pixel)")
    upper.legend(fontsize=9)
    reach = 105 * _CLIPPED_FLUX_ERROR
    lower.set(xlabel="true flux (peak x source pixel)", ylim=(-reach, reach))
    lower.set_ylabel(f"flux error (%), clipped at {_CLIPPED_FLUX_ERROR:.0%}")
    return figure


def coherence_figure(spectra: dict[str, np.ndarray]) -> Figure:
    """Figure 5: coherence with the truth, mean over the systems and its standard error.

    Args:
        spectra: Of the RIM and of the linear inversion, by title: C(k) at k = 1, 2, ... cycles per
            source grid, (systems, k).
    """
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axis = figure.subplots()
    for (title, spectrum), colour in zip(spectra.items(), (_RIM, _LINEAR), strict=True):
        error = spectrum.std(axis=0) / np.sqrt(len(spectrum))
        wavenumbers = np.arange(1, spectrum.shape[1] + 1)
        axis.errorbar(wavenumbers, spectrum.mean(axis=0), error, fmt=".", color=colour, label=title)
    axis.axhline(0, color="0.5", lw=0.8)
    axis.set(xscale="log", ylim=(-0.05, 1.05))
    axis.set(xlabel="k (cycles per source grid)", ylabel="coherence with the truth")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    axis.set_title(f"mean over {len(spectrum)} systems")
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def comparison_figure(examples: dict[str, np.ndarray], system: int = 0) -> Figure:
    """Figure 6: RIM and linear inversion on one lens, errors and residuals.

    Args:
        examples: As for `reconstructions_figure`, and linear_source and linear_model.
        system: Which.
    """
    one = {name: array[system] for name, array in examples.items()}
    peak = one["image"].max()
    truth = one["true_source"]
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    axes = figure.subplots(2, 4)
    first = (
        (f"observed image, noise {one['noise_rms'] / peak:.1%}", one["image"] / peak, "of peak"),
        ("ground truth", truth, "of peak"),
    )
    for row, (title, array, label), name, method in zip(
        axes, first, ("rim", "linear"), ("RIM", "linear inversion"), strict=True
    ):
        error = (one[f"{name}_source"] - truth) / truth.max()
        residuals = (one["image"] - one[f"{name}_model"]) / one["noise_rms"]
        rms = np.sqrt(np.mean(error**2))
        _panel(row[0], array, title, label, **_FLUX)
        _panel(row[1], one[f"{name}_source"], f"{method}: source", "of true peak", **_FLUX)
        _panel(row[2], error, f"its error, rms {rms:.4f}", "of true peak", **_ERROR)
        chi2 = f"$\\chi^2$/pixel {np.mean(residuals**2):.2f}"
        _panel(row[3], residuals, f"its residuals, {chi2}", "sigma", **_SIGMA)
    return figure


def lens_examples_figure(examples: list[dict[str, np.ndarray]], lens: str) -> Figure:
    """Figures 7 and 8: the RIM behind a lens that is not the true one, a row per system.

    Critical curves and caustics of the true lens are white, those of the lens cyan and dashed.

    Args:
        examples: One each: image, noise, {lens}_lens_model (m, m), true_source,
            {lens}_lens_source (n, n), and of both lenses {lens}_critical_curves and {lens}_caustics
            (points, 2) in arcsec, NaN between two curves; image_pixel_scale and
            source_pixel_scale in arcsec.
        lens: predicted (figure 7) or fitted (figure 8).
    """
    names = ("image", "noise", f"{lens}_lens_model", "true_source", f"{lens}_lens_source")
    stacks = (np.stack([one[name] for one in examples]) for name in names)
    figure = mock_reconstructions(*stacks)
    axes = np.array(figure.axes[: 6 * len(examples)]).reshape(-1, 6)
    for row, one in zip(axes, examples, strict=True):
        for axis in row[:2]:
            _curves(axis, one, lens, "critical_curves", "image")
        for axis in row[3:5]:
            _curves(axis, one, lens, "caustics", "source")
    title = {"predicted": "predicted by the CNN", "fitted": "after optimisation"}[lens]
    figure.suptitle(f"lens {title}: cyan, dashed; true lens: white", fontsize=12)
    return figure


def posterior_figure(rim: dict[str, np.ndarray], linear: dict[str, np.ndarray]) -> Figure:
    """Figure 9: 68% and 95% contours of the lens, with the RIM and with the linear inversion.

    Args:
        rim: samples (draws, 7) and truth (7,).
        linear: samples (draws, 7).
    """
    return lens_contours(
        [rim["samples"], linear["samples"]], ["RIM", "linear"], PARAMETER_NAMES, rim["truth"]
    )


def out_of_distribution_figure(classes: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Figure 10: the first system of each kind of source that training may not have seen.

    Args:
        classes: By kind: image, rim_model, linear_model (systems, m, m), noise_rms (systems,),
            true_source, rim_source, linear_source (systems, n, n).
    """
    columns = {"image": "observed image", "linear_model": "model, linear"}
    columns |= {"rim_model": "model, RIM", "true_source": "ground truth"}
    columns |= {"linear_source": "source, linear", "rim_source": "source, RIM"}
    figure = Figure(figsize=(14, 2.5 * len(classes) + 0.4), layout="constrained")
    axes = figure.subplots(len(classes), len(columns), squeeze=False)
    for axis, title in zip(axes[0], columns.values(), strict=True):
        axis.set_title(title, fontsize=11)
    for row, (kind, arrays) in zip(axes, classes.items(), strict=True):
        one = {key: arrays[key][0] for key in columns}
        for axis, (key, array) in zip(row, one.items(), strict=True):
            peak = one["true_source" if "source" in key else "image"].max()
            _bare(axis, array / peak, **_FLUX)
            if key in ("linear_source", "rim_source"):
                rms = np.sqrt(np.mean((array - one["true_source"]) ** 2)) / peak
                axis.set_xlabel(f"rms {rms:.1%} of peak")
        noise = arrays["noise_rms"][0] / one["image"].max()
        row[0].set_ylabel(f"{kind}, noise {noise:.1%}")
    return figure


def _bare(axis, array: np.ndarray, **style):
    """Draw an array without ticks."""
    drawn = axis.imshow(array, origin="lower", interpolation="nearest", **style)
    axis.set(xticks=[], yticks=[])
    return drawn


def _panel(axis, array: np.ndarray, title: str, label: str, **style) -> None:
    """Draw an array with its colour bar."""
    drawn = _bare(axis, array, **style)
    axis.set_title(title, fontsize=11)
    axis.figure.colorbar(drawn, ax=axis, label=label, location="bottom", shrink=0.8, aspect=25)


def _curves(axis, one: dict[str, np.ndarray], lens: str, curves: str, plane: str) -> None:
    """Draw the curves of both lenses on an image of pixels, without changing its frame."""
    frame = axis.get_xlim(), axis.get_ylim()
    middle = (one["image" if plane == "image" else "true_source"].shape[-1] - 1) / 2
    for name, colour, style in (("true", "w", "-"), (lens, "cyan", "--")):
        points = one[f"{name}_{curves}"] / one[f"{plane}_pixel_scale"] + middle
        axis.plot(points[:, 0], points[:, 1], style, color=colour, lw=0.8)
    axis.set(xlim=frame[0], ylim=frame[1])
