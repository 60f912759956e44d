"""Keeps TensorFlow's remarks off the terminal without hiding errors."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_REMARK = re.compile(
    r"[IW]\d{4} |WARNING: All log messages before absl::Init|To enable the following instructions"
)
_NO_GPU = re.compile(r"failed call to cuInit")


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Drop what TensorFlow writes to stderr, at its import too, below the level of an error.

    TF_CPP_MIN_LOG_LEVEL alone does not: some lines are written before it is read. All other lines
    come through, after the block. That CUDA does not start is no error where there is no NVIDIA
    device.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            written.seek(0)
            for line in written.read().decode(errors="replace").splitlines(keepends=True):
                if not _is_remark(line):
                    os.write(stderr, line.encode())
            os.close(stderr)


def _is_remark(line: str) -> bool:
    has_gpu = Path("/dev/nvidiactl").exists()
    return bool(_REMARK.match(line)) or (not has_gpu and bool(_NO_GPU.search(line)))
