"""Rows that cost nothing, for the tests of the survey's machinery; run as a program, a survey.

    python fake_rows.py OUTPUT NUMBER [--workers N] [--scheduler ADDRESS]

A row's arguments say what happens to it; when it is done, its name goes into OUTPUT/../done.txt.
"""

import argparse
import errno
import os
import signal
import time
from pathlib import Path

from rim_lensing.survey.rows import Outcome, Row, folder_of
from rim_lensing.survey.survey import Survey


def fake(row: Row, folder: Path) -> Outcome:
    """Do what the arguments say."""
    for argument in row.arguments:
        what, _, value = argument.partition("=")
        if what == "sleep":
            time.sleep(float(value))
        elif what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "die-once":
            mark = Path(value)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif what == "eat":
            held = []
            while True:
                held.append(b"1" * 10_000_000)
                time.sleep(0.05)
        elif what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        elif what == "missing":
            (folder / value).read_text()
        elif what == "wrong":
            raise ValueError(value)
        elif what == "bug":
            raise ZeroDivisionError(value)
        elif what == "print":
            print(value)
    (folder / "data.txt").write_text(row.name)
    with open(folder.parents[2] / "done.txt", "a") as done:
        done.write(f"{row.name}\n")
    return Outcome("converged", "residuals are noise", {"theta_E": 1.0 + len(row.name) / 10})


def rows(*arguments: tuple[str, ...]) -> list[Row]:
    """Return rows with these arguments, named by their number."""
    return [
        Row(f"lens {number}", folder_of(f"lens {number}"), tuple(each))
        for number, each in enumerate(arguments)
    ]


def main() -> None:
    """Run a survey of rows that sleep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("--sleep", default="0.05")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--scheduler")
    options = parser.parse_args()
    asked = rows(*[(f"sleep={options.sleep}",)] * options.number)
    Survey(options.output, asked).run(fake, options.workers, options.scheduler)


if __name__ == "__main__":
    # Workers import the function by this name.
    import fake_rows

    from rim_lensing.program import run

    fake = fake_rows.fake
    run(main)
