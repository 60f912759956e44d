"""From the arrays of out_of_distribution.py to its measures, its tables and its figures."""

from functools import partial
from pathlib import Path

import numpy as np
from fidelity_methods import OURS
from matplotlib.figure import Figure
from out_of_distribution_sources import CLASSES
from resumable import write_figure

from rim_lensing import metrics
from rim_lensing.simulation.priors import NOISE_BINS

METHODS = OURS | {"linear": "linear"}
_YARDSTICK = "galaxies"
_RESAMPLES = 500
_WAVENUMBERS = (5, 10, 20)
_COLOURS = {"rim": "C3", "refined": "C1", "linear": "C0"}
_EXAMPLES = 4


def measure(arrays: dict) -> dict:
    """Return the measures of all methods, arrays (rows, ...), and what says which row is which.

    Args:
        arrays: Of `out_of_distribution.reconstruct_all` with their labels.
    """
    truth, noise = arrays["true_source"], arrays["noise_rms"][:, None, None]
    noise_map = np.broadcast_to(noise, arrays["image"].shape)
    labels = ("label", "system", "source_number", "kind", "noise_level", "magnification")
    measures = {name: arrays[name] for name in labels if name in arrays}
    for method in METHODS:
        source, residual = arrays[f"{method}_source"], arrays["image"] - arrays[f"{method}_model"]
        measures |= {
            f"{method}_rms_error": metrics.rms_error(source, truth),
            f"{method}_inner_error": metrics.galaxy_error(source, truth),
            f"{method}_flux_error": metrics.flux_error(source, truth),
            f"{method}_chi2": metrics.chi2_per_pixel(residual, noise_map),
            f"{method}_coherence": metrics.coherence_spectrum(source, truth)[1],
        }
        if method in OURS:
            # The linear source has as many parameters as its strength lets it have, which is not
            # kept: its chi^2 says nothing.
            significance = metrics.chi2_significance(residual, noise_map)
            measures[f"{method}_chi2_significance"] = significance
    return measures


def report(measures: dict, pages: dict) -> str:
    """Return all tables as Markdown.

    Args:
        measures: Of the systems, see `measure`.
        pages: Of the text that fills the source grid.
    """
    parts = [
        class_table(measures),
        *(
            part
            for method, name in OURS.items()
            for part in (
                f"{name} / linear, rms error over the frame (inside of the source), by noise:",
                noise_table(measures, method),
            )
        ),
        "Galaxies by where their pictures come from:",
        kind_table(measures),
        "Text that fills the source grid:",
        page_table(pages),
    ]
    return "\n\n".join(parts) + "\n"


def class_table(measures: dict) -> str:
    """Return a line per measure, a column per class of sources."""
    classes = _classes(measures)
    groups = [_select(measures, measures["label"] == name) for name in classes]
    yardstick = _select(measures, measures["label"] == _YARDSTICK)
    lines = {
        "systems": [str(len(group["system"])) for group in groups],
        "distinct sources": [str(len(np.unique(group["source_number"]))) for group in groups],
        "median magnification": [f"{np.median(group['magnification']):.1f}" for group in groups],
    }

    def add(title, cell):
        lines[title] = [cell(group) for group in groups]

    def every(title, key, form, statistic=np.median, change=lambda values: values):
        for method, name in METHODS.items():

            def cell(group, method=method):
                values = change(group[f"{method}_{key}"])
                return _with_error(group, lambda rows: statistic(values[rows]), form)

            add(f"{title}, {name}", cell)

    for key, title in (("rms_error", "rms error"), ("inner_error", "rms error inside")):
        every(title, key, "{:.2%}")
        for method, name in OURS.items():
            add(f"{title}, {name} / linear", partial(_ratio, method=method, key=key))
            add(f"{title}, {name} worse than linear", partial(_worse, method=method, key=key))
    for method, name in METHODS.items():
        add(
            f"rms error inside over that for galaxies, {name}",
            lambda group, method=method: _over_yardstick(group, yardstick, method),
        )
    every("abs. flux error", "flux_error", "{:.2%}", change=np.abs)
    every("flux bias", "flux_error", "{:+.2%}")
    every("chi2 / pixel", "chi2", "{:.3f}")
    for method, name in OURS.items():
        add(f"chi2 more than 3 sigma above noise's, {name}", partial(_signal_left, method=method))
    for k in _wavenumbers(measures):
        every(
            f"coherence at k = {k}",
            "coherence",
            "{:.3f}",
            np.mean,
            lambda values, k=k: values[:, k - 1],
        )
    head = ["", *(CLASSES[name] for name in classes)]
    return _markdown([head, *([title, *cells] for title, cells in lines.items())])


def _signal_left(group: dict, method: str) -> str:
    left = group[f"{method}_chi2_significance"] > 3
    return _with_error(group, lambda rows: np.mean(left[rows]), "{:.0%}")


def noise_table(measures: dict, method: str) -> str:
    """Return a method over linear in each bin of the noise, a line per class."""
    rows = [["", *(f"noise {100 * low:g}-{100 * high:g}%" for low, high in NOISE_BINS)]]
    for name in _classes(measures):
        row = [CLASSES[name]]
        for low, high in NOISE_BINS:
            noise = measures["noise_level"]
            chosen = (measures["label"] == name) & (noise >= low) & (noise < high)
            if not chosen.any():
                row.append("-")
                continue
            group = _select(measures, chosen)
            whole, inner = (_ratio(group, method, key) for key in ("rms_error", "inner_error"))
            row.append(f"{whole} ({inner}), {chosen.sum()}")
        rows.append(row)
    return _markdown(rows)


def kind_table(measures: dict) -> str:
    """Return a line per kind of galaxy; what it is compared with is the same systems' yardstick."""
    yardstick = _select(measures, measures["label"] == _YARDSTICK)
    rows = [
        [
            "kind",
            "class",
            "systems",
            "distinct galaxies",
            *(f"rms error inside, {name}" for name in METHODS.values()),
            *(f"{name} / linear inside" for name in OURS.values()),
            *(f"{name} / linear, whole frame" for name in OURS.values()),
            "rms error inside over that for galaxies, RIM",
        ]
    ]
    for label in (_YARDSTICK, "survey"):
        in_class = measures["label"] == label
        for kind in np.unique(measures["kind"][in_class]):
            group = _select(measures, in_class & (measures["kind"] == kind))
            errors = [
                _with_error(
                    group,
                    lambda rows, method=method, group=group: np.median(
                        group[f"{method}_inner_error"][rows]
                    ),
                    "{:.2%}",
                )
                for method in METHODS
            ]
            rows.append(
                [
                    str(kind),
                    CLASSES[label],
                    str(len(group["system"])),
                    str(len(np.unique(group["source_number"]))),
                    *errors,
                    *(_ratio(group, method, "inner_error") for method in OURS),
                    *(_ratio(group, method, "rms_error") for method in OURS),
                    _over_yardstick(group, yardstick, "rim"),
                ]
            )
    return _markdown(rows)


def page_table(pages: dict) -> str:
    """Return a line per page and noise."""
    wavenumbers = _wavenumbers(pages)
    head = ["page", "noise", "magnification"]
    head += [f"rms error, {name}" for name in METHODS.values()]
    head += [f"{name} / linear" for name in OURS.values()]
    head += [f"chi2 / pixel, {name}" for name in METHODS.values()]
    head += [f"coherence at k = {k}, {name}" for k in wavenumbers for name in METHODS.values()]
    rows = [head]
    for i, name in enumerate(pages["label"]):
        rms = {method: pages[f"{method}_rms_error"][i] for method in METHODS}
        rows.append(
            [str(name), f"{pages['noise_level'][i]:.0%}", f"{pages['magnification'][i]:.1f}"]
            + [f"{value:.1%}" for value in rms.values()]
            + [f"{rms[method] / rms['linear']:.2f}" for method in OURS]
            + [f"{pages[f'{method}_chi2'][i]:.3f}" for method in METHODS]
            + [
                f"{pages[f'{method}_coherence'][i, k - 1]:.3f}"
                for k in wavenumbers
                for method in METHODS
            ]
        )
    return _markdown(rows)


def _classes(measures: dict) -> list[str]:
    return [name for name in CLASSES if name in measures["label"]]


def _select(measures: dict, chosen: np.ndarray) -> dict:
    return {name: values[chosen] for name, values in measures.items()}


def _wavenumbers(measures: dict) -> list[int]:
    return [k for k in _WAVENUMBERS if k <= measures["rim_coherence"].shape[1]]


def _with_error(group: dict, statistic, form: str) -> str:
    """Return a statistic with its standard error by bootstrap over the distinct sources.

    Systems of one source are drawn together: under other lenses it is the same galaxy.

    Args:
        group: Measures of some systems.
        statistic: Takes row numbers of the group, returns a number.
        form: Of the number.
    """
    count = len(group["source_number"])
    text = form.format(statistic(np.arange(count)))
    numbers, which = np.unique(group["source_number"], return_inverse=True)
    if len(numbers) < 2:
        return text
    members = [np.flatnonzero(which == i) for i in range(len(numbers))]
    generator = np.random.default_rng(0)
    draws = generator.integers(len(numbers), size=(_RESAMPLES, len(numbers)))
    values = [statistic(np.concatenate([members[i] for i in draw])) for draw in draws]
    return f"{text} ± {form.replace('+', '').format(np.std(values))}"


def _ratio(group: dict, method: str, key: str) -> str:
    """Return the ratio of the medians of a method and of the linear inversion."""
    ours, linear = group[f"{method}_{key}"], group[f"linear_{key}"]
    return _with_error(
        group, lambda rows: np.median(ours[rows]) / np.median(linear[rows]), "{:.2f}"
    )


def _worse(group: dict, method: str, key: str) -> str:
    """Return in what share of the systems a method's error is larger than the linear one."""
    worse = group[f"{method}_{key}"] > group[f"linear_{key}"]
    return _with_error(group, lambda rows: np.mean(worse[rows]), "{:.0%}")


def _over_yardstick(group: dict, yardstick: dict, method: str) -> str:
    """Return the median error inside over that of the yardstick in the same systems."""
    place = np.searchsorted(yardstick["system"], group["system"])
    errors = group[f"{method}_inner_error"], yardstick[f"{method}_inner_error"][place]
    return _with_error(
        group, lambda rows: np.median(errors[0][rows]) / np.median(errors[1][rows]), "{:.2f}"
    )


def _markdown(rows: list[list[str]]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw(systems: tuple[dict, dict], pages: tuple[dict, dict], directory: Path) -> None:
    """Write the figures.

    Args:
        systems: Arrays and measures of the systems.
        pages: Arrays and measures of the pages.
        directory: Where to.
    """
    arrays, measures = systems
    figures = {"coherence": coherence_figure(measures)}
    for name in _classes(measures):
        rows = examples(measures, name)
        figures[f"examples_{name}"] = rows_figure(arrays, measures, rows, CLASSES[name])
    for name in np.unique(pages[0]["label"]):
        rows = np.flatnonzero(pages[0]["label"] == name)
        figures[f"page_{name}"] = rows_figure(*pages, rows, "text that fills the source grid")
    for name, figure in figures.items():
        write_figure(Path(directory) / f"{name}.png", figure, dpi=72)


def examples(measures: dict, name: str) -> np.ndarray:
    """Return rows of a class from the best to the worst of RIM / linear, at even ranks."""
    rows = np.flatnonzero(measures["label"] == name)
    ratio = measures["rim_inner_error"][rows] / measures["linear_inner_error"][rows]
    ranks = np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows)))
    return rows[np.argsort(ratio)[np.rint(ranks).astype(int)]]


def rows_figure(arrays: dict, measures: dict, rows: np.ndarray, title: str) -> Figure:
    """A row per system: observation, truth, all sources, all residuals (paper figure 10).

    Args:
        arrays: Images and sources of all systems, (systems, ...).
        measures: Of all systems.
        rows: Which to draw, from the top.
        title: Above all.
    """
    columns = 2 + 2 * len(METHODS)
    figure = Figure(figsize=(2.2 * columns, 2.3 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    flux = {"vmin": 0, "vmax": 1, "cmap": "inferno"}
    signed = {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}
    for line, i in zip(axes, rows, strict=True):
        image, noise = arrays["image"][i], arrays["noise_rms"][i]
        sources = [arrays[f"{method}_source"][i] for method in METHODS]
        residuals = [(image - arrays[f"{method}_model"][i]) / noise for method in METHODS]
        panels = [(image / image.max(), flux), (arrays["true_source"][i], flux)]
        panels += [(source, flux) for source in sources] + [(map_, signed) for map_ in residuals]
        for axis, (array, style) in zip(line, panels, strict=True):
            drawn = axis.imshow(array, origin="lower", interpolation="nearest", **style)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(f"noise {arrays['noise_level'][i]:.1%}")
        for column, method in enumerate(METHODS):
            rms, inner = measures[f"{method}_rms_error"][i], measures[f"{method}_inner_error"][i]
            line[2 + column].set_xlabel(f"rms {rms:.1%} of peak\ninside: {inner:.1%}", fontsize=9)
            chi2 = measures[f"{method}_chi2"][i]
            line[2 + len(METHODS) + column].set_xlabel(f"$\\chi^2$/pixel {chi2:.2f}", fontsize=9)
    titles = ["observation", "true source", *METHODS.values()]
    titles += [f"residuals, {name}" for name in METHODS.values()]
    for axis, text in zip(axes[0], titles, strict=True):
        axis.set_title(text)
    figure.colorbar(drawn, ax=axes[:, -1], label="sigma", shrink=0.8)
    figure.suptitle(title)
    return figure


def coherence_figure(measures: dict) -> Figure:
    """A panel per class: mean coherence of all methods with the truth."""
    classes = _classes(measures)
    figure = Figure(figsize=(3.2 * len(classes) + 0.8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(classes), squeeze=False, sharey=True)[0]
    for axis, name in zip(panels, classes, strict=True):
        chosen = measures["label"] == name
        for method, title in METHODS.items():
            spectrum = measures[f"{method}_coherence"][chosen]
            k = np.arange(1, spectrum.shape[1] + 1)
            mean, error = spectrum.mean(axis=0), spectrum.std(axis=0) / np.sqrt(len(spectrum))
            axis.plot(k, mean, color=_COLOURS[method], label=title, lw=1.2)
            axis.fill_between(k, mean - error, mean + error, color=_COLOURS[method], alpha=0.3)
        axis.set(
            xscale="log",
            xlabel="k (cycles per source grid)",
            title=f"{CLASSES[name]}: {chosen.sum()}",
        )
        axis.grid(alpha=0.3)
    panels[0].set(ylabel="coherence with the truth", ylim=(0, 1.02))
    panels[0].legend()
    return figure
