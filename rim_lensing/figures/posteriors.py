"""Posteriors of the lens, parameter against parameter."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POSTERIORS = ("k", "#D55E00")
_TRUTH = "#0072B2"
"""Okabe & Ito's colours, which the colour-blind tell apart."""
_LENGTHS = ("theta_E", "x", "y")


def lens_contours(
    samples: Sequence[np.ndarray],
    titles: Sequence[str],
    names: Sequence[str],
    truth: np.ndarray | None = None,
) -> "Figure":
    """Draw posteriors of lens parameters, pair by pair, with 68% and 95% contours (figure 9).

    Each is binned by its own width: a histogram's height is that of its own bins, and says nothing
    beside the other posterior's. Above the diagonal of a single one are median and 68% interval.

    Args:
        samples: Of one posterior, in black, or of two, the second in red: (draws, parameters) each.
        titles: Of the posteriors.
        names: Of the parameters.
        truth: Drawn in blue, (parameters,).
    """
    from corner import corner
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    ends = np.array([np.quantile(draws, (0.001, 0.999), axis=0) for draws in samples])
    shown = ends if truth is None else np.concatenate([ends, np.tile(truth, (1, 2, 1))])
    frame = _with_margin(shown[:, 0].min(axis=0), shown[:, 1].max(axis=0))
    figure = Figure(figsize=(1.75 * len(names) + 1, 1.75 * len(names) + 1))
    heights = np.zeros(len(names))
    for draws, own, color in zip(samples, ends, _POSTERIORS, strict=False):
        corner(
            draws,
            weights=np.full(len(draws), 1 / len(draws)),
            bins=40,
            range=_with_margin(*own).tolist(),
            levels=(0.68, 0.95),
            smooth=1.5,
            smooth1d=1.0,
            color=color,
            labels=[f"{name} (arcsec)" if name in _LENGTHS else name for name in names],
            truths=truth,
            truth_color=_TRUTH,
            plot_datapoints=False,
            plot_density=False,
            labelpad=0.08,
            fig=figure,
        )
        diagonal = figure.axes[:: len(names) + 1]
        heights = np.maximum(heights, [axis.get_ylim()[1] for axis in diagonal])
    panels = np.array(figure.axes).reshape(len(names), len(names))
    _corner_axes(panels, frame)
    for axis, height in zip(diagonal, heights, strict=True):
        axis.set_ylim(0, height)
    if len(samples) == 1:
        figure.subplots_adjust(top=0.95)
        for axis, name, draws in zip(diagonal, names, np.transpose(samples[0]), strict=True):
            axis.set_title(f"{name}\n{_median_and_interval(draws)}", fontsize=11)
    entries = [
        Line2D([], [], color=color, label=title)
        for color, title in zip(_POSTERIORS, titles, strict=False)
    ]
    if truth is not None:
        entries.append(Line2D([], [], color=_TRUTH, marker="s", label="truth"))
    figure.legend(handles=entries, loc="upper right", fontsize=12)
    return figure


def _with_margin(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return ends a little further out, (parameters, 2), of intervals that may be empty."""
    margin = np.maximum(0.08 * (high - low), 1e-9)
    return np.stack([low - margin, high + margin], axis=-1)


def _corner_axes(panels: np.ndarray, frame: np.ndarray) -> None:
    """Give every panel its frame, and ticks that leave the corners to their neighbours.

    Args:
        panels: Axes, (parameters, parameters).
        frame: Where those of a parameter begin and end, (parameters, 2).
    """
    from matplotlib.ticker import MaxNLocator

    for k, ends in enumerate(frame):
        # What MaxNLocator itself prunes are ticks that lie outside of the frame anyway.
        inner = ends + np.array([0.1, -0.1]) * np.ptp(ends)
        ticks = MaxNLocator(3, steps=(1, 2, 5, 10)).tick_values(*inner)
        ticks = ticks[(ticks >= inner[0]) & (ticks <= inner[1])]
        for axis in panels[k:, k]:
            axis.set_xticks(ticks)
            axis.set_xlim(ends)
        for axis in panels[k, :k]:
            axis.set_yticks(ticks)
            axis.set_ylim(ends)


def _median_and_interval(draws: np.ndarray) -> str:
    """Return the median of draws (n,) and the way to the ends of the 68% interval, as mathtext."""
    low, median, high = np.quantile(draws, (0.16, 0.5, 0.84))
    width = (high - low) / 2
    digits = max(0, 1 - int(np.floor(np.log10(width)))) if width > 0 else 4
    up, down = f"{high - median:.{digits}f}", f"{median - low:.{digits}f}"
    return f"${median:.{digits}f}^{{+{up}}}_{{-{down}}}$"
