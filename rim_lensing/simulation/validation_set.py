"""The frozen validation set: 2,000 systems per grid, the same ones on every machine.

Everything that is measured is measured on these, see `frozen_systems`. The stream gives a system's
lens, placement, PSF width, noise level (`Priors.draw`) and then its noise. No threshold is looked
at again, where the last bit of a float32 picture could change the verdict from one processor to the
next.

The same on every machine, bit for bit: the number of the galaxy, lens, placement, PSF width, noise
level, and the noise in units of its rms; the sha256 of these is part of the recipe and is checked
whenever the set is loaded. The same to float32 round-off: the pixels (200 systems of euclid64 under
TensorFlow and under JAX: sources to 5e-7 of the peak, images to 1e-6 in the median and 6e-6 at
worst). The stamps of procedural galaxies are rounded to float16, where another processor may round
a pixel the other way, by one part in 2000 of its flux.

The galaxies are either the validation split of a file of `train/prepare_galaxies.py`, which is not
ours to hand on, or procedural ones, which need no download. They come in an order drawn once, and
none comes again before all have come. The first QUICK_SYSTEMS systems are the subset for quick
looks.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.galaxies.galaxy_pool import unseen_galaxies
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.simulation.frozen_systems import (
    FrozenSystems,
    check_digest,
    check_free,
    find_recipe,
    write_recipe,
)
from rim_lensing.simulation.mock_observations import (
    MockObservations,
    SystemRenderer,
    concatenate,
    observe,
)
from rim_lensing.simulation.priors import Priors

SYSTEMS, QUICK_SYSTEMS = 2000, 200
SEED = 2_019_883_014  # of the paper, ApJ 883, 14 (2019); no training is likely to use it
PROCEDURAL_GALAXIES = 500
RECIPES = Path(__file__).parent / "validation_sets"
PROCEDURAL = "procedural"

# Another numpy may round a stamp differently; another galaxy has another mean.
_MEAN_TOLERANCE = 0.01


class GalaxyPool:
    """The galaxies of a validation set.

    Args:
        path: File of `train/prepare_galaxies.py`, of which the validation split is used; without
            one the galaxies are procedural, each drawn with a seed of its own when it is needed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a galaxy file, or its validation split is empty.
    """

    def __init__(self, path: str | Path | None):
        """Read the file, if there is one."""
        self.name = Path(path).name if path else PROCEDURAL
        self.kind = "file" if path else PROCEDURAL
        self._stamps = unseen_galaxies(path) if path else None
        if path and not len(self._stamps):
            raise ValueError(f"The validation split of {path} is empty: prepare more pictures.")

    def __len__(self) -> int:
        """Number of galaxies."""
        return PROCEDURAL_GALAXIES if self._stamps is None else len(self._stamps)

    def stamp(self, index: int) -> np.ndarray:
        """Return a galaxy, (s, s), peak 1."""
        return _procedural_stamp(int(index)) if self._stamps is None else self._stamps[index]

    def order(self, systems: int) -> np.ndarray:
        """Return the galaxies of the first systems, (systems,): all once, then all again."""
        return np.resize(np.random.default_rng(SEED).permutation(len(self)), systems)

    def means(self) -> list[float]:
        """Return the mean over the pixels of each stamp: what galaxies are recognised by."""
        stamps = (self.stamp(index) for index in range(len(self)))
        return [round(float(np.mean(stamp, dtype="float64")), 7) for stamp in stamps]

    def arranged(self, recipe: dict) -> "GalaxyPool | None":
        """Return the galaxies in the order of a recipe; None if they are not those of the recipe.

        A file is compared galaxy by galaxy; its order is that in which the folders were given to
        the program that wrote it. Procedural galaxies are a function of the seed: they are not
        drawn for this, `train/make_validation_set.py` compares them.
        """
        if recipe["galaxies"] != self.kind:
            return None
        if self.kind == PROCEDURAL:
            return self
        means, expected = self.means(), recipe["galaxy_means"]
        order, wanted = np.argsort(means), np.argsort(expected)
        if not np.array_equal(np.take(means, order), np.take(expected, wanted)):
            # Another numpy may have rounded the stamps: then nothing but the order tells them.
            return self if same_galaxies(means, recipe) else None
        other = copy.copy(self)
        other._stamps = np.empty_like(self._stamps)
        other._stamps[wanted] = self._stamps[order]
        return other


def same_galaxies(means: Sequence[float], recipe: dict) -> bool:
    """Return whether galaxies with these `GalaxyPool.means` are those of a recipe."""
    expected = recipe["galaxy_means"]
    return len(means) == len(expected) and np.allclose(means, expected, rtol=_MEAN_TOLERANCE)


class ValidationSet(FrozenSystems):
    """Systems that no training has seen, made when they are asked for.

    Args:
        galaxies: What is lensed.
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
        priors: What the systems are drawn from.
        systems: How many.
        candidates: See `FrozenSystems`.
        name: Of the recipe in RECIPES; None of a set that is not frozen.

    Raises:
        RuntimeError: The grids are such that hardly any candidate meets the constraints.
    """

    BATCH, MAX_CANDIDATES = 16, 200

    def __init__(
        self,
        galaxies: GalaxyPool,
        geometry: Geometry,
        priors: Priors,
        systems: int,
        candidates: np.ndarray | None = None,
        name: str | None = None,
    ):
        """Compile the renderer, and look for the candidates if they are not given."""
        self.priors, self._renderer = priors, SystemRenderer(priors, geometry)
        super().__init__(galaxies, geometry, systems, candidates, name)

    def mocks(self, systems: Sequence[int]) -> MockObservations:
        """Make some of the systems; each is the same whatever others are asked for.

        Args:
            systems: Their numbers, such as range(QUICK_SYSTEMS).

        Raises:
            ValueError: No number, or one that is not between 0 and the size of the set less one.
        """
        systems = np.asarray(systems, dtype="int64")
        if not (len(systems) and systems.min() >= 0 and systems.max() < len(self)):
            raise ValueError(
                f"`systems` must be numbers from 0 to {len(self) - 1}. Received: {systems}"
            )
        parts = []
        for start in range(0, len(systems), self.BATCH):
            chosen = systems[start : start + self.BATCH]
            rendered, generators = self.render(chosen, self.candidates[chosen])
            draws = [
                generator.standard_normal(rendered["image"].shape[1:], dtype="float32")
                for generator in generators
            ]
            parts.append(observe(rendered, np.stack(draws), self.galaxy[chosen]))
        return concatenate(parts)

    def batches(self, size: int) -> Iterator[MockObservations]:
        """Make all systems in order, up to `size` (positive) at a time, with a progress bar."""
        with tqdm(total=len(self), desc="evaluating", unit="system") as bar:
            for start in range(0, len(self), size):
                mocks = self.mocks(range(start, min(start + size, len(self))))
                yield mocks
                bar.update(len(mocks.lens))

    def candidate(self, system: int, number: int) -> tuple[dict, np.random.Generator]:
        """See `FrozenSystems.candidate`."""
        generator = np.random.default_rng([SEED, int(system), int(number)])
        return self.priors.draw(generator, 1), generator

    def checked(self, parameters: dict, generator: np.random.Generator) -> list[np.ndarray]:
        """Return the parameters, and the first deviate of the noise."""
        return [*parameters.values(), generator.standard_normal(1, dtype="float32")]

    def render_batch(self, systems: Sequence[int], stamps: np.ndarray, parameters: dict) -> dict:
        """See `FrozenSystems.render_batch`."""
        return self._renderer.render(stamps, parameters)

    def meets_constraints(self, rendered: dict) -> np.ndarray:
        """See `SystemRenderer.meets_constraints`."""
        return self._renderer.meets_constraints(rendered)

    @property
    def constraints(self) -> str:
        """See `FrozenSystems.constraints`."""
        grids = f"{self.geometry.image_grid} and {self.geometry.source_grid}"
        return f"{self.priors} on {grids}: another grid is needed."


def check_number_of_systems(systems: int) -> None:
    """Raise ValueError unless a validation set has so many systems."""
    if not 1 <= systems <= SYSTEMS:
        raise ValueError(f"`systems` must be from 1 to {SYSTEMS}. Received: {systems}")


def validation_set(
    geometry: Geometry, galaxies: str | Path | None = None, systems: int = SYSTEMS
) -> ValidationSet:
    """Return the frozen set of these grids and galaxies, or else one of the same kind.

    Where no set is frozen, as for a user's own galaxies or grids, candidates are looked for, with a
    progress bar; the `name` of such a set is None, and the verdict on a candidate at the very
    threshold may differ between machines.

    Args:
        geometry: Grids, PSF side and supersampling; a RIMConfig is one.
        galaxies: File of `train/prepare_galaxies.py`, whose validation split is used; by default
            procedural galaxies.
        systems: How many, at most SYSTEMS: the first ones of the set.

    Raises:
        ValueError: A number of systems that is not possible, or not a galaxy file.
        FileNotFoundError: There is no such galaxy file.
        RuntimeError: numpy draws other numbers on this machine than when the set was frozen.
    """
    check_number_of_systems(systems)
    pool = GalaxyPool(galaxies)
    found = find_recipe(RECIPES, geometry, pool)
    if found is None:
        return ValidationSet(pool, geometry, Priors(), systems)
    pool, recipe, name = found
    priors, candidates = Priors.from_dict(recipe["priors"]), np.array(recipe["candidates"])
    whole = ValidationSet(pool, geometry, priors, len(candidates), candidates)
    check_digest(whole, recipe, name)
    return ValidationSet(pool, geometry, priors, systems, candidates[:systems], name)


def freeze(
    name: str, geometry: Geometry, galaxies: str | Path | None = None, overwrite: bool = False
) -> Path:
    """Draw SYSTEMS systems and write their recipe, whole or not at all.

    Args:
        name: Of the recipe, such as euclid64_procedural.
        geometry: Grids, PSF side and supersampling.
        galaxies: As in `validation_set`.
        overwrite: Replace a recipe of this name.

    Returns:
        The recipe's file, in RECIPES.

    Raises:
        FileExistsError: There is a recipe of this name and `overwrite` is not set.
    """
    path = check_free(RECIPES / f"{name}.json", overwrite)
    drawn = ValidationSet(GalaxyPool(galaxies), geometry, Priors(), SYSTEMS)
    return write_recipe(path, drawn, {"priors": drawn.priors.to_dict()})


@lru_cache(maxsize=PROCEDURAL_GALAXIES)
def _procedural_stamp(index: int) -> np.ndarray:
    """Galaxy `index` of the procedural pool, rounded as those of a file are."""
    generator = np.random.default_rng([SEED, index])
    return draw_procedural_galaxies(1, generator)[0].astype("float16")
