"""Whatever happens to rows, workers, scheduler or client: each row ends, once, or goes on."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from astropy.table import Table
from pyarrow import parquet

import rim_lensing
from rim_lensing.survey.folders import SurveyFolder
from rim_lensing.survey.rows import Failure
from rim_lensing.survey.survey import Survey
from rim_lensing.survey.workers import local_workers

HERE = Path(__file__).parent
PATHS = os.pathsep.join((str(Path(rim_lensing.__file__).parents[1]), str(HERE)))
ENVIRONMENT = os.environ | {"PYTHONPATH": PATHS}


@pytest.fixture
def fake_rows(monkeypatch):
    """The module, importable here and by workers."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", PATHS)
    import fake_rows

    return fake_rows


def begun(output: Path, number: int, *options: str) -> subprocess.Popen:
    """Start a survey in a process of its own, with its own group, as a shell does."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "fake_rows.py"), str(output), str(number), *options],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(output: Path) -> list[str]:
    return [path.parent.name for path in output.glob("lenses/*/record.json")]


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def times_done(output: Path) -> Counter:
    return Counter((output.parent / "done.txt").read_text().splitlines())


def test_every_row_ends_as_a_result_or_a_failure_with_a_name(fake_rows, tmp_path, capsys):
    mark = tmp_path / "mark"
    asked = fake_rows.rows(
        ("print=hello",),
        ("missing=there/is/none.fits",),
        ("wrong=`noise` must be positive. Received: -1",),
        ("bug=what is this",),
        ("full",),
        (f"die-once={mark}",),
        ("die",),
        ("eat",),
        (),
    )
    survey = Survey(tmp_path / "out", asked)
    survey.run(fake_rows.fake, workers=2, memory=300 * 2**20)
    ends = {record.name: record for record in survey.records.values()}
    failures = {name: record.failure for name, record in ends.items() if record.failure}
    assert failures == {
        "lens 1": Failure.MISSING,
        "lens 2": Failure.REFUSED,
        "lens 3": Failure.ERROR,
        "lens 4": Failure.DISK,
        "lens 6": Failure.DIED,
        "lens 7": Failure.MEMORY,
    }
    assert ends["lens 2"].reason == "`noise` must be positive. Received: -1"
    assert ends["lens 3"].reason == "ZeroDivisionError: what is this"
    assert len(ends["lens 5"].deaths) == 1 and "died: it had" in ends["lens 5"].deaths[0]
    assert len(ends["lens 6"].deaths) == 3
    assert all("died of memory: it had 0." in death for death in ends["lens 7"].deaths)
    place = SurveyFolder(tmp_path / "out")
    assert place.records(asked) == survey.records
    folder = place.lenses / asked[0].folder
    assert (folder / "log.txt").read_text() == "hello\n"
    assert not list(place.output.glob("unfinished/*"))
    tables = (
        Table.read(tmp_path / "out" / "results.ecsv"),
        parquet.read_table(tmp_path / "out" / "results.parquet").to_pydict(),
    )
    for table in tables:
        assert list(table["name"]) == [row.name for row in asked]
        failures = [value if isinstance(value, str) else "" for value in table["failure"]]
        assert failures == [ends[row.name].failure or "" for row in asked]
    assert "lens 7: worker" in capsys.readouterr().err
    # The same again: what failed is tried, what has a result is not.
    before = times_done(tmp_path / "out")
    quick = [row for row in asked if row.name not in ("lens 6", "lens 7")]
    Survey(tmp_path / "out", quick).run(fake_rows.fake, workers=1)
    assert times_done(tmp_path / "out") == before


def test_ctrl_c_ends_cleanly_and_a_killed_client_loses_nothing(tmp_path):
    output, number = tmp_path / "out", 40
    first = begun(output, number, "--workers", "2")
    wait_for(lambda: len(finished(output)) >= 4)
    os.killpg(first.pid, signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "Traceback" not in said and "rows have a result; the same command goes on" in said
    assert len(Table.read(output / "results.ecsv")) == len(finished(output)) < number

    second = begun(output, number, "--workers", "2")
    had = len(finished(output))
    wait_for(lambda: len(finished(output)) >= had + 4)
    workers = psutil.Process(second.pid).children(recursive=True)
    at_kill = set(finished(output))
    second.kill()
    second.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive

    _, said = begun(output, number, "--workers", "2").communicate(timeout=120)
    assert len(finished(output)) == number
    assert list(Table.read(output / "results.ecsv")["name"]) == [f"lens {i}" for i in range(number)]
    done = times_done(output)
    assert set(done) == {f"lens {i}" for i in range(number)}
    # Only what was being done when it was killed, by two workers twice, is done again.
    assert sum(done.values()) <= number + 4
    assert all(done[name] == 1 for name in done if SurveyFolder(output).record(name) in at_kill)


def test_killed_workers_and_a_killed_scheduler_lose_nothing(tmp_path):
    output, number, file = tmp_path / "out", 40, tmp_path / "scheduler.json"
    scheduler, workers = _cluster(file)
    try:
        run = begun(output, number, "--scheduler", str(file))
        wait_for(lambda: len(finished(output)) >= 3)
        victim = max(psutil.Process(workers.pid).children(), key=lambda each: each.pid)
        victim.kill()
        had = len(finished(output))
        wait_for(lambda: len(finished(output)) >= had + 3)
        scheduler.kill()
        _, said = run.communicate(timeout=120)
        assert run.returncode == 1 and "error: The scheduler has ended" in said
        assert "Traceback" not in said, said[-3000:]
    finally:
        _end(scheduler, workers)
    assert 6 <= len(finished(output)) < number
    file.unlink()
    scheduler, workers = _cluster(file)
    try:
        run = begun(output, number, "--scheduler", str(file))
        run.communicate(timeout=120)
        assert run.returncode == 0
    finally:
        _end(scheduler, workers)
    assert len(finished(output)) == len(Table.read(output / "results.ecsv")) == number
    done = times_done(output)
    assert set(done) == {f"lens {i}" for i in range(number)}
    assert sum(done.values()) <= number + 4


def _cluster(file: Path) -> tuple[subprocess.Popen, subprocess.Popen]:
    """Start a scheduler and two workers of one thread on loopback."""
    dask = [sys.executable, "-m", "dask"]
    quiet = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*dask, "scheduler", "--port", "0", *here], **quiet)
    wait_for(file.exists)
    one_thread = ["--nthreads", "1", "--nworkers", "2", "--memory-limit", "1GiB"]
    workers = subprocess.Popen([*dask, "worker", *one_thread, *here], **quiet)
    wait_for(lambda: len(psutil.Process(workers.pid).children()) >= 2)
    return scheduler, workers


def _end(*processes: subprocess.Popen) -> None:
    for process in processes:
        children = []
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
        for each in (process, *children):
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()


def test_workers_listen_on_this_machine_alone():
    with local_workers(1, 2**29) as client:
        assert client.nthreads()
        here = psutil.Process()
        addresses = {
            connection.laddr.ip
            for process in (here, *here.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert addresses == {"127.0.0.1"}


def test_two_surveys_in_one_folder_are_refused(tmp_path):
    with SurveyFolder(tmp_path).locked():
        script = (
            "import sys\nfrom rim_lensing.survey.folders import SurveyFolder\n"
            "with SurveyFolder(sys.argv[1]).locked(): pass"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
    assert f"Another survey works in {tmp_path}: process {os.getpid()}" in other.stderr
