"""The second frozen validation set, `sky`: 1,000 systems of the recipe `sky`.

As `validation_set` freezes the paper's: system i is candidate number c_i of the stream
numpy.random.default_rng([SEED, i, c_i]), and the c_i were written down. System i has images of side
i mod the number of `SkyRanges.image_sides`. Its PSFs are drawn, none is from a file.

Checked against the recipe's sha256: the number of the galaxy, lens, placement, source frame, noise
level. PSF, noise and pixels follow from these and the generator to float32 round-off.
"""

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rim_lensing.lensing.geometry import Geometry
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.sky_ranges import SKY_PRIORS, SKY_RANGES, SkyRanges
from rim_lensing.simulation.sky_simulator import SkyObservations, SkySimulator, stacked
from rim_lensing.simulation.validation_set import (
    PROCEDURAL,
    PROCEDURAL_GALAXIES,
    RECIPES,
    GalaxyPool,
    describe,
)
from rim_lensing.simulation.winged_galaxies import draw_winged_galaxies
from rim_lensing.whole_files import whole_file

SKY_SYSTEMS = 1000
SEED = 2_019_883_015
SKY_RECIPES = RECIPES / "sky"

_BATCH = 8
_MAX_CANDIDATES = 500
_CHECKED = ("lens", "placement", "source_frame", "noise_level")


class SkyGalaxyPool(GalaxyPool):
    """The galaxies of a `sky` validation set: in linear flux, with outskirts.

    Args:
        path: File of `train/prepare_galaxies.py --outskirts`, of which the validation split is
            used; without one the galaxies are procedural.
    """

    def stamp(self, index: int) -> np.ndarray:
        """Return a galaxy, (s, s), peak 1."""
        return super().stamp(index) if self.kind != PROCEDURAL else _winged_stamp(int(index))


class SkyValidationSet:
    """Systems of the recipe `sky` that no training has seen, made when they are asked for.

    Args:
        galaxies: What is lensed.
        geometry: The preset's grids and PSF side; a RIMConfig is one.
        systems: How many.
        ranges: What systems are drawn from.
        priors: The same, of lens, galaxy and noise.
        candidates: The number c_i of each system; None looks for them.
        name: Of the recipe in SKY_RECIPES; None of a set that is not frozen.

    Raises:
        RuntimeError: The grids are such that hardly any candidate meets the constraints.
    """

    def __init__(
        self,
        galaxies: GalaxyPool,
        geometry: Geometry,
        systems: int,
        ranges: SkyRanges = SKY_RANGES,
        priors: Priors = SKY_PRIORS,
        candidates: np.ndarray | None = None,
        name: str | None = None,
    ):
        """Look for the candidates if they are not given."""
        self.galaxies, self.geometry, self.name = galaxies, geometry, name
        self.simulator = SkySimulator(galaxies.stamp(0)[None], geometry, ranges, priors)
        self.galaxy = galaxies.order(systems)
        self.candidates = np.zeros(systems, "int64") if candidates is None else candidates
        if candidates is None:
            self._find_candidates()

    def __len__(self) -> int:
        """Number of systems."""
        return len(self.candidates)

    def image_side(self, system: int) -> int:
        """Return the side of a system's image, in pixels."""
        sides = self.simulator.image_sides
        return sides[system % len(sides)]

    def batches(self, systems: Sequence[int]) -> Iterator[tuple[np.ndarray, SkyObservations]]:
        """Make some of the systems; each is the same whatever others are asked for.

        Args:
            systems: Their numbers.

        Yields:
            Numbers and systems, up to 8 of one image side.
        """
        by_side = defaultdict(list)
        for system in systems:
            by_side[self.image_side(system)].append(system)
        for side, members in by_side.items():
            for start in range(0, len(members), _BATCH):
                chosen = np.array(members[start : start + _BATCH])
                rendered, generators = self._render(chosen, self.candidates[chosen], side)
                yield chosen, self.simulator.observe(rendered, generators, self.galaxy[chosen])

    def digest(self) -> str:
        """Return the sha256 of galaxy numbers and parameters."""
        text = hashlib.sha256(self.galaxy.astype("<i8").tobytes())
        for system, number in enumerate(self.candidates):
            parameters, _ = self._candidate(system, number)
            for name in _CHECKED:
                text.update(parameters[name].astype("<f4").tobytes())
        return text.hexdigest()

    def _candidate(self, system: int, number: int) -> tuple[dict, np.random.Generator]:
        generator = np.random.default_rng([SEED, int(system), int(number)])
        return self.simulator.candidate(generator, self.image_side(system)), generator

    def _render(self, systems, numbers, side: int) -> tuple[dict, list[np.random.Generator]]:
        drawn, generators = zip(
            *(self._candidate(*pair) for pair in zip(systems, numbers, strict=True)), strict=True
        )
        # Always a full batch, so that the renderer is compiled for one shape.
        slots = np.resize(np.arange(len(systems)), _BATCH)
        rendered = self.simulator.render(
            np.stack([self.galaxies.stamp(self.galaxy[systems[slot]]) for slot in slots]),
            stacked([drawn[slot] for slot in slots]),
            side,
        )
        return {key: value[: len(systems)] for key, value in rendered.items()}, list(generators)

    def _find_candidates(self) -> None:
        waiting = defaultdict(deque)
        for system in range(len(self)):
            waiting[self.image_side(system)].append((system, 0))
        with tqdm(total=len(self), desc="drawing systems", unit="system") as bar:
            for side, pairs in waiting.items():
                while pairs:
                    tried = [pairs.popleft() for _ in range(min(_BATCH, len(pairs)))]
                    rendered, _ = self._render(*zip(*tried, strict=True), side)
                    accepted = self.simulator.meets_constraints(rendered)
                    for (system, number), good in zip(tried, accepted, strict=True):
                        if good:
                            self.candidates[system] = number
                            bar.update()
                        elif number + 1 < _MAX_CANDIDATES:
                            pairs.append((system, number + 1))
                        else:
                            raise RuntimeError(
                                f"None of {_MAX_CANDIDATES} candidates of system {system} meets "
                                f"the constraints of {self.simulator.ranges}: widen the ranges."
                            )


def sky_validation_set(
    geometry: Geometry, galaxies: str | Path | None = None, systems: int = SKY_SYSTEMS
) -> SkyValidationSet:
    """Return the frozen `sky` set of these grids and galaxies, or else one of the same kind.

    Args:
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
        galaxies: File of `train/prepare_galaxies.py --outskirts`; by default procedural galaxies.
        systems: How many, at most SKY_SYSTEMS: the first ones of the set.

    Raises:
        ValueError: A number of systems that is not possible, or not a galaxy file.
        FileNotFoundError: There is no such galaxy file.
        RuntimeError: numpy draws other numbers on this machine than when the set was frozen.
    """
    if not 1 <= systems <= SKY_SYSTEMS:
        raise ValueError(f"`systems` must be from 1 to {SKY_SYSTEMS}. Received: {systems}")
    pool = SkyGalaxyPool(galaxies)
    for path in sorted(SKY_RECIPES.glob("*.json")):
        recipe = json.loads(path.read_text())
        arranged = recipe["geometry"] == describe(geometry) and pool.arranged(recipe)
        if arranged:
            return _frozen(arranged, geometry, recipe, path.stem, systems)
    return SkyValidationSet(pool, geometry, systems)


def freeze_sky(
    name: str,
    geometry: Geometry,
    galaxies: str | Path | None = None,
    overwrite: bool = False,
    ranges: SkyRanges = SKY_RANGES,
) -> Path:
    """Draw SKY_SYSTEMS systems and write their recipe, whole or not at all.

    Args:
        name: Of the recipe, such as euclid64_procedural.
        geometry: Grids, PSF side and supersampling.
        galaxies: As in `sky_validation_set`.
        overwrite: Replace a recipe of this name.
        ranges: What systems are drawn from.

    Returns:
        The recipe's file, in SKY_RECIPES.

    Raises:
        FileExistsError: There is a recipe of this name and `overwrite` is not set.
    """
    path = SKY_RECIPES / f"{name}.json"
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Say overwrite (--overwrite) to replace it.")
    drawn = SkyValidationSet(SkyGalaxyPool(galaxies), geometry, SKY_SYSTEMS, ranges)
    recipe = {
        "galaxies": drawn.galaxies.kind,
        "geometry": describe(geometry),
        "priors": drawn.simulator.priors.to_dict(),
        "ranges": drawn.simulator.ranges.to_dict(),
        "sha256": drawn.digest(),
        "candidates": drawn.candidates.tolist(),
        "galaxy_means": drawn.galaxies.means(),
    }
    SKY_RECIPES.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in recipe.items())
    with whole_file(path) as temporary:
        temporary.write_text("{\n" + lines + "\n}\n")
    return path


def _frozen(
    pool: GalaxyPool, geometry: Geometry, recipe: dict, name: str, systems: int
) -> SkyValidationSet:
    ranges, priors = SkyRanges(**recipe["ranges"]), Priors.from_dict(recipe["priors"])
    candidates = np.array(recipe["candidates"])
    whole = SkyValidationSet(pool, geometry, len(candidates), ranges, priors, candidates, name)
    found = whole.digest()
    if found != recipe["sha256"]:
        raise RuntimeError(
            f"The systems of the validation set {name} come out differently with numpy "
            f"{np.__version__}: measures on them would not compare with others'. Use the numpy "
            f"that the set was frozen with. Received: sha256 {found}, not {recipe['sha256']}"
        )
    return SkyValidationSet(pool, geometry, systems, ranges, priors, candidates[:systems], name)


@lru_cache(maxsize=PROCEDURAL_GALAXIES)
def _winged_stamp(index: int) -> np.ndarray:
    """Galaxy `index` of the procedural pool, rounded as those of a file are."""
    generator = np.random.default_rng([SEED, index])
    return draw_winged_galaxies(1, generator)[0].astype("float16")
