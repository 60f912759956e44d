"""Systems that are the same on every machine: candidates that were looked for once, written down.

System i is candidate number c_i of the stream numpy.random.default_rng([seed, i, c_i]), so that any
system can be made alone, in any order. Candidates that miss the constraints were passed over when
the set was frozen; the c_i stand in a recipe, with the sha256 of what must come out to the bit.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from tqdm.auto import tqdm

from rim_lensing.files.whole_files import whole_file
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.simulation.mock_observations import stacked


class Galaxies(Protocol):
    """What is lensed, see `validation_set.GalaxyPool`."""

    kind: str

    def stamp(self, index: int) -> np.ndarray:
        """Return a galaxy, (s, s), peak 1."""

    def order(self, systems: int) -> np.ndarray:
        """Return the galaxies of the first systems, (systems,)."""

    def means(self) -> list[float]:
        """Return what galaxies are recognised by."""

    def arranged(self, recipe: dict) -> "Galaxies | None":
        """Return the galaxies in the order of a recipe; None if they are others."""


class FrozenSystems(ABC):
    """Systems that no training has seen, made when they are asked for.

    Args:
        galaxies: What is lensed.
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
        systems: How many.
        candidates: The number c_i of each system, (systems,); None looks for them: of each system,
            the first candidate that meets the constraints.
        name: Of the recipe; None of a set that is not frozen.

    Raises:
        RuntimeError: The grids are such that hardly any candidate meets the constraints.
    """

    BATCH: ClassVar[int]
    """Systems that are rendered at a time: the renderer is compiled for one shape."""
    MAX_CANDIDATES: ClassVar[int]

    def __init__(
        self,
        galaxies: Galaxies,
        geometry: Geometry,
        systems: int,
        candidates: np.ndarray | None = None,
        name: str | None = None,
    ):
        """Look for the candidates if they are not given."""
        self.galaxies, self.geometry, self.name = galaxies, geometry, name
        self.galaxy = galaxies.order(systems)
        self.candidates = np.zeros(systems, "int64") if candidates is None else candidates
        if candidates is None:
            self._find_candidates()

    def __len__(self) -> int:
        """Number of systems."""
        return len(self.candidates)

    def digest(self) -> str:
        """Return the sha256 of galaxy numbers and of what is `checked` of every system."""
        text = hashlib.sha256(self.galaxy.astype("<i8").tobytes())
        for system, number in enumerate(self.candidates):
            for value in self.checked(*self.candidate(system, number)):
                text.update(value.astype("<f4").tobytes())
        return text.hexdigest()

    @abstractmethod
    def candidate(self, system: int, number: int) -> tuple[dict, np.random.Generator]:
        """Return the parameters of a candidate, arrays (1, ...), and the generator of its noise."""

    @abstractmethod
    def checked(self, parameters: dict, generator: np.random.Generator) -> Iterable[np.ndarray]:
        """Return the arrays of a candidate that are the same on every machine, bit for bit."""

    @abstractmethod
    def render_batch(self, systems: Sequence[int], stamps: np.ndarray, parameters: dict) -> dict:
        """Return BATCH systems without noise, of the kind of the first, as arrays by name.

        Args:
            systems: Their numbers.
            stamps: Their galaxies, (BATCH, s, s).
            parameters: Of `candidate`, (BATCH, ...).
        """

    @abstractmethod
    def meets_constraints(self, rendered: dict) -> np.ndarray:
        """Return which of some systems may be kept, booleans."""

    def alike(self) -> list[list[int]]:
        """Return the numbers of all systems, in groups that are rendered together."""
        return [list(range(len(self)))]

    @property
    @abstractmethod
    def constraints(self) -> str:
        """What candidates have to meet, and what to do where none does, in words."""

    def render(
        self, systems: Sequence[int], numbers: Sequence[int]
    ) -> tuple[dict, list[np.random.Generator]]:
        """Render candidates of at most BATCH systems; their generators go on to the noise."""
        drawn, generators = zip(
            *(self.candidate(*pair) for pair in zip(systems, numbers, strict=True)), strict=True
        )
        # Always a full batch, so that the renderer is compiled for one shape.
        slots = np.resize(np.arange(len(systems)), self.BATCH)
        rendered = self.render_batch(
            systems,
            np.stack([self.galaxies.stamp(self.galaxy[systems[slot]]) for slot in slots]),
            stacked([drawn[slot] for slot in slots]),
        )
        return {key: value[: len(systems)] for key, value in rendered.items()}, list(generators)

    def _find_candidates(self) -> None:
        with tqdm(total=len(self), desc="drawing systems", unit="system") as bar:
            for group in self.alike():
                waiting = deque((system, 0) for system in group)
                while waiting:
                    tried = [waiting.popleft() for _ in range(min(self.BATCH, len(waiting)))]
                    accepted = self.meets_constraints(self.render(*zip(*tried, strict=True))[0])
                    for (system, number), good in zip(tried, accepted, strict=True):
                        if good:
                            self.candidates[system] = number
                            bar.update()
                        elif number + 1 < self.MAX_CANDIDATES:
                            waiting.append((system, number + 1))
                        else:
                            raise RuntimeError(
                                f"None of {self.MAX_CANDIDATES} candidates of system {system} "
                                f"meets the constraints of {self.constraints}"
                            )


def write_recipe(path: Path, drawn: FrozenSystems, ranges: dict) -> Path:
    """Write the recipe of systems, whole or not at all.

    Args:
        path: Where to; see `check_free`.
        drawn: The systems.
        ranges: What they were drawn from, by name, as JSON can hold it.
    """
    recipe = {
        "galaxies": drawn.galaxies.kind,
        "geometry": describe(drawn.geometry),
        **ranges,
        "sha256": drawn.digest(),
        "candidates": drawn.candidates.tolist(),
        "galaxy_means": drawn.galaxies.means(),
    }
    path.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in recipe.items())
    with whole_file(path) as temporary:
        temporary.write_text("{\n" + lines + "\n}\n")
    return path


def check_free(path: Path, overwrite: bool) -> Path:
    """Return the path of a recipe that may be written.

    Raises:
        FileExistsError: There is one already and `overwrite` is not set.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Say overwrite (--overwrite) to replace it.")
    return path


def find_recipe(
    folder: Path, geometry: Geometry, galaxies: Galaxies
) -> tuple[Galaxies, dict, str] | None:
    """Return galaxies in the order of the recipe of such grids and galaxies, the recipe, its name.

    None if there is no such recipe.
    """
    for path in sorted(folder.glob("*.json")):
        recipe = json.loads(path.read_text())
        if recipe["geometry"] != describe(geometry):
            continue
        arranged = galaxies.arranged(recipe)
        if arranged is not None:
            return arranged, recipe, path.stem
    return None


def check_digest(drawn: FrozenSystems, recipe: dict, name: str) -> None:
    """Refuse systems that are not those of a recipe.

    Raises:
        RuntimeError: numpy draws other numbers on this machine than when the set was frozen.
    """
    found = drawn.digest()
    if found != recipe["sha256"]:
        raise RuntimeError(
            f"The systems of the validation set {name} come out differently with numpy "
            f"{np.__version__}: measures on them would not compare with others'. Use the numpy "
            f"that the set was frozen with. Received: sha256 {found}, not {recipe['sha256']}"
        )


def describe(geometry: Geometry) -> dict:
    """Return the fields of a Geometry, of what may be a RIMConfig, as recipes hold them."""
    values = {field.name: getattr(geometry, field.name) for field in fields(Geometry)}
    return Geometry(**values).to_dict()
