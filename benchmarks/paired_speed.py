"""Is a RIM slower than it was? This tree against another commit, timed in turn.

    python benchmarks/paired_speed.py --against COMMIT

makes a worktree of the commit, and times in both, as a user calls them: `reconstruct` of one system
and of 16, and the gradient of a lens's log-posterior, which searches ask for. The two trees take
turns, in an order that changes from pair to pair, in processes that stay open, so that drifts of
the machine's speed fall on both alike. New processes are started several times, because how one
lies in memory can make it faster all its life. The system is the demo's; compilation and loading
do not count. The ratio of a pair is the time of this tree over that of the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from bootstrap import with_error
from speed_worker import CASES
from tqdm import tqdm

from rim_lensing.demo import read_demo_lens
from rim_lensing.program import run

ROOT = Path(__file__).resolve().parents[1]
CLOCKS = ("wall", "processor")


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", required=True, metavar="COMMIT", help="of this repository")
    parser.add_argument("--model", default="rim_euclid64", help="a RIM of both zoos")
    parser.add_argument("--pairs", type=int, default=20, help="of every case and start")
    parser.add_argument("--starts", type=int, default=3, help="of new processes")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Time both, and print the table."""
    options = parse_arguments(arguments)
    if options.pairs < 2 or options.starts < 1:
        raise ValueError("--pairs must be at least 2, and --starts positive")
    with tempfile.TemporaryDirectory() as folder, worktree(options.against) as other:
        mock, path = read_demo_lens(), Path(folder) / "mock.npz"
        np.savez(path, **{name: getattr(mock, name) for name in ("image", "noise", "psf", "lens")})
        times = measure((ROOT, other), options.model, path, options.pairs, options.starts)
    print(table(times))
    return 0


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Check a commit out into a folder of its own, for as long as it is needed.

    Raises:
        ValueError: There is no such commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkout"
        done = _git("worktree", "add", "--detach", str(path), commit)
        if done.returncode:
            raise ValueError(f"--against must be a commit. Received: {commit}: {done.stderr}")
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)


class Worker:
    """A process that times cases of one checkout when it is asked.

    Args:
        checkout: Whose package is timed.
        model: Name of a RIM.
        mock: See `speed_worker`.
        program: What answers.
    """

    def __init__(
        self,
        checkout: Path,
        model: str,
        mock: Path,
        program: Path = ROOT / "benchmarks" / "speed_worker.py",
    ):
        """Start it; returns before it is ready."""
        command = [sys.executable, program, checkout, model, mock]
        quiet = {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment = os.environ | quiet | {"PYTHONPATH": str(checkout)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=environment, cwd=checkout, stdin=pipe, stdout=pipe, text=True
        )

    def __enter__(self) -> "Worker":
        """Wait until it is ready."""
        self._answer()
        return self

    def __exit__(self, *error) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def time(self, case: str) -> dict[str, float]:
        """Return the seconds that a case takes, by CLOCKS."""
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A worker has ended; its message is above")
        return json.loads(line)


def measure(
    checkouts: tuple[Path, Path], model: str, mock: Path, pairs: int, starts: int
) -> dict[str, np.ndarray]:
    """Return the seconds of every case, (pairs * starts, 2 checkouts, 2 clocks).

    Args:
        checkouts: This tree, and the other.
        model: Name of a RIM.
        mock: See `speed_worker`.
        pairs: Of every case and start.
        starts: Of new processes.
    """
    times: dict[str, list] = {case: [] for case in CASES}
    with tqdm(total=starts * pairs * len(CASES), unit="pair") as progress:
        for _ in range(starts):
            with ExitStack() as stack:
                # One after the other: they do not warm up in each other's way.
                workers = [stack.enter_context(Worker(each, model, mock)) for each in checkouts]
                for pair in range(pairs):
                    for case in CASES:
                        times[case].append(_pair(workers, case, swapped=pair % 2 == 1))
                        progress.update()
    return {case: np.array(each) for case, each in times.items()}


def _pair(workers: list[Worker], case: str, swapped: bool) -> list[list[float]]:
    """Return the seconds of one pair, (2 checkouts, 2 clocks)."""
    turns = workers[::-1] if swapped else workers
    answers = [each.time(case) for each in turns]
    seconds = [[answer[clock] for clock in CLOCKS] for answer in answers]
    return seconds[::-1] if swapped else seconds


def table(times: dict[str, np.ndarray]) -> str:
    """Return medians and ratios as Markdown.

    Args:
        times: Of `measure`.
    """
    lines = [
        "Median seconds a call; the ratio of a pair, this tree over the other: median ± its "
        "standard error by bootstrap over the pairs (16% to 84% of the pairs).",
        "",
        "| | clock | this tree | other | ratio |",
        "|---|---|---|---|---|",
    ]
    for case, seconds in times.items():
        for clock, name in enumerate(CLOCKS):
            now, then = seconds[..., clock].T
            ratio = now / then
            low, high = np.quantile(ratio, (0.16, 0.84))
            middle = with_error(ratio, np.median, "{:.3f}")
            lines.append(
                f"| {case} | {name} | {np.median(now):.4g} | {np.median(then):.4g} | "
                f"{middle} ({low:.3f} to {high:.3f}) |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
