"""Two checkouts timed in turn: who is asked when, and what the times add up to."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import paired_speed  # noqa: E402

CLOCK = """
import json, sys
checkout, model, mock = sys.argv[1:]
slowness = {"fast": 1.0, "slow": 1.2}[checkout.rsplit("/", 1)[-1]]
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    with open(mock, "a") as log:
        log.write(checkout[-4:] + "," + line)
    asked = len(open(mock).readlines())
    # The machine is slower from pair to pair, the three cases of a pair alike.
    speed = 2.0 ** ((asked - 1) // 6)
    answer = {"wall": slowness * speed, "processor": 2 * slowness * speed}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def timed(tmp_path, monkeypatch):
    program, log = tmp_path / "clock.py", tmp_path / "log"
    program.write_text(CLOCK)
    for name in ("fast", "slow"):
        (tmp_path / name).mkdir()
    checkouts = tmp_path / "slow", tmp_path / "fast"
    worker = paired_speed.Worker
    monkeypatch.setattr(
        paired_speed, "Worker", lambda *arguments: worker(*arguments, program=program)
    )
    times = paired_speed.measure(checkouts, "rim", log, pairs=4, starts=2)
    return times, [line.split(",") for line in log.read_text().splitlines()]


def test_pairs_are_of_one_moment_in_turn(timed):
    times, log = timed
    assert set(times) == set(paired_speed.CASES)
    for seconds in times.values():
        assert seconds.shape == (8, 2, 2)
        # 1.2 whatever the drift; by medians of each it would be anything.
        np.testing.assert_allclose(seconds[:, 0] / seconds[:, 1], 1.2)
        np.testing.assert_allclose(seconds[..., 1], 2 * seconds[..., 0])
    assert [checkout for checkout, _ in log[:12]] == ["slow", "fast"] * 3 + ["fast", "slow"] * 3
    assert [case for _, case in log[:6:2]] == list(paired_speed.CASES)


def test_the_table_has_the_median_of_the_ratios():
    then = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    ratio = np.array([1.1, 0.9, 1.0, 1.3, 1.05])
    seconds = np.stack([then * ratio, then], axis=1)
    text = paired_speed.table({"one system": np.stack([seconds, 3 * seconds], axis=-1)})
    wall, processor = (line.split(" | ") for line in text.splitlines()[-2:])
    assert wall[:4] == ["| one system", "wall", "100", "100"]
    assert processor[:4] == ["| one system", "processor", "300", "300"]
    # Linear between order statistics: 0.9, 1, 1.05, 1.1, 1.3 at 0, 0.25, 0.5, 0.75, 1.
    low, high = 0.9 + 0.1 * 0.64, 1.1 + 0.2 * 0.36
    for row in (wall, processor):
        assert row[4].startswith("1.050 ± ") and row[4].endswith(f"({low:.3f} to {high:.3f}) |")


def test_a_commit_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="must be a commit. Received: nothing-of-the-kind"):
        paired_speed.main(["--against", "nothing-of-the-kind"])
