"""Where a result comes from: the machine, and the commit of this checkout."""

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import keras

_PROCESSORS = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def machine() -> str:
    """Return what computes, such as "tensorflow on 2 cores of x86_64 (AMD EPYC)"."""
    name = platform.machine()
    if _PROCESSORS.exists():
        lines = _PROCESSORS.read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name += f" ({models[0]})" if models else ""
    accelerators = [
        device
        for device in keras.distribution.list_devices()
        if not device.lower().startswith("cpu")
    ]
    where = f"{', '.join(accelerators)} and " if accelerators else ""
    return f"{keras.backend.backend()} on {where}{os.cpu_count()} cores of {name}"


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Return the commit of this checkout, marked if it has changes; None outside of a checkout.

    It is looked up once: what a process runs is what was there when it started.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
