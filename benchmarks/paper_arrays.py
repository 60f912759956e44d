"""What paper.py reads: the arrays of finished runs, checked."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SOURCES = ("rim", "linear")
_FIDELITY = [
    *("noise_level", "true_flux", "true_log_prior"),
    *(f"{name}_{measure}" for name in _SOURCES for measure in ("rms_error", "flux_error")),
    *(f"{name}_{measure}" for name in _SOURCES for measure in ("coherence", "log_prior")),
    *(f"{name}_negative_pixels" for name in _SOURCES),
]
_EXAMPLES = [
    *("image", "noise_rms", "true_source"),
    *(f"{name}_{what}" for name in _SOURCES for what in ("source", "model")),
]
_LENSES = ("true", "predicted", "fitted")
_FITS = [
    *("noise_level", "converged", "optimisations", "evaluations"),
    *(f"{name}_{measure}" for name in _LENSES for measure in ("rms_error", "flux_error")),
]
_FIT_EXAMPLES = [
    *("image", "noise", "true_source", "image_pixel_scale", "source_pixel_scale"),
    *(f"{name}_lens_{what}" for name in _LENSES[1:] for what in ("source", "model")),
    *(f"{name}_{curves}" for name in _LENSES for curves in ("critical_curves", "caustics")),
]
_CHAIN = ["truth", "samples", "pixels"]
_PAGES = ["label", *_EXAMPLES]
_PLACED = ["label", "system"]
YARDSTICK = "galaxies"
"""The kind of source that is like those of the training set."""
_KINDS = {
    "rendered": "rendered text",
    "photographed": "photographed text",
    "digits": "handwritten digits",
    "survey": "other surveys",
}


@dataclass(frozen=True)
class Fidelity:
    """A run of fidelity.py.

    Args:
        run: What its run.json says.
        measures: measures.npz, (systems, ...).
        examples: Arrays of the first systems, (examples, ...).
    """

    run: dict
    measures: dict[str, np.ndarray]
    examples: dict[str, np.ndarray]


@dataclass(frozen=True)
class Fits:
    """A run of automated_fit.py.

    Args:
        run: What its run.json says.
        numbers: Of the systems in the frozen set, (systems,).
        measures: (systems, ...).
        examples: Of the first systems, one each; empty if the run kept none.
    """

    run: dict
    numbers: np.ndarray
    measures: dict[str, np.ndarray]
    examples: list[dict[str, np.ndarray]]


@dataclass(frozen=True)
class Chains:
    """A run of lens_coverage.py: the systems that were sampled with both sources.

    Args:
        run: What its run.json says.
        rim: Per system, `truth` (p,), `samples` (draws, p), `pixels` of the image, and what else
            the chain's file holds.
        linear: Likewise.
    """

    run: dict
    rim: list[dict[str, np.ndarray]]
    linear: list[dict[str, np.ndarray]]


@dataclass(frozen=True)
class OutOfDistribution:
    """A run of out_of_distribution.py.

    Args:
        run: What its run.json says.
        classes: By the kind of source, the pages (sources that fill the grid) first: image,
            rim_model, linear_model (systems, m, m), noise_rms (systems,), true_source, rim_source,
            linear_source (systems, n, n).
    """

    run: dict
    classes: dict[str, dict[str, np.ndarray]]


def read_fidelity(directory: Path) -> Fidelity:
    """Read a run of fidelity.py.

    Raises:
        FileNotFoundError: It is not there, or not finished.
        ValueError: A file is damaged, or of another program.
    """
    run = _run(directory, "fidelity.py")
    measures = _read(directory / "measures.npz", _FIDELITY)
    _check_systems(directory / "measures.npz", measures, _FIDELITY)
    first = _numbered(directory, "systems")[0]
    examples = _read(first, _EXAMPLES)
    _check_systems(first, examples, _EXAMPLES)
    return Fidelity(run, measures, examples)


def read_fits(directory: Path) -> Fits:
    """Read a run of automated_fit.py; errors as `read_fidelity`."""
    run = _run(directory, "automated_fit.py")
    paths = _numbered(directory, "system")
    parts = [_read(path, _FITS) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        _check_systems(path, part, _FITS)
    measures = {name: np.concatenate([part[name] for part in parts]) for name in _FITS}
    examples = [_read(path, _FIT_EXAMPLES) for path in sorted(directory.glob("example_*.npz"))]
    return Fits(run, np.array([_number(path) for path in paths]), measures, examples)


def read_chains(directory: Path) -> Chains:
    """Read a run of lens_coverage.py; errors as `read_fidelity`, and if none has both chains."""
    run = _run(directory, "lens_coverage.py")
    by_source = [
        {_number(path): path for path in directory.glob(f"{name}_[0-9]*.npz")} for name in _SOURCES
    ]
    common = sorted(set.intersection(*map(set, by_source)))
    if not common:
        raise FileNotFoundError(f"No system in {directory} has chains of both rim and linear")
    return Chains(run, *([_read(paths[i], _CHAIN) for i in common] for paths in by_source))


def read_out_of_distribution(directory: Path) -> OutOfDistribution:
    """Read a run of out_of_distribution.py, the systems of its measures; errors as `read_fidelity`.

    A run that was told another number of systems later leaves chunks of both numbers, which share
    systems; one that was interrupted then has chunks of systems that were not measured.
    """
    run = _run(directory, "out_of_distribution.py")
    path = directory / "measures.npz"
    measures = _read(path, _PLACED)
    _check_systems(path, measures, _PLACED)
    pages = _by_label(_joined([directory / "pages.npz"], _PAGES))
    chunks = _joined(_numbered(directory, "systems"), [*_PLACED, *_EXAMPLES])
    first: dict[tuple, int] = {}
    for row, key in enumerate(_places(chunks)):
        first.setdefault(key, row)
    measured = _places(measures)
    missing = [key for key in measured if key not in first]
    if missing:
        label, system = missing[0]
        raise ValueError(f"{path} has system {system} of {label}, which no systems_*.npz holds")
    rows = [first[key] for key in measured]
    classes = _by_label({name: array[rows] for name, array in chunks.items()})
    return OutOfDistribution(
        run, {f"page of {name}": arrays for name, arrays in pages.items()} | classes
    )


def check_same_systems(fidelity: Fidelity, fits: Fits) -> None:
    """Make sure that both runs are of the same model and of the same systems.

    Raises:
        ValueError: They are not.
    """
    for key in ("weights_sha256", "galaxies_sha256"):
        if fidelity.run.get(key) != fits.run.get(key):
            raise ValueError(
                "--fidelity and --automated-fit must be runs of the same weights and galaxies. "
                f"Received: {key} {fidelity.run.get(key)} and {fits.run.get(key)}"
            )
    levels = fidelity.measures["noise_level"]
    shared = fits.numbers < len(levels)
    if not np.allclose(levels[fits.numbers[shared]], fits.measures["noise_level"][shared]):
        raise ValueError("--fidelity and --automated-fit do not hold the same systems: other noise")


def _places(arrays: dict[str, np.ndarray]) -> list[tuple]:
    """Return class and number of every system."""
    return list(zip(arrays["label"].tolist(), arrays["system"].tolist(), strict=True))


def _joined(paths: list[Path], names: list[str]) -> dict[str, np.ndarray]:
    """Return the arrays of several files, one after the other, (systems, ...)."""
    parts = [_read(path, names) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        _check_systems(path, part, names)
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _by_label(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return _EXAMPLES by the kind of source, (systems, ...)."""
    return {
        _KINDS.get(str(name), str(name)): {
            key: arrays[key][arrays["label"] == name] for key in _EXAMPLES
        }
        for name in np.unique(arrays["label"])
    }


def _run(directory: Path, program: str) -> dict:
    """Return what run.json says."""
    path = directory / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{directory} holds no run of {program}: there is no {path.name}")
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _numbered(directory: Path, name: str) -> list[Path]:
    paths = sorted(directory.glob(f"{name}_[0-9]*.npz"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no {name}_*.npz: the run has not begun")
    return paths


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _read(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Return all arrays of a file, which must hold those of `names`."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: let the program that makes it finish")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no .npz file: {error}") from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{path} misses the arrays {', '.join(missing)}: was it made before them?")
    return arrays


def _check_systems(path: Path, arrays: dict[str, np.ndarray], names: list[str]) -> None:
    """Make sure that the first axes of the arrays are the same systems."""
    lengths = {name: len(arrays[name]) if arrays[name].ndim else 0 for name in names}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"The arrays of {path} are not of the same systems. Received: {lengths}")
