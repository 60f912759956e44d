"""The galaxies that mocks are made of: those of a prepared file, procedural ones, or both."""

import hashlib
from pathlib import Path

import numpy as np

from rim_lensing.simulation.galaxy_file import read_galaxies
from rim_lensing.simulation.procedural import draw_procedural_galaxies

DEVELOPMENT_SHARE = 0.05
"""Of the galaxies of the training split, kept for development and not trained on. As for the
validation split, a galaxy's name alone decides, not its place in the file."""

_PROCEDURAL_VALIDATION_SEED = 1_000_003
_PROCEDURAL_DEVELOPMENT_SEED = 1_000_033
_PROCEDURAL_SIDE = 96


def training_galaxies(path: str | Path | None, procedural: int | None, seed: int) -> np.ndarray:
    """Return galaxies to train on: the file's training split, then procedural ones.

    Those of `development_galaxies` are left out.

    Args:
        path: File of `train/prepare_galaxies.py`; without one all galaxies are procedural.
        procedural: How many; by default half as many as the file has, or 4000 without a file.
        seed: Of the procedural galaxies.

    Returns:
        (count, side, side) float16, peak 1.
    """
    real = _training_split(path, for_development=False)
    if procedural is None:
        procedural = len(real) // 2 if path else 4000
    drawn = draw_procedural_galaxies(procedural, seed, side=real.shape[1])
    return np.concatenate([real, drawn.astype("float16")])


def development_galaxies(path: str | Path | None, procedural: int = 250) -> np.ndarray:
    """Return galaxies to make choices on: the learning curve, options, rates.

    Args:
        path: File of `train/prepare_galaxies.py`, of whose training split DEVELOPMENT_SHARE is
            taken; without one the galaxies are procedural, drawn with a seed of their own.
        procedural: How many procedural ones.

    Returns:
        (count, side, side) float16, peak 1.
    """
    if path:
        return _training_split(path, for_development=True)
    return _procedural_galaxies(procedural, _PROCEDURAL_DEVELOPMENT_SEED)


def unseen_galaxies(path: str | Path | None, procedural: int = 500) -> np.ndarray:
    """Return galaxies that no training and no choice has seen: the file's validation split.

    Args:
        path: File of `train/prepare_galaxies.py`; without one the galaxies are procedural, drawn
            with a seed of their own.
        procedural: How many procedural ones.

    Returns:
        (count, side, side) float16, peak 1.
    """
    if path:
        return read_galaxies(path, "validation", dtype="float16").stamps
    return _procedural_galaxies(procedural, _PROCEDURAL_VALIDATION_SEED)


def _procedural_galaxies(count: int, seed: int) -> np.ndarray:
    return draw_procedural_galaxies(count, seed, side=_PROCEDURAL_SIDE).astype("float16")


def _training_split(path: str | Path | None, for_development: bool) -> np.ndarray:
    if not path:
        return np.zeros((0, _PROCEDURAL_SIDE, _PROCEDURAL_SIDE), "float16")
    galaxies = read_galaxies(path, "train", dtype="float16")
    labels = zip(galaxies.kinds, galaxies.names, strict=True)
    chosen = [_is_for_development(f"{kind}/{name}") == for_development for kind, name in labels]
    return galaxies.stamps[chosen]


def _is_for_development(label: str) -> bool:
    digest = hashlib.sha256(f"development:{label}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < DEVELOPMENT_SHARE * 2**64
