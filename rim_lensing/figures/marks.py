"""What is drawn on top of a panel: a scale bar, and where north and east are."""

import numpy as np

_LENGTHS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_LONGEST = 0.35
"""Of the panel's width."""

_ARROW = 0.13
"""Length of the arrows of a compass, of the panel's width."""


def scale_bar(axis, extent: tuple) -> None:
    """Draw a bar of a round length in arcsec into the lower left corner.

    Args:
        axis: matplotlib's, in arcsec.
        extent: (left, right, low, high) of what it shows.
    """
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    width = extent[1] - extent[0]
    length = max((each for each in _LENGTHS if each <= _LONGEST * width), default=_LENGTHS[0])
    style = {
        "frameon": False,
        "color": "white",
        "size_vertical": 0.008 * width,
        "sep": 3,
        "borderpad": 0.6,
    }
    bar = AnchoredSizeBar(axis.transData, length, f'{length:g}"', "lower left", **style)
    _outline(bar.txt_label.get_children()[0])
    axis.add_artist(bar)


def compass(axis, extent: tuple, north: float, east: float) -> None:
    """Draw two arrows, N and E, into the upper right corner.

    Args:
        axis: matplotlib's.
        extent: (left, right, low, high) of what it shows.
        north: Position angle of north, radians counter-clockwise from +x.
        east: Likewise.
    """
    width = extent[1] - extent[0]
    ways = np.array([[np.cos(angle), np.sin(angle)] for angle in (north, east)])
    # The arrows and their letters stay inside of the panel, whichever way they point.
    reach = 1.7 * _ARROW * np.vstack([ways, np.zeros(2)])
    corner = np.array([extent[1], extent[3]]) - 0.03 * width
    foot = corner - width * np.maximum(reach.max(axis=0), 0.04)
    for way, letter in zip(ways, "NE", strict=True):
        arrow = {"arrowstyle": "-|>", "color": "white", "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", foot + _ARROW * width * way, foot, arrowprops=arrow)
        place = foot + 1.35 * _ARROW * width * way
        text = axis.text(*place, letter, color="white", ha="center", va="center", fontsize=10)
        _outline(text)


def _outline(text) -> None:
    """Make white letters readable where pixels are bright."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=1.2, foreground="black")])
