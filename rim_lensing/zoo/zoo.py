"""The zoo: trained models, one folder each, found and checked without importing Keras.

A folder holds config.json (see `ModelConfig`), the weights (see KINDS), metadata.json (sha256 and
size of every file, and where the model comes from), and what users of other tools want:
saved_model/, golden.npz, metrics.json, README.md, pictures/.
"""

import difflib
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.lens_fit.intervals import GAUSSIAN_FACTORS, LEVELS
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.networks.lens_cnn_presets import LensCNNConfig
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.plain_numbers import plain
from rim_lensing.simulation.priors import Priors

if TYPE_CHECKING:
    from rim_lensing.lens_fit.lens_predictor import LensPredictor
    from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor

CONFIG, METADATA = "config.json", "metadata.json"
_NO_FACTORS = (1.0,) * len(PARAMETER_NAMES)


@dataclass(frozen=True)
class Kind:
    """What the models of a kind have in common.

    Args:
        title: What they are, and what for.
        config: Class of the network's configuration.
        weights: Name of the file.
    """

    title: str
    config: type[RIMConfig] | type[LensCNNConfig]
    weights: str


KINDS = {
    "rim": Kind("a RIM, which reconstructs sources", RIMConfig, "rim.weights.h5"),
    "lens_cnn": Kind(
        "a lens CNN, which predicts the lens from the image (.predict in Python)",
        LensCNNConfig,
        "lens_cnn.weights.h5",
    ),
}
"""By the name in config.json."""


@dataclass(frozen=True)
class ModelConfig:
    """The content of config.json.

    Args:
        kind: One of KINDS.
        network: The network's configuration.
        priors: What it was trained on.
        std_factors: Of a lens CNN: what its seven standard deviations are multiplied by, see
            `lens_cnn_calibration`.
        interval_factors: Of a lens CNN: half-widths of its intervals over these, see there.
    """

    kind: str
    network: RIMConfig | LensCNNConfig
    priors: Priors
    std_factors: tuple[float, ...] = _NO_FACTORS
    interval_factors: tuple[tuple[float, ...], ...] = GAUSSIAN_FACTORS

    @property
    def weights(self) -> str:
        """Name of the file with the weights."""
        return KINDS[self.kind].weights


@dataclass(frozen=True)
class PretrainedModel:
    """What the zoo knows about a model before it is built.

    Args:
        name: What `load_pretrained` takes.
        kind: One of KINDS.
        description: One line.
        parameters: Number of weights.
        image_grid: Pixels of the telescope images that it takes.
        source_grid: Pixels of the sources that it returns; None of a lens CNN, which returns none.
        directory: Where its files are.
    """

    name: str
    kind: str
    description: str
    parameters: int
    image_grid: PixelGrid
    source_grid: PixelGrid | None
    directory: Path

    @property
    def weights(self) -> Path:
        """The file with the weights."""
        return self.directory / KINDS[self.kind].weights


def zoo_directory() -> Path:
    """Return the folder of the models: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    is_checkout = (package.parent / "setup.py").is_file()
    return package.parent / "pretrained" if is_checkout else package / "pretrained"


def list_pretrained() -> list[PretrainedModel]:
    """Return the models of the zoo, by name.

    Raises:
        FileNotFoundError: A model's folder lacks its configuration or metadata.
        ValueError: One of these is damaged; the message names the file.
    """
    return [_describe(zoo_directory() / name) for name in _names()]


def find_pretrained(name: str | Path, kind: str | None = None) -> PretrainedModel:
    """Return the model of this name, or in this folder; its weights are not read.

    Args:
        name: A model of the zoo, or the path of a folder that `train/publish.py` wrote.
        kind: One of KINDS, if the model must be of this kind.

    Raises:
        FileNotFoundError: The folder lacks its configuration or metadata.
        ValueError: There is no such model (the message has the nearest name and the list), it is
            of another kind (the message says of which), or a file is damaged (the message names
            it).
    """
    names = _names()
    if str(name) in names or Path(name).is_dir():
        model = _describe(zoo_directory() / name if str(name) in names else Path(name))
        if kind not in (None, model.kind):
            raise ValueError(
                f"The model must be {KINDS[kind].title}. "
                f"Received: {model.name}, {KINDS[model.kind].title}"
            )
        return model
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
    raise ValueError(
        f"There is no pretrained model, and no folder, {str(name)!r}.{hint} "
        f"Models: {', '.join(names) or 'none'}"
    )


def load_pretrained(name: str | Path) -> "RIMReconstructor | LensPredictor":
    """Return a trained model: a RIM ready to reconstruct, or a lens CNN ready to predict.

    Args:
        name: A model of the zoo (see `list_pretrained`), or the path of such a folder.

    Raises:
        FileNotFoundError: A file of the model is missing; the message names it.
        ValueError: There is no such model, or a file is not what was published (its sha256
            differs); the message names it.

    Example:
        >>> model = load_pretrained("rim_euclid64")
        >>> result = model.reconstruct(image, noise=0.01, psf=0.07, lens=LensParameters(1.2))
        >>> lens, std = load_pretrained("lens_cnn_euclid64").predict(image, noise=0.01, psf=0.07)
    """
    model = find_pretrained(name)
    config = read_config(model.directory)
    verify(model.directory, (CONFIG, config.weights))
    from rim_lensing.files.hdf5_files import when_free

    if config.kind == "rim":
        from rim_lensing.networks.rim import RIM
        from rim_lensing.reconstruction.rim_reconstructor import RIMReconstructor

        network = RIM(config.network)
        loaded = RIMReconstructor(network, model.name, config.priors)
    else:
        from rim_lensing.lens_fit.lens_predictor import LensPredictor
        from rim_lensing.networks.lens_cnn import LensCNN

        network = LensCNN(config.network)
        loaded = LensPredictor(
            network, model.name, config.priors, config.std_factors, config.interval_factors
        )
    network.build()
    when_free(lambda: network.load_weights(model.weights), model.weights)
    return loaded


def write_config(directory: Path, config: ModelConfig) -> None:
    """Write config.json, which `read_config` reads."""
    content = {
        "kind": config.kind,
        "config": config.network.to_dict(),
        "priors": config.priors.to_dict(),
    }
    if config.kind == "lens_cnn":
        content["std_factors"] = list(config.std_factors)
        content["interval_factors"] = [list(factors) for factors in config.interval_factors]
    (Path(directory) / CONFIG).write_text(json.dumps(plain(content), indent=2) + "\n")


def read_config(directory: Path) -> ModelConfig:
    """Return what config.json says.

    Raises:
        FileNotFoundError: There is no config.json.
        ValueError: It is damaged, or describes an unknown kind of model.
    """
    path = Path(directory) / CONFIG
    content = _read_json(path)
    kind = content.get("kind")
    if kind not in KINDS:
        raise ValueError(
            f"{path} must describe a model of kind {' or '.join(map(repr, KINDS))}. "
            f"Received: {kind!r}"
        )
    try:
        network = KINDS[kind].config.from_dict(content["config"])
        priors = Priors.from_dict(content["priors"])
        if kind == "rim":
            return ModelConfig(kind, network, priors)
        intervals = content["interval_factors"]
        if len(intervals) != len(LEVELS):
            raise ValueError(f"interval_factors must be {len(LEVELS)} rows. Received: {intervals}")
        factors, *intervals = (_seven(row) for row in (content["std_factors"], *intervals))
        return ModelConfig(kind, network, priors, factors, tuple(intervals))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version of the package: {error}"
        ) from error


def _seven(factors: list[float]) -> tuple[float, ...]:
    """Return factors of the lens parameters."""
    if len(factors) != len(PARAMETER_NAMES) or not all(0 < f < math.inf for f in factors):
        raise ValueError(f"factors must be 7 positive numbers. Received: {factors}")
    return tuple(factors)


def write_metadata(directory: Path, facts: dict) -> None:
    """Write metadata.json: `facts`, and sha256 and size in bytes of every other file.

    Args:
        directory: The model's folder.
        facts: At least `description` and `parameters`; JSON.
    """
    directory = Path(directory)
    files = {
        path.relative_to(directory).as_posix(): {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != METADATA
    }
    (directory / METADATA).write_text(json.dumps(plain(facts) | {"files": files}, indent=2) + "\n")


def read_metadata(directory: Path) -> dict:
    """Return the content of metadata.json.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    path = Path(directory) / METADATA
    content = _read_json(path)
    missing = [key for key in ("description", "parameters", "files") if key not in content]
    if missing:
        raise ValueError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return content


def verify(directory: Path, names: tuple[str, ...] | None = None) -> None:
    """Compare files of a model's folder with what was published.

    Args:
        directory: The folder.
        names: Files to look at, relative to it; by default all that metadata.json lists.

    Raises:
        FileNotFoundError: A file is missing; the message names it.
        ValueError: A file's sha256 differs or is not listed; the message names it.
    """
    directory = Path(directory)
    files = read_metadata(directory)["files"]
    for name in files if names is None else names:
        path = directory / name
        if name not in files:
            raise ValueError(f"{directory / METADATA} is damaged: it does not list {name}")
        if not path.is_file():
            raise FileNotFoundError(
                f"The pretrained model is incomplete: {path} is missing. Install it again."
            )
        if sha256(path) != files[name]["sha256"]:
            raise ValueError(
                f"{path} is not the file that was published (its sha256 differs: "
                f"{path.stat().st_size} bytes, {files[name]['bytes']} expected). Install it again."
            )


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names() -> list[str]:
    directory = zoo_directory()
    if not directory.is_dir():
        return []
    return sorted(
        path.name
        for path in directory.iterdir()
        # A dot: left by a publication that was killed.
        if not path.name.startswith(".")
        and ((path / CONFIG).is_file() or (path / METADATA).is_file())
    )


def _describe(directory: Path) -> PretrainedModel:
    config = read_config(directory)
    metadata = read_metadata(directory)
    return PretrainedModel(
        name=directory.resolve().name,
        kind=config.kind,
        description=metadata["description"],
        parameters=metadata["parameters"],
        image_grid=config.network.image_grid,
        source_grid=config.network.source_grid if config.kind == "rim" else None,
        directory=directory,
    )


def _read_json(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"The pretrained model is incomplete: {path} is missing.")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return content
