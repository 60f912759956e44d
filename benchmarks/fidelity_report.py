"""From the arrays of fidelity.py to its measures, its table and its figures."""

from pathlib import Path

import numpy as np
from bootstrap import resamples, with_error
from fidelity_methods import OURS
from matplotlib.figure import Figure
from resumable import write_figure

from rim_lensing import metrics
from rim_lensing.publishing.measurement import MAGNIFICATION_BINS
from rim_lensing.simulation.priors import NOISE_BINS

_WAVENUMBERS = (10, 20)
_COLOURS = {"rim": "C3", "refined": "C1", "linear": "C0", "oracle": "C9"}


def measure(arrays: dict, methods: dict, regularization: str) -> dict:
    """Return the measures of every method and system, arrays (systems, ...).

    The log-priors are those of the linear inversion's own prior, at the strength of the largest
    evidence of each system.
    """
    truth, noise = arrays["true_source"], arrays["noise_rms"][:, None, None]
    noise_map = np.broadcast_to(noise, arrays["image"].shape)
    strength = arrays["linear_strength"]
    measures = {
        name: arrays[name]
        for name in ("noise_level", "magnification", "linear_strength", "oracle_strength")
    }
    measures["true_flux"] = truth.sum(axis=(1, 2))
    measures["true_log_prior"] = metrics.log_prior(truth, strength, regularization)
    for method in methods:
        source, residual = arrays[f"{method}_source"], arrays["image"] - arrays[f"{method}_model"]
        fitted = arrays["fitted_parameters"] if method == "linear" else 0.0
        measures |= {
            f"{method}_rms_error": metrics.rms_error(source, truth),
            f"{method}_galaxy_error": metrics.galaxy_error(source, truth),
            f"{method}_flux_error": metrics.flux_error(source, truth),
            f"{method}_chi2": metrics.chi2_per_pixel(residual, noise_map),
            f"{method}_chi2_significance": metrics.chi2_significance(residual, noise_map, fitted),
            f"{method}_coherence": metrics.coherence_spectrum(source, truth)[1],
            f"{method}_log_prior": metrics.log_prior(source, strength, regularization),
            f"{method}_negative_pixels": np.mean(source < -1e-3, axis=(1, 2)),
        }
    return measures


def table(measures: dict, methods: dict) -> str:
    """Return the measures as Markdown: by noise, and by magnification."""
    wavenumbers = _wavenumbers(measures)
    head = ["systems", "number"]
    head += [f"rms error, {title}" for title in methods.values()]
    for title in OURS.values():
        head += [f"{title} / linear", f"{title} / oracle", f"worst {title} / linear"]
    head += [f"rms error inside of the galaxy, {title}" for title in methods.values()]
    for title in OURS.values():
        head += [
            f"{title} / linear inside of the galaxy",
            f"{title} worse there than linear, at worst by",
        ]
    head += [f"abs. flux error, {title}" for title in methods.values()]
    head += [f"flux bias, {title}" for title in methods.values()]
    head += [f"chi2 / pixel, {title}" for title in methods.values()]
    for title in OURS.values():
        head += [f"chi2 more than 3 sigma above that of noise, {title}"]
        head += [f"chi2 more than 3 sigma below that of noise, {title}"]
    head += [f"coherence at k = {k}, {title}" for k in wavenumbers for title in methods.values()]
    head += [f"coherence above one half up to k, {title}" for title in methods.values()]
    head += [f"k with coherence below the linear one's, {title}" for title in OURS.values()]
    lines = [head, ["---"] * len(head)]
    for label, chosen in _bins(measures):
        rms = {name: measures[f"{name}_rms_error"][chosen] for name in methods}
        inside = {name: measures[f"{name}_galaxy_error"][chosen] for name in methods}
        flux = {name: measures[f"{name}_flux_error"][chosen] for name in methods}
        chi2 = {name: measures[f"{name}_chi2"][chosen] for name in methods}
        coherence = {name: measures[f"{name}_coherence"][chosen] for name in methods}
        sigmas = [measures[f"{name}_chi2_significance"][chosen] for name in OURS]
        lines.append(
            [label, str(chosen.sum())]
            + [with_error(values, np.median, "{:.2%}") for values in rms.values()]
            + [cell for name in OURS for cell in _over_linear(rms, name)]
            + [with_error(values, np.median, "{:.2%}") for values in inside.values()]
            + [cell for name in OURS for cell in _inside_over_linear(inside, name)]
            + [with_error(np.abs(values), np.median, "{:.2%}") for values in flux.values()]
            + [with_error(values, np.median, "{:+.2%}") for values in flux.values()]
            + [with_error(values, np.median, "{:.3f}") for values in chi2.values()]
            + [
                f"{np.mean(sign * values > 3):.1%}" if chosen.any() else "-"
                for values in sigmas
                for sign in (1, -1)
            ]
            + [
                with_error(values[:, k - 1], np.mean, "{:.3f}")
                for k in wavenumbers
                for values in coherence.values()
            ]
            + [_reach(values) for values in coherence.values()]
            + [_below_linear(coherence[name], coherence["linear"]) for name in OURS]
        )
    # A line per measure is read more easily than a line of twenty columns.
    columns = list(zip(*lines, strict=True))
    columns.insert(1, tuple("---" for _ in columns[0]))
    columns = [tuple(cell for i, cell in enumerate(row) if i != 1) for row in columns]
    text = "\n".join("| " + " | ".join(row) + " |" for row in columns)
    return text + "\n\n" + _prior_words(measures) + "\n"


def _over_linear(rms: dict, name: str) -> list[str]:
    """Return the ratios of a method's errors to both linear ones', and the worst system's."""
    ratios = [_ratio(rms[name], rms[other]) for other in ("linear", "oracle")]
    worst = f"{np.max(rms[name] / rms['linear']):.2f}" if len(rms[name]) else "-"
    return [*ratios, worst]


def _inside_over_linear(inside: dict, name: str) -> list[str]:
    """Return the ratio to the linear error, and in how many systems it is above 1, at worst."""
    ratios = inside[name] / inside["linear"]
    worse = f"{np.mean(ratios > 1):.1%}, {np.max(ratios):.2f}" if len(ratios) else "-"
    return [_ratio(inside[name], inside["linear"]), worse]


def _reach(coherence: np.ndarray) -> str:
    """Return `metrics.coherence_reach` of spectra (systems, k), as text."""
    if not len(coherence):
        return "-"
    reach = metrics.coherence_reach(coherence)
    return f"{reach}, the last" if reach == coherence.shape[1] else str(reach)


def _below_linear(coherence: np.ndarray, linear: np.ndarray) -> str:
    """Return where the mean of spectra (systems, k) is below the linear inversion's, as text."""
    if not len(coherence):
        return "-"
    deficit = np.mean(linear - coherence, axis=0)
    below = np.flatnonzero(deficit > 0) + 1
    if not len(below):
        return "none"
    return f"{len(below)}, from {below[0]} to {below[-1]}, by {deficit.max():.3f} at most"


def _prior_words(measures: dict) -> str:
    differences = {
        name: measures[f"{name}_log_prior"] - measures["true_log_prior"]
        for name in ("linear", "rim")
    }
    linear, rim = (
        f"{np.median(values):+.0f} ({np.percentile(values, 16):+.0f} to "
        f"{np.percentile(values, 84):+.0f})"
        for values in differences.values()
    )
    return (
        "Log-prior (of the linear inversion's prior, at its own strength) above the truth's, "
        f"median and 68% of the systems: linear {linear}, RIM {rim}."
    )


def _wavenumbers(measures: dict) -> list[int]:
    return [k for k in _WAVENUMBERS if k <= measures["rim_coherence"].shape[1]]


def _bins(measures: dict):
    noise, magnification = measures["noise_level"], measures["magnification"]
    yield "all", np.ones(len(noise), bool)
    for low, high in NOISE_BINS:
        yield f"noise {100 * low:g}-{100 * high:g}%", (noise >= low) & (noise < high)
    for low, high in MAGNIFICATION_BINS:
        label = f"{low}-{high}" if np.isfinite(high) else f"> {low}"
        yield f"magnification {label}", (magnification >= low) & (magnification < high)


def _ratio(first: np.ndarray, second: np.ndarray) -> str:
    """Return the ratio of two medians over the same systems, with its standard error."""
    if not len(first):
        return "-"
    chosen = resamples(len(first))
    ratios = np.median(first[chosen], axis=1) / np.median(second[chosen], axis=1)
    return f"{np.median(first) / np.median(second):.2f} ± {np.std(ratios):.2f}"


def draw(arrays: dict, measures: dict, methods: dict, directory: Path) -> None:
    """Write the figures."""
    figures = {
        "figure4_flux": flux_figure(measures, methods),
        "figure5_coherence": coherence_figure(measures, methods),
        "figure6_sources": sources_figure(arrays, measures, methods),
        "log_prior": log_prior_figure(measures),
    }
    for name, figure in figures.items():
        write_figure(Path(directory) / f"{name}.png", figure)


def flux_figure(measures: dict, methods: dict) -> Figure:
    """Figure 4 of the paper: flux of the reconstruction against the true one."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    true = measures["true_flux"]
    bins = np.linspace(-0.15, 0.15, 61)
    for name in ("linear", "rim"):
        error = measures[f"{name}_flux_error"]
        left.plot(
            true,
            true * (1 + error),
            ".",
            ms=3,
            alpha=0.5,
            color=_COLOURS[name],
            label=methods[name],
        )
        label = f"{methods[name]}: median |error| {np.median(np.abs(error)):.2%}"
        right.hist(
            np.clip(error, *bins[[0, -1]]), bins, histtype="step", color=_COLOURS[name], label=label
        )
    left.plot(*[[true.min(), true.max()]] * 2, color="k", lw=0.7)
    left.set(
        xscale="log", yscale="log", xlabel="true flux (peak x pixel)", ylabel="reconstructed flux"
    )
    right.set(xlabel="flux error (outliers in the outer bins)", ylabel="systems")
    left.legend()
    right.legend(fontsize=8)
    return figure


def coherence_figure(measures: dict, methods: dict) -> Figure:
    """Figure 5 of the paper: coherence with the truth, all systems and by noise."""
    figure = Figure(figsize=(14, 4), layout="constrained")
    bins = [item for item in _bins(measures) if not item[0].startswith("magnification")]
    for axis, (label, chosen) in zip(figure.subplots(1, 4, sharey=True), bins, strict=True):
        for name, title in methods.items():
            spectrum = measures[f"{name}_coherence"][chosen]
            if not len(spectrum):
                continue
            k = np.arange(1, spectrum.shape[1] + 1)
            mean, error = spectrum.mean(axis=0), spectrum.std(axis=0) / np.sqrt(len(spectrum))
            # The refined one often hides the other.
            style = {"lw": 1.2, "ls": "--"} if name == "refined" else {"lw": 2.0}
            axis.plot(k, mean, color=_COLOURS[name], label=title, **style)
            axis.fill_between(k, mean - error, mean + error, color=_COLOURS[name], alpha=0.3)
        axis.set(
            xscale="log", xlabel="k (cycles per source grid)", title=f"{label}: {chosen.sum()}"
        )
        axis.grid(alpha=0.3)
        axis.axhline(0.5, color="0.5", lw=0.8)
    figure.axes[0].set(ylabel="coherence with the truth", ylim=(0, 1.02))
    figure.axes[0].legend()
    return figure


def log_prior_figure(measures: dict) -> Figure:
    """How far the log-priors of the two sources lie above the truth's."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name in ("linear", "rim"):
        difference = measures[f"{name}_log_prior"] - measures["true_log_prior"]
        axis.plot(
            100 * measures["noise_level"], difference, ".", ms=4, color=_COLOURS[name], label=name
        )
    axis.axhline(0, color="k", lw=0.7)
    axis.set(
        xscale="log", xlabel="noise (% of the image's peak)", ylabel="log-prior above the truth's"
    )
    axis.set_yscale("symlog", linthresh=10)
    axis.legend()
    return figure


def sources_figure(arrays: dict, measures: dict, methods: dict) -> Figure:
    """Figure 6 of the paper: truth and reconstructions of the best, median and worst systems."""
    order = np.argsort(measures["rim_rms_error"])
    middle = len(order) // 2
    systems = np.unique([*order[:2], *order[middle : middle + 2], *order[-2:]])
    systems = sorted(systems, key=lambda i: measures["rim_rms_error"][i])
    shown = ("linear", "rim")
    figure = Figure(figsize=(13, 2.1 * len(systems) + 0.6), layout="constrained")
    axes = figure.subplots(len(systems), 6, squeeze=False)
    flux = {"vmin": 0, "vmax": 1, "cmap": "inferno"}
    signed = {"vmin": -0.1, "vmax": 0.1, "cmap": "RdBu_r"}
    for row, i in zip(axes, systems, strict=True):
        truth = arrays["true_source"][i]
        panels = [(arrays["image"][i] / arrays["image"][i].max(), flux), (truth, flux)]
        for name in shown:
            source = arrays[f"{name}_source"][i]
            panels += [(source, flux), (source - truth, signed)]
        for axis, (array, style) in zip(row, panels, strict=True):
            axis.imshow(array, origin="lower", interpolation="nearest", **style)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(f"noise {arrays['noise_level'][i]:.1%}")
        for axis, name in ((row[3], "linear"), (row[5], "rim")):
            axis.set_xlabel(f"rms {measures[f'{name}_rms_error'][i]:.2%} of peak")
    titles = ["data", "true source"]
    for name in shown:
        titles += [methods[name], "its error (±10%)"]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    return figure
