import pytest

from rim_lensing.program import run


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, FileExistsError, RuntimeError])
def test_what_is_refused_is_told_in_one_line(error):
    def main():
        raise error("no such galaxy")

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == "error: no such galaxy"


def test_interrupted(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run(main, "interrupted; nothing was written")
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


def test_status_is_that_of_the_program():
    with pytest.raises(SystemExit) as ended:
        run(lambda: 3)
    assert ended.value.code == 3


class BackendCrash(RuntimeError):
    """As JAX's JaxRuntimeError is: a crash, not a refusal."""


@pytest.mark.parametrize("error", [ZeroDivisionError, RecursionError, BackendCrash])
def test_a_mistake_of_ours_is_not_hidden(error):
    def main():
        raise error("crash")

    with pytest.raises(error):
        run(main)
