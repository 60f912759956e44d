"""The table of paper.py: a line, how a verdict is made, and how ours are written."""

from dataclasses import dataclass

import numpy as np
from bootstrap import with_error

FACTOR = 1.5

RULES = f"""Same: a number within a factor of {FACTOR} of the paper's; a bound or a statement that
holds here too, by the condition in brackets. Otherwise "no", and whether ours is better or worse.
Numbers are medians over the systems, ± standard error by bootstrap, unless said otherwise; rms
errors are over the pixels of the source, in units of its true peak."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        where: In the paper: a figure, or a section.
        measure: What is stated.
        paper: The paper's number or statement.
        ours: Ours.
        verdict: same, or no.
        systems: Number of ours.
        why: Why they may differ.
    """

    where: str
    measure: str
    paper: str
    ours: str
    verdict: str
    systems: int
    why: str


def as_markdown(rows: list[Row]) -> str:
    """Return the table and its rules."""
    lines = [
        "| where | measure | paper | ours | same? | systems | why |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.where} | {row.measure} | {row.paper} | {row.ours} | {row.verdict} "
        f"| {row.systems} | {row.why} |"
        for row in rows
    ]
    same = sum(row.verdict == "same" for row in rows)
    return "\n".join([*lines, "", f"{same} of {len(rows)} are the same.", "", RULES, ""])


def near(ours: float, paper: float, lower_is_better: bool = True) -> str:
    """Return the verdict on a positive number: same within FACTOR, or else which is the better."""
    if paper / FACTOR <= ours <= paper * FACTOR:
        return "same"
    return "no, better" if (ours < paper) == lower_is_better else "no, worse"


def holds(condition: bool) -> str:
    """Return the verdict on a bound or a statement."""
    return "same" if condition else "no"


def median(values: np.ndarray, form: str = "{:.2%}") -> str:
    """Return the median of what is not NaN, and its standard error by bootstrap."""
    return with_error(values[~np.isnan(values)], np.median, form)


def share(values: np.ndarray) -> str:
    """Return the mean of fractions, or of yes and no, and its standard error by bootstrap."""
    return with_error(np.asarray(values, dtype="float64"), np.mean, "{:.1%}")
