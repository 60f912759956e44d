"""The zoo: trained models, one folder each, found and checked without importing Keras.

A folder holds config.json (the network's configuration and the priors that it was trained on),
rim.weights.h5, metadata.json (sha256 and size of every file, and where the model comes from), and
what users of other tools want: saved_model/, golden.npz, metrics.json, README.md, pictures/.
"""

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.presets import RIMConfig
from rim_lensing.simulation.priors import Priors

if TYPE_CHECKING:
    from rim_lensing.inference.rim_reconstructor import RIMReconstructor

CONFIG, WEIGHTS, METADATA = "config.json", "rim.weights.h5", "metadata.json"


@dataclass(frozen=True)
class PretrainedModel:
    """What the zoo knows about a model before it is built.

    Args:
        name: What `load_pretrained` takes.
        description: One line.
        parameters: Number of trained weights.
        image_grid: Pixels of the telescope images that it takes.
        source_grid: Pixels of the sources that it returns.
        directory: Where its files are.
    """

    name: str
    description: str
    parameters: int
    image_grid: PixelGrid
    source_grid: PixelGrid
    directory: Path


def zoo_directory() -> Path:
    """Return the folder of the models: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    is_checkout = (package.parent / "setup.py").is_file()
    return package.parent / "pretrained" if is_checkout else package / "pretrained"


def list_pretrained() -> list[PretrainedModel]:
    """Return the models of the zoo, by name.

    Raises:
        FileNotFoundError: A model's folder lacks its configuration or metadata.
        ValueError: One of these is damaged; the message names the file.
    """
    return [_describe(zoo_directory() / name) for name in _names()]


def find_pretrained(name: str | Path) -> PretrainedModel:
    """Return the model of this name, or in this folder; its weights are not read.

    Args:
        name: A model of the zoo, or the path of a folder that `train/publish.py` wrote.

    Raises:
        FileNotFoundError: The folder lacks its configuration or metadata.
        ValueError: There is no such model (the message has the nearest name and the list), or a
            file is damaged (the message names it).
    """
    names = _names()
    if str(name) in names:
        return _describe(zoo_directory() / name)
    if Path(name).is_dir():
        return _describe(Path(name))
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"There is no pretrained model, and no folder, {str(name)!r}.{hint} "
        f"Models: {', '.join(names) or 'none'}"
    )


def load_pretrained(name: str | Path) -> "RIMReconstructor":
    """Return a trained model, ready to reconstruct.

    Args:
        name: A model of the zoo (see `list_pretrained`), or the path of such a folder.

    Raises:
        FileNotFoundError: A file of the model is missing; the message names it.
        ValueError: There is no such model, or a file is not what was published (its sha256
            differs); the message names it.

    Example:
        >>> model = load_pretrained("rim_euclid64")
        >>> result = model.reconstruct(image, noise=0.01, psf=0.07, lens=LensParameters(1.2))
    """
    model = find_pretrained(name)
    verify(model.directory, (CONFIG, WEIGHTS))
    config, priors = read_config(model.directory)

    from rim_lensing.inference.rim_reconstructor import RIMReconstructor
    from rim_lensing.networks.rim import RIM

    network = RIM(config)
    network.build()
    network.load_weights(model.directory / WEIGHTS)
    return RIMReconstructor(network, name=model.name, priors=priors)


def write_config(directory: Path, config: RIMConfig, priors: Priors) -> None:
    """Write config.json, which `read_config` reads."""
    content = {"kind": "rim", "config": config.to_dict(), "priors": priors.to_dict()}
    (Path(directory) / CONFIG).write_text(json.dumps(content, indent=2) + "\n")


def read_config(directory: Path) -> tuple[RIMConfig, Priors]:
    """Return the network's configuration and the priors that it was trained on.

    Raises:
        FileNotFoundError: There is no config.json.
        ValueError: It is damaged, or describes another kind of model.
    """
    path = Path(directory) / CONFIG
    content = _read_json(path)
    if content.get("kind") != "rim":
        raise ValueError(
            f"{path} must describe a model of kind 'rim'. Received: {content.get('kind')!r}"
        )
    try:
        return RIMConfig.from_dict(content["config"]), Priors.from_dict(content["priors"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or of another version of the package: {error}"
        ) from error


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
    (directory / METADATA).write_text(json.dumps(facts | {"files": files}, indent=2) + "\n")


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
        if (path / CONFIG).is_file() or (path / METADATA).is_file()
    )


def _describe(directory: Path) -> PretrainedModel:
    config, _ = read_config(directory)
    metadata = read_metadata(directory)
    return PretrainedModel(
        name=directory.resolve().name,
        description=metadata["description"],
        parameters=metadata["parameters"],
        image_grid=config.image_grid,
        source_grid=config.source_grid,
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
