"""Training and its measures: learning curves, predictions against truth, coverage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(steps: Sequence[int], panels: Sequence[tuple[str, dict, str]]) -> "Figure":
    """Draw what was measured during a training against the step.

    Args:
        steps: (rows,).
        panels: One each: title; values (rows,) by the name of the line ("all" is drawn in black);
            scale of the axis, "linear", or "log" unless the values are much alike.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axis, (title, lines, scale) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for label, values in lines.items():
            axis.plot(steps, values, label=label, color="k" if label == "all" else None, lw=1)
        drawn = np.concatenate(list(lines.values()))
        if scale == "log" and 0 < drawn.max() < 1.5 * drawn.min():
            scale = "linear"  # On so short a part of the other all labels would be alike.
        axis.set(yscale=scale, xlabel="training step", title=title)
        if scale == "log":
            axis.yaxis.set_major_formatter("{x:g}")
            # Minor labels where the axis spans less than a decade; elsewhere they would overlap.
            axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axis.tick_params(which="both", labelsize=8)
        axis.grid(alpha=0.3)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", fontsize=8)
    return figure


def lens_predictions(
    true: np.ndarray, lens: np.ndarray, noise_level: np.ndarray, names: Sequence[str]
) -> "Figure":
    """A panel per lens parameter: the predicted value against the true one.

    Args:
        true: (systems, parameters).
        lens: Predicted, (systems, parameters).
        noise_level: rms over the image's peak, (systems,): the colour.
        names: Of the parameters.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    columns = -(-len(names) // 2)
    figure = Figure(figsize=(3.2 * columns, 6.4), layout="constrained")
    axes = figure.subplots(2, columns).ravel()
    for i, name in enumerate(names):
        points = axes[i].scatter(
            true[:, i], lens[:, i], c=noise_level, s=3, norm=LogNorm(), cmap="viridis"
        )
        both = np.concatenate([true[:, i], lens[:, i]])
        ends = (both.min(), both.max())
        axes[i].plot(ends, ends, color="k", lw=0.8)
        axes[i].set(title=name, xlabel="true", ylabel="predicted", aspect="equal")
    for axis in axes[len(names) :]:
        axis.remove()
    figure.colorbar(points, ax=axes[: len(names)], label="noise rms / peak of the image", aspect=40)
    return figure


def coverage_curves(
    confidence: np.ndarray, coverages: dict[str, np.ndarray], names: Sequence[str]
) -> "Figure":
    """A panel per kind of interval: how often the truth lies inside, against what is claimed.

    Args:
        confidence: Of the intervals, (levels,).
        coverages: By title, (levels, parameters).
        names: Of the parameters.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(coverages), 4.6), layout="constrained")
    axes = figure.subplots(1, len(coverages), squeeze=False, sharex=True, sharey=True)[0]
    for axis, (title, coverage) in zip(axes, coverages.items(), strict=True):
        axis.plot([0, 1], [0, 1], "k--", lw=0.8)
        for i, name in enumerate(names):
            axis.plot(confidence, coverage[:, i], lw=1.2, label=name)
        axis.set(title=title, xlabel="confidence", ylabel="coverage", xlim=(0, 1), ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure
