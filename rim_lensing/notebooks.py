"""What a notebook shows of a result: a small table, a picture, and long texts that unfold."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 65


def as_html(
    title: str,
    facts: Mapping[str, object],
    table: Sequence[Sequence[object]] = (),
    figure: "Figure | None" = None,
    folded: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return HTML for `_repr_html_`.

    Args:
        title: Above all, in bold.
        facts: Values by name, a row each.
        table: Rows of a second table, the first of them its head.
        figure: Drawn below.
        folded: Lists of sentences by their heading, hidden until it is clicked.
    """
    parts = [f"<b>{escape(title)}</b>"]
    parts.append(_table([[name, value] for name, value in facts.items()]))
    if table:
        parts.append(_table(table[1:], head=table[0]))
    if figure is not None:
        parts.append(f'<img alt="{escape(title)}" src="data:image/png;base64,{_png(figure)}">')
    for heading, sentences in (folded or {}).items():
        items = "".join(f"<li>{escape(str(each))}</li>" for each in sentences)
        if items:
            parts.append(f"<details><summary>{escape(heading)}</summary><ul>{items}</ul></details>")
    return f"<div>{''.join(parts)}</div>"


def lens_table(
    names: Sequence[str], values: Sequence[float], errors: Sequence[float] | None = None
) -> list[list[str]]:
    """Return the rows of a lens: parameter, value and, if they are known, standard deviation."""
    rows = [["lens", "value", "std"][: 2 if errors is None else 3]]
    for i, name in enumerate(names):
        error = [] if errors is None else [f"{errors[i]:.2g}" if errors[i] > 0 else "held"]
        rows.append([name, f"{values[i]:.4f}", *error])
    return rows


def _table(rows: Sequence[Sequence[object]], head: Sequence[object] = ()) -> str:
    """Return rows as an HTML table."""
    lines = ["".join(f"<th>{escape(str(cell))}</th>" for cell in head)] if head else []
    lines += ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _png(figure: "Figure") -> str:
    """Return a figure as PNG in base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return base64.b64encode(buffer.getvalue()).decode()
