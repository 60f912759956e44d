"""The HDF5 file in which a chain grows step by step: emcee's backend, and what made the chain.

emcee writes every step as soon as it is made, so that an interrupted run loses nothing. Beside its
group the file says what was sampled, as JSON, and a chain of something else is never continued.
"""

import json
import os
from pathlib import Path

import h5py
from emcee.backends import HDFBackend

from rim_lensing.whole_files import whole_file

_DESCRIPTION = "description"
_FREE = ("start",)
"""What may change: an optimiser's answer differs in its last digit on another machine, and a chain
that has begun has left its start behind."""


class ChainFile:
    """A chain on disk, new or to be continued.

    Args:
        path: Where it is, or is to be made; in an existing folder.
        description: What is sampled, and how: values of JSON. None reads a chain that is there.
            A file without a step becomes that of this description.

    Attributes:
        description: What is sampled.
        backend: emcee's.

    Raises:
        FileNotFoundError: There is no such folder; or, without a description, no such file.
        FileExistsError: The file holds a chain of something else; the message says what differs.
            Where it started may differ.
        ValueError: It is not a file of this class.
    """

    def __init__(self, path: str | os.PathLike, description: dict | None = None):
        """Read the file, or make one without a step."""
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {self.path.parent}")
        if not self.path.exists():
            if description is None:
                raise FileNotFoundError(f"There is no file {self.path}")
            self._create(description)
        self.description = self._read_description()
        self.backend = HDFBackend(os.fspath(self.path))
        if description is not None and not self.steps:
            # Left by a run that failed, or was stopped, before its first step.
            self._create(description)
            self.description = self._read_description()
        elif description is not None:
            self._compare(json.loads(json.dumps(description)))

    @property
    def steps(self) -> int:
        """Steps that it holds."""
        return int(self.backend.iteration) if self.backend.initialized else 0

    def note(self, name: str, default: float = 0.0) -> float:
        """Return a number that was kept beside the chain."""
        with h5py.File(self.path, "r") as file:
            return float(file.attrs.get(name, default))

    def keep(self, **numbers: float) -> None:
        """Keep numbers beside the chain."""
        with h5py.File(self.path, "a") as file:
            file.attrs.update(numbers)

    def _create(self, description: dict) -> None:
        with whole_file(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs[_DESCRIPTION] = json.dumps(description)

    def _read_description(self) -> dict:
        try:
            with h5py.File(self.path, "r") as file:
                return json.loads(file.attrs[_DESCRIPTION])
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{self.path} is not a chain of `sample_lens_posterior`, or is damaged: {error}"
            ) from error

    def _compare(self, wanted: dict) -> None:
        names = sorted((wanted.keys() | self.description.keys()) - set(_FREE))
        differ = [name for name in names if wanted.get(name) != self.description.get(name)]
        if differ:
            raise FileExistsError(
                f"{self.path} holds a chain with other {', '.join(differ)}: choose another file, "
                "or give what it was made with, and it goes on"
            )
