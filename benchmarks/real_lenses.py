"""Real cutouts through `rim-lensing fit`, a command each, beside published models.

    python benchmarks/real_lenses.py DATA_FOLDER --output runs/real_lenses

DATA_FOLDER has slacs_f814w/NAME/image.fits, noise.fits and psf.fits (HST F814W, 0.05 arcsec), and
tables/slacs_published.tsv; what other folders it may have is listed in `real_lens_inputs`. No
option is chosen for a lens. The command goes on where it was stopped: a lens is done when its row
is written.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from real_lens_inputs import Case, other_cases
from tqdm import tqdm

from rim_lensing.files.whole_files import whole_file
from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity

SLACS, SCALE = "slacs_f814w", 0.05
THETA_E = ("bolton_bSIE", "shajib_thetaE", "dinos_thetaE")
AXIS_RATIO = ("bolton_q", "shajib_q", "dinos_q")
GAMMA = ("shajib_gamma", "dinos_gamma")
SMALLEST_P = 0.001
"""Of `check_residuals`: below it residuals are not noise."""


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    parser.add_argument("--every", type=int, default=1, help="of the SLACS lenses, by name")
    parser.add_argument("--first", type=int, default=0, help="of these, from 0")
    parser.add_argument("--others", action="store_true", help="the other folders, too")
    parser.add_argument("--report-only", action="store_true", help="no new fit")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Fit what is missing, print the table, draw the contact sheet."""
    options = parse_arguments(arguments)
    cases = slacs_cases(options.data)[options.first :: options.every]
    if options.others:
        cases += [case for case in other_cases(options.data) if case.exists()]
    if not cases:
        raise FileNotFoundError(f"There are no lenses in {options.data / SLACS}")
    options.output.mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not _row_path(options.output, case).exists()]
    if not options.report_only:
        for case in tqdm(missing, unit="lens"):
            run(case, options.output)
    rows = [
        json.loads(_row_path(options.output, case).read_text())
        for case in cases
        if _row_path(options.output, case).exists()
    ]
    published = read_published(options.data / "tables" / "slacs_published.tsv")
    report = table(rows, published)
    print(report)
    with whole_file(options.output / "table.md") as temporary:
        temporary.write_text(report + "\n")
    contact_sheet(rows, options.output)
    return 0


def slacs_cases(data: Path) -> list[Case]:
    """Return the SLACS lenses of a folder, by name."""
    folders = sorted(path.parent for path in (data / SLACS).glob("*/image.fits"))
    return [
        Case(
            folder.name,
            folder / "image.fits",
            folder / "noise.fits",
            folder / "psf.fits",
            ("--pixel-scale", str(SCALE)),
        )
        for folder in folders
    ]


def run(case: Case, output: Path) -> None:
    """Run the command on one lens, and write its row: exit status, times, memory, metrics."""
    folder = output / case.name
    command = [sys.executable, "-m", "rim_lensing", "fit", *case.arguments(folder)]
    command += ["--output", str(folder), "--overwrite"]
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    metrics = folder / "metrics.json"
    row = {
        "name": case.name,
        "status": process.returncode,
        "seconds": time.perf_counter() - began,
        "memory_gb": usage.ru_maxrss / 2**20,
        "metrics": json.loads(metrics.read_text()) if metrics.exists() else None,
        "log": (folder / "log.txt").read_text()[-2000:],
    }
    with whole_file(_row_path(output, case)) as temporary:
        temporary.write_text(json.dumps(row, indent=1))


def read_published(path: Path) -> dict[str, dict[str, float]]:
    """Return the published numbers by lens; what is missing is left out."""
    if not path.exists():
        return {}
    with path.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = (*THETA_E, *AXIS_RATIO, *GAMMA)
    return {row["lens"]: {name: float(row[name]) for name in names if row[name]} for row in rows}


def table(rows: list[dict], published: dict) -> str:
    """Return a line for every lens, and what they add up to, in Markdown."""
    lines = [
        "| lens | verdict | theta_E | published | off | q | published | slope | published | "
        "p of the residuals | chi2 | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row, published.get(row["name"], {})) for row in rows]
    return "\n".join([*lines, "", *_summary(rows, published)])


def _line(row: dict, known: dict) -> str:
    metrics = row["metrics"]
    if metrics is None:
        return f"| {row['name']} | exit status {row['status']} |" + " |" * 10
    lens, std = metrics.get("lens"), metrics.get("lens_std")
    cells = [row["name"], metrics["verdict"]]
    theta = slope = q = ""
    if lens:
        theta = f"{lens['theta_E']:.3f} ± {std['theta_E']:.3f}"
        q = f"{axis_ratio_from_ellipticity(lens['e1'], lens['e2'])[0]:.2f}"
        slope = f"{lens['slope']:.2f} ± {std['slope']:.2f}" if "slope" in lens else ""
    off = _off(row, known)
    test = metrics.get("residual_test")
    return (
        "| "
        + " | ".join(
            [
                *cells,
                theta,
                _values(known, THETA_E),
                "" if off is None else f"{off:+.1%}",
                q,
                _values(known, AXIS_RATIO, 2),
                slope,
                _values({name: known[name] - 1 for name in GAMMA if name in known}, GAMMA, 2),
                "" if test is None else f"{test['p_value']:.2g}",
                f"{metrics['chi2_per_pixel']:.2f}" if lens else "",
                f"{row['seconds']:.0f}",
            ]
        )
        + " |"
    )


def _values(known: dict, names: tuple, digits: int = 3) -> str:
    return ", ".join(f"{known[name]:.{digits}f}" for name in names if name in known)


def _off(row: dict, known: dict) -> float | None:
    """Return theta_E over the nearest published one, less 1."""
    lens = (row["metrics"] or {}).get("lens")
    values = [known[name] for name in THETA_E if name in known]
    if not lens or not values:
        return None
    return min((lens["theta_E"] / value - 1 for value in values), key=abs)


def _summary(rows: list[dict], published: dict) -> list[str]:
    """Return the bars, in words."""
    compared = [row for row in rows if any(n in published.get(row["name"], {}) for n in THETA_E)]
    if not compared:
        return []
    off = {row["name"]: _off(row, published[row["name"]]) for row in compared}
    within = {
        bound: sum(value is not None and abs(value) <= bound for value in off.values())
        for bound in (0.05, 0.1)
    }
    converged = [row for row in compared if (row["metrics"] or {}).get("converged")]
    wrong = [row["name"] for row in converged if abs(off[row["name"]]) > 0.1]
    tests = [(row["metrics"] or {}).get("residual_test") for row in compared]
    noise = sum(test is not None and test["p_value"] >= SMALLEST_P for test in tests)
    ratios = [_off_axis_ratio(row, published[row["name"]]) for row in compared]
    ratios = np.array([value for value in ratios if value is not None])
    count = len(compared)
    return [
        f"- theta_E within 5% of a published value: {within[0.05]} of {count} "
        f"({within[0.05] / count:.0%}); within 10%: {within[0.1]}.",
        f"- Converged: {len(converged)}; of these off by more than 10%: {len(wrong)} "
        f"{', '.join(wrong)}.",
        f"- Residuals of the arcs consistent with noise: {noise} of {count} ({noise / count:.0%}).",
        f"- q within 0.1 of a published value: {(ratios <= 0.1).sum()} of {len(ratios)}.",
        f"- Seconds of the whole command: {np.median([row['seconds'] for row in rows]):.0f} in the "
        f"median, {max(row['seconds'] for row in rows):.0f} at most; memory "
        f"{max(row['memory_gb'] for row in rows):.1f} GB at most.",
    ]


def _off_axis_ratio(row: dict, known: dict) -> float | None:
    lens = (row["metrics"] or {}).get("lens")
    values = [known[name] for name in AXIS_RATIO if name in known]
    if not lens or not values:
        return None
    q = float(axis_ratio_from_ellipticity(lens["e1"], lens["e2"])[0])
    return min(abs(q - value) for value in values)


def contact_sheet(rows: list[dict], output: Path, columns: int = 3) -> None:
    """Draw the summaries of all lenses that have one, on one sheet."""
    from PIL import Image, ImageDraw

    width, height = 650, 380
    made = [row for row in rows if (output / row["name"] / "summary.png").exists()]
    if not made:
        return
    lines = -(-len(made) // columns)
    sheet = Image.new("RGB", (columns * width, lines * (height + 16)), "white")
    for i, row in enumerate(made):
        left, top = i % columns * width, i // columns * (height + 16)
        with Image.open(output / row["name"] / "summary.png") as picture:
            sheet.paste(picture.convert("RGB").resize((width, height)), (left, top + 16))
        ImageDraw.Draw(sheet).text((left + 4, top + 2), row["name"], fill="black")
    with whole_file(output / "contact_sheet.png") as temporary:
        sheet.save(temporary, format="png")


def _row_path(output: Path, case: Case) -> Path:
    return output / f"{case.name}.json"


if __name__ == "__main__":
    sys.exit(main())
