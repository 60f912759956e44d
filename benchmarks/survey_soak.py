"""Does every row of a survey end, once, whatever happens? Rows with faults, and processes killed.

    python benchmarks/survey_soak.py --output runs/survey_soak
    python benchmarks/survey_soak.py --output runs/survey_soak_fits --rows 40 --fit

A row reads a mock cutout; with --fit it is a whole fit of the raw lens that comes with the package.
Faults are drawn for a share of the rows: files that are missing, truncated, or NaN, a PSF that is
no PSF, a disk that is full (as /dev/full is), a worker that dies once, always, or of memory. All
the while workers are killed at random, and the command, which is then given again. Printed is how
rows of each kind have ended, and how often rows with a result were done.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from rim_lensing.program import run
from rim_lensing.survey.rows import FAILED, Failure, Outcome, Record, Row
from rim_lensing.survey.survey import Survey

ENDS = {
    "nothing": None,
    "missing file": Failure.MISSING,
    "truncated file": Failure.REFUSED,
    "NaN image": Failure.REFUSED,
    "negative PSF": Failure.REFUSED,
    "full disk": Failure.DISK,
    "worker dies once": None,
    "worker dies each time": Failure.DIED,
    "memory runs out": Failure.MEMORY,
}
"""Faults, and the failure that each must end as; None, a result."""

SHARES = (0.66, 0.06, 0.06, 0.06, 0.04, 0.04, 0.05, 0.02, 0.01)

SIDE = 41
MEMORY = {False: 400 * 2**20, True: 4 * 2**30}
"""Bytes that a worker may have: without fits, and with."""

KILLS = 3
"""Times that the command is killed."""


def soak_row(row: Row, folder: Path) -> Outcome:
    """Do a row, with its fault."""
    fault, image, mark = row.arguments[:3]
    if fault == "full disk":
        Path("/dev/full").write_text("no room")
    if fault == "worker dies each time" or (fault == "worker dies once" and not _seen(Path(mark))):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "memory runs out":
        held = []
        while True:
            held.append(b"1" * 10_000_000)
            time.sleep(0.05)
    psf = "-1" if fault == "negative PSF" else "0.05"
    outcome = _fitted(row, image, psf, folder) if row.arguments[3:] else _read(image, psf)
    (folder / "done.json").write_text(json.dumps(row.name))
    with open(folder.parents[1] / "done.txt", "a") as done:
        done.write(f"{row.name}\n")
    return outcome


def _seen(mark: Path) -> bool:
    seen = mark.exists()
    mark.touch()
    return seen


def _read(image: str, psf: str) -> Outcome:
    from rim_lensing.observation.reading import read_observation

    seen = read_observation(image, "0.01", psf, pixel_scale=0.05)
    used = np.isfinite(seen.image)
    if not used.any():
        raise ValueError("`image` must have data. Received: NaN alone")
    return Outcome("read", "", {"peak": float(seen.image[used].max())})


def _fitted(row: Row, image: str, psf: str, folder: Path) -> Outcome:
    from rim_lensing.commands.survey_row import fit_row

    psf = psf if psf == "-1" else f"{image}[PSF]"
    asked = ("fit", f"{image}[IMAGE]", f"--noise={image}[NOISE]", f"--psf={psf}")
    return fit_row(Row(row.name, row.folder, asked), folder)


def make_rows(folder: Path, number: int, seed: int, fit: bool) -> list[Row]:
    """Write the cutouts, and return rows of which some have faults.

    Args:
        folder: Where files go.
        number: Of rows.
        seed: Of the faults and the pixels.
        fit: The cutouts are the raw lens that comes with the package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    rows = []
    for index in range(number):
        fault = str(draw.choice(list(ENDS), p=SHARES))
        path = folder / f"{index:04d}.fits"
        if fault != "missing file" and not path.exists():
            _write_cutout(path, fault, draw, fit)
        name = f"{index:04d}"
        mark = str(folder / f"{name}.mark")
        rows.append(Row(name, name, (fault, str(path), mark, *(["fit"] if fit else []))))
    return rows


def _write_cutout(path: Path, fault: str, draw: np.random.Generator, fit: bool) -> None:
    from astropy.io import fits

    from rim_lensing.demo import RAW_DEMO_FILE

    if fit:
        shutil.copy(RAW_DEMO_FILE, path)
    else:
        fits.PrimaryHDU(draw.normal(size=(SIDE, SIDE)).astype("float32")).writeto(path)
    if fault == "NaN image":
        with fits.open(path, mode="update") as file:
            file[0].data[:] = np.nan
    if fault == "truncated file":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def main() -> int:
    """Run the survey, kill what is to be killed, and print how rows have ended."""
    options = parse_arguments()
    rows = make_rows(options.output / "cutouts", options.rows, options.seed, options.fit)
    place = options.output / "survey"
    survey = Survey(place, rows)
    if options.client:
        # Workers import the function by this name.
        import survey_soak

        survey.run(survey_soak.soak_row, options.workers, memory=MEMORY[options.fit])
        return 0
    began = time.monotonic()
    killed = _run_and_kill(options, place)
    seconds = time.monotonic() - began
    records = survey.place.records(rows)
    print(table(rows, records))
    done = Counter((place / "done.txt").read_text().split())
    again = sum(done[row.name] > 1 for row in rows)
    print(f"\n{len(rows)} rows, {len(records)} have ended, in {seconds:.0f} s.")
    print(f"Killed: {killed['workers']} workers, {killed['clients']} times the command.")
    print(f"Rows that were done more than once, killed before they had ended: {again}.")
    wrong = [row.name for row in rows if _is_wrong(row, records.get(row.folder))]
    print(f"Rows that ended otherwise than they must: {', '.join(wrong) or 'none'}.")
    return 1 if wrong else 0


def _is_wrong(row: Row, record: Record | None) -> bool:
    """Return whether a row has not ended, or otherwise than its fault asks for."""
    return record is None or (record.failure or None) != ENDS[row.arguments[0]]


def table(rows: list[Row], records: dict[str, Record]) -> str:
    """Return how rows of each fault have ended, in Markdown."""
    lines = ["| fault | rows | ended as |", "| --- | --- | --- |"]
    for fault in ENDS:
        of_it = [row for row in rows if row.arguments[0] == fault]
        ends = Counter(_end(records.get(row.folder)) for row in of_it)
        said = ", ".join(f"{end}: {number}" for end, number in ends.most_common())
        lines.append(f"| {fault} | {len(of_it)} | {said} |")
    return "\n".join(lines)


def _end(record: Record | None) -> str:
    if record is None:
        return "not at all"
    return record.failure if record.verdict == FAILED else "a result"


def _run_and_kill(options: argparse.Namespace, place: Path) -> Counter:
    """Run the command until it ends by itself, killing its workers and, KILLS times, itself."""
    killed, chance = Counter(), random.Random(options.seed)
    while True:
        command = [sys.executable, __file__, *sys.argv[1:], "--client"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])}
        client = subprocess.Popen(command, env=environment)
        end = time.monotonic() + options.every * chance.uniform(2, 4)
        while client.poll() is None:
            time.sleep(options.every * chance.uniform(0.5, 1.5))
            if client.poll() is not None:
                break
            if killed["clients"] < KILLS and time.monotonic() > end:
                client.kill()
                client.wait()
                killed["clients"] += 1
            else:
                killed["workers"] += _kill_a_worker(client.pid, chance)
        if client.returncode == 0:
            return killed
        if client.returncode != -signal.SIGKILL:
            raise RuntimeError(f"The command has ended with {client.returncode}")


def _kill_a_worker(pid: int, chance: random.Random) -> int:
    """Kill one of a client's workers; returns how many were."""
    try:
        children = psutil.Process(pid).children()
        workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        if workers:
            chance.choice(workers).kill()
        return bool(workers)
    except psutil.NoSuchProcess:
        return 0


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    parser.add_argument("--rows", type=int, default=500, help="how many")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--fit", action="store_true", help="fit the cutouts, do not only read them")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
