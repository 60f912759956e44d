"""Pages to look through a survey: index.html over all lenses, and one for each.

Static, and read from a disk: the numbers lie in the page, the pictures beside it. Names and texts
of the user's table are data or escaped; besides, the pages forbid every script but their own.
"""

import base64
import hashlib
import html
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from rim_lensing.files.json_files import finite
from rim_lensing.files.whole_files import whole_file
from rim_lensing.survey.rows import Record

INDEX, THUMBNAIL = "index.html", "thumbnail.png"

SHOWN = (
    "name",
    "verdict",
    "failure",
    "reason",
    "theta_E",
    "e1",
    "e2",
    "gamma1",
    "gamma2",
    "slope",
    "chi2_per_pixel",
    "total_magnification",
    "source_half_light_radius",
    "source_magnitude",
    "seconds",
)
"""Columns that the page shows; conditions may name all."""

_STYLE = """body { font: 14px/1.4 system-ui, sans-serif; margin: 1em; color-scheme: light dark; }
img { max-width: 100%; display: block; margin: .5em 0; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .1em 1em .1em 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }"""


def write_index(
    columns: Mapping[str, Sequence], carried: Sequence[str], output: Path, title: str
) -> None:
    """Write the page over all lenses that have ended.

    Args:
        columns: Of `results_table.as_columns`.
        carried: Names of columns of the user's table, shown too.
        output: Folder of the survey.
        title: Of the page.
    """
    thumbnails = [THUMBNAIL in names.split() for names in columns["files"]]
    columns = {**columns, "has_thumbnail": thumbnails}
    data = {
        "columns": list(columns),
        "shown": [name for name in (*SHOWN, *carried) if name in columns],
        "rows": finite([list(row) for row in zip(*columns.values(), strict=True)]),
    }
    # `<` alone could end the element that holds it.
    text = json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    script = _resource("index.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = Template(_resource("index.html")).substitute(
        title=html.escape(title),
        policy=_policy(f"'sha256-{digest}'"),
        data=text,
        script=script,
    )
    with whole_file(output / INDEX) as temporary:
        temporary.write_text(page, encoding="utf-8")


def write_lens_page(record: Record, folder: Path) -> None:
    """Write the page of one lens: its pictures, its numbers with their errors, its files.

    Args:
        record: Of the row; its arguments are those of a command that fits it alone.
        folder: Where its files are.
    """
    numbers, names = record.numbers, record.files
    command = shlex.join(("rim-lensing", *record.arguments))
    lines = [
        (name, _with_error(value, numbers.get(f"{name}_std")))
        for name, value in numbers.items()
        if not name.endswith("_std")
    ]
    pictures = [name for name in names if name.endswith(".png") and name != THUMBNAIL]
    pictures.sort(key=lambda name: name != "summary.png")
    cells = "\n".join(
        f"<tr><th>{_text(name)}</th><td>{_text(said)}</td></tr>" for name, said in lines
    )
    images = "\n".join(f'<img src="{_text(name)}" alt="{_text(name)}">' for name in pictures)
    links = "\n".join(f'<li><a href="{_text(name)}">{_text(name)}</a></li>' for name in names)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy("'none'")}">
<title>{_text(record.name)}</title>
<style>{_STYLE}</style>
</head>
<body>
<p><a href="../../index.html">all lenses</a></p>
<h1>{_text(record.name)}</h1>
<p><b>{_text(record.verdict)}</b> {_text(record.failure)}: {_text(record.reason)}</p>
{images}
<table>
{cells}
</table>
<h2>Files</h2>
<ul>
{links}
</ul>
<h2>Alone</h2>
<pre>{_text(command)}</pre>
</body>
</html>
"""
    with whole_file(folder / INDEX) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _with_error(value: object, std: object) -> str:
    if isinstance(value, float):
        error = f" ± {std:.2g}" if isinstance(std, float) and math.isfinite(std) else ""
        return f"{value:.6g}{error}"
    return str(value)


def _policy(scripts: str) -> str:
    """Return what a page may load: pictures beside it, and a script of its own."""
    return (
        f"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src {scripts}"
    )


def _text(said: object) -> str:
    return html.escape(str(said))


def _resource(name: str) -> str:
    return (files("rim_lensing.survey") / name).read_text(encoding="utf-8")
