import os

import pytest

from rim_lensing.tensorflow_messages import without_remarks


def test_remarks_are_dropped_and_errors_come_through(capfd):
    with without_remarks():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\n")
        os.write(2, b"I0000 00:00:1795411552.082158   10133 port.cc:153] oneDNN is on\n")
        os.write(2, b"W0000 00:00:1795411552.082158   10133 any.cc:1] something\n")
        os.write(2, b"E0000 00:00:1795411552.082158   10133 any.cc:1] out of memory\n")
        os.write(2, b"another program's line\n")
    os.write(2, b"I0000 after the block\n")
    lines = capfd.readouterr().err.splitlines()
    assert [line[:5] for line in lines] == ["E0000", "anoth", "I0000"]


def test_what_was_written_before_an_exception_is_shown(capfd):
    with pytest.raises(RuntimeError), without_remarks():
        os.write(2, b"the reason\n")
        raise RuntimeError
    assert capfd.readouterr().err == "the reason\n"
