"""Where a result comes from: the machine, the commit of this checkout, the galaxies."""

import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import keras

from rim_lensing.backend import accelerator_names

UNKNOWN = "unknown"
_PROCESSORS = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def machine() -> str:
    """Return what computes, such as "tensorflow on 2 cores of x86_64 (AMD EPYC)"."""
    name = platform.machine()
    if _PROCESSORS.exists():
        lines = _PROCESSORS.read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name += f" ({models[0]})" if models else ""
    accelerators = accelerator_names()
    where = f"{', '.join(accelerators)} and " if accelerators else ""
    return f"{keras.backend.backend()} on {where}{os.cpu_count()} cores of {name}"


def git_commit() -> str | None:
    """Return the commit of the checkout that this file belongs to, marked if there are changes.

    None outside of a checkout: an installed copy may lie within somebody's repository, but git does
    not know it.
    """
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def seen_galaxies(training: dict) -> set[str]:
    """Return the sha256 of the galaxy files that weights have seen, or those they began with.

    UNKNOWN stands for files of which the record does not tell.

    Args:
        training: What run.json or metadata.json says of the training.
    """
    seen = set(training.get("initial_galaxies_sha256") or [])
    if training.get("initial_weights") and training.get("initial_galaxies_sha256") is None:
        seen.add(UNKNOWN)
    of_this_run = training.get("galaxies_sha256")
    if of_this_run or training.get("galaxies"):
        seen.add(of_this_run or UNKNOWN)
    return seen


def _git(*arguments: str) -> str | None:
    """Return what git says in this folder; None if it fails, or is not there."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
