"""The galaxies that mocks are made of: those of a prepared file, procedural ones, or both."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rim_lensing.galaxies.galaxy_file import read_galaxies
from rim_lensing.galaxies.galaxy_sources import canonical_object_name
from rim_lensing.galaxies.procedural import draw_procedural_galaxies

DEVELOPMENT_SHARE = 0.05
"""Of the galaxies of the training split, kept for development and not trained on."""

DEVELOPMENT_SPLIT = "by object name"
"""How these are chosen: as for the validation split the name of the object alone decides, not the
place in the file, nor the picture. Runs say so; older ones had every twentieth picture of the file.
"""

_PROCEDURAL_VALIDATION_SEED = 1_000_003
_PROCEDURAL_DEVELOPMENT_SEED = 1_000_033
_PROCEDURAL_SIDE = 96


Draw = Callable[..., np.ndarray]
"""Draws procedural galaxies: `draw_procedural_galaxies`, or for the recipe `sky`
`draw_winged_galaxies`."""


def training_galaxies(
    path: str | Path | None,
    procedural: int | None,
    seed: int,
    draw: Draw = draw_procedural_galaxies,
) -> np.ndarray:
    """Return galaxies to train on: the file's training split, then procedural ones.

    Those of `development_galaxies` are left out; by name: a picture of one of these galaxies
    under another catalogue's name stays in (`prepare_galaxies` looks for such twins of validation
    galaxies only).

    Args:
        path: File of `train/prepare_galaxies.py`; without one all galaxies are procedural.
        procedural: How many; by default half as many as the file has, or 4000 without a file.
        seed: Of the procedural galaxies.
        draw: What draws them.

    Returns:
        (count, side, side) float16, peak 1.

    Raises:
        ValueError: No galaxy is left: all those of the file are of one object, or `procedural` is
            0 without a file; or the seed is that of the development or the validation galaxies.
    """
    if procedural is not None and (procedural < 0 or not (path or procedural)):
        raise ValueError(
            "`procedural` must be the number of procedural galaxies, 0 or more with a file of "
            f"galaxies and 1 or more without. Received: {procedural}"
        )
    if seed in (_PROCEDURAL_DEVELOPMENT_SEED, _PROCEDURAL_VALIDATION_SEED):
        raise ValueError(
            "`seed` must not be that of the procedural galaxies that are kept for development or "
            f"validation. Received: {seed}"
        )
    real = _training_split(path, for_development=False)
    if path and not len(real):
        raise ValueError(
            f"{path} must hold at least two objects to train on, for one is kept for development. "
            "The name of a picture's file is that of its object."
        )
    if procedural is None:
        procedural = len(real) // 2 if path else 4000
    drawn = draw(procedural, seed, side=real.shape[1])
    return np.concatenate([real, drawn.astype("float16")])


def development_galaxies(
    path: str | Path | None, procedural: int = 250, draw: Draw = draw_procedural_galaxies
) -> np.ndarray:
    """Return galaxies to make choices on: the learning curve, options, rates.

    Args:
        path: File of `train/prepare_galaxies.py`, of whose training split DEVELOPMENT_SHARE is
            taken; without one the galaxies are procedural, drawn with a seed of their own.
        procedural: How many procedural ones.
        draw: What draws them.

    Returns:
        (count, side, side) float16, peak 1.
    """
    if path:
        return _training_split(path, for_development=True)
    return _procedural_galaxies(procedural, _PROCEDURAL_DEVELOPMENT_SEED, draw)


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
    return _procedural_galaxies(procedural, _PROCEDURAL_VALIDATION_SEED, draw_procedural_galaxies)


def _procedural_galaxies(count: int, seed: int, draw: Draw) -> np.ndarray:
    return draw(count, seed, side=_PROCEDURAL_SIDE).astype("float16")


def _training_split(path: str | Path | None, for_development: bool) -> np.ndarray:
    """Return one part of a file's training split, in an order that is not the file's."""
    if not path:
        return np.zeros((0, _PROCEDURAL_SIDE, _PROCEDURAL_SIDE), "float16")
    galaxies = read_galaxies(path, "train", dtype="float16")
    shares = np.array([_share(canonical_object_name(name)) for name in galaxies.names])
    # A file of a few galaxies has one for development, too.
    is_development = shares <= max(DEVELOPMENT_SHARE, min(shares, default=0))
    chosen = np.flatnonzero(is_development == for_development)
    order = sorted(chosen, key=lambda i: (shares[i], galaxies.kinds[i], galaxies.names[i]))
    return galaxies.stamps[order]


def _share(object_name: str) -> float:
    digest = hashlib.sha256(f"development:{object_name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
