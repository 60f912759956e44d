"""The second frozen validation set, `sky`: 1,000 systems of the recipe `sky`.

As `validation_set` freezes the paper's, see `frozen_systems`. System i has images of side
i mod the number of `SkyRanges.image_sides`. Its PSFs are drawn, none is from a file.

Checked against the recipe's sha256: the number of the galaxy, lens, placement, source frame, noise
level. PSF, noise and pixels follow from these and the generator to float32 round-off.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.simulation.frozen_systems import (
    FrozenSystems,
    check_digest,
    check_free,
    find_recipe,
    write_recipe,
)
from rim_lensing.simulation.priors import Priors
from rim_lensing.simulation.sky.ranges import SKY_PRIORS, SKY_RANGES, SkyRanges
from rim_lensing.simulation.sky.simulator import SkyObservations, SkySimulator
from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies
from rim_lensing.simulation.validation_set import (
    PROCEDURAL,
    PROCEDURAL_GALAXIES,
    RECIPES,
    GalaxyPool,
)

SKY_SYSTEMS = 1000
SEED = 2_019_883_015
SKY_RECIPES = RECIPES / "sky"

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


class SkyValidationSet(FrozenSystems):
    """Systems of the recipe `sky` that no training has seen, made when they are asked for.

    Args:
        galaxies: What is lensed.
        geometry: The preset's grids and PSF side; a RIMConfig is one.
        systems: How many.
        ranges: What systems are drawn from.
        priors: The same, of lens, galaxy and noise.
        candidates: See `FrozenSystems`.
        name: Of the recipe in SKY_RECIPES; None of a set that is not frozen.

    Raises:
        RuntimeError: The grids are such that hardly any candidate meets the constraints.
    """

    BATCH, MAX_CANDIDATES = 8, 500

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
        self.simulator = SkySimulator(galaxies.stamp(0)[None], geometry, ranges, priors)
        super().__init__(galaxies, geometry, systems, candidates, name)

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
        for members in self._by_side(systems):
            for start in range(0, len(members), self.BATCH):
                chosen = np.array(members[start : start + self.BATCH])
                rendered, generators = self.render(chosen, self.candidates[chosen])
                yield chosen, self.simulator.observe(rendered, generators, self.galaxy[chosen])

    def candidate(self, system: int, number: int) -> tuple[dict, np.random.Generator]:
        """See `FrozenSystems.candidate`."""
        generator = np.random.default_rng([SEED, int(system), int(number)])
        return self.simulator.candidate(generator, self.image_side(system)), generator

    def checked(self, parameters: dict, generator: np.random.Generator) -> list[np.ndarray]:
        """Return what is the same on every machine."""
        return [parameters[name] for name in _CHECKED]

    def render_batch(self, systems: Sequence[int], stamps: np.ndarray, parameters: dict) -> dict:
        """See `FrozenSystems.render_batch`."""
        return self.simulator.render(stamps, parameters, self.image_side(systems[0]))

    def meets_constraints(self, rendered: dict) -> np.ndarray:
        """See `SkySimulator.meets_constraints`."""
        return self.simulator.meets_constraints(rendered)

    def alike(self) -> list[list[int]]:
        """Return the numbers of all systems, in groups of one image side."""
        return self._by_side(range(len(self)))

    @property
    def constraints(self) -> str:
        """See `FrozenSystems.constraints`."""
        return f"{self.simulator.ranges}: widen the ranges."

    def _by_side(self, systems: Iterable[int]) -> list[list[int]]:
        groups = defaultdict(list)
        for system in systems:
            groups[self.image_side(system)].append(system)
        return list(groups.values())


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
    found = find_recipe(SKY_RECIPES, geometry, pool)
    if found is None:
        return SkyValidationSet(pool, geometry, systems)
    pool, recipe, name = found
    drawn_from = SkyRanges(**recipe["ranges"]), Priors.from_dict(recipe["priors"])
    candidates = np.array(recipe["candidates"])
    whole = SkyValidationSet(pool, geometry, len(candidates), *drawn_from, candidates)
    check_digest(whole, recipe, name)
    return SkyValidationSet(pool, geometry, systems, *drawn_from, candidates[:systems], name)


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
    path = check_free(SKY_RECIPES / f"{name}.json", overwrite)
    drawn = SkyValidationSet(SkyGalaxyPool(galaxies), geometry, SKY_SYSTEMS, ranges)
    simulator = drawn.simulator
    drawn_from = {"priors": simulator.priors.to_dict(), "ranges": simulator.ranges.to_dict()}
    return write_recipe(path, drawn, drawn_from)


@lru_cache(maxsize=PROCEDURAL_GALAXIES)
def _winged_stamp(index: int) -> np.ndarray:
    """Galaxy `index` of the procedural pool, rounded as those of a file are."""
    generator = np.random.default_rng([SEED, index])
    return draw_winged_galaxies(1, generator)[0].astype("float16")
