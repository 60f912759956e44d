"""What a user knows of the lens beforehand: --prior, --hold, --link, and a YAML file with the same.

No Keras: errors come fast.
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rim_lensing.lensing.mass_model import Form

_PLUS_MINUS = ("±", "+-")


class Normal(NamedTuple):
    """A Gaussian, as the user wrote it."""

    mean: float
    std: float


def add_prior_options(command: argparse.ArgumentParser) -> None:
    """Add --prior, --hold, --link and --priors, which `read_priors` reads."""
    names = "of the lens are lens.theta_E, lens.x and so on, of the shear shear.gamma1"
    command.add_argument(
        "--prior",
        action="append",
        default=[],
        metavar="NAME=PRIOR",
        help="what is known of a parameter: MEAN±STD (or MEAN+-STD), a Gaussian, such as "
        f"lens.x=0±0.02; or LOW,HIGH, a range. Names {names}",
    )
    command.add_argument(
        "--hold",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="hold a parameter there, such as lens.slope=1",
    )
    command.add_argument(
        "--link",
        action="append",
        default=[],
        metavar="NAME=OTHER",
        help="have a parameter follow another, such as boxy.x=lens.x",
    )
    command.add_argument(
        "--priors",
        type=Path,
        metavar="FILE.yaml",
        help="the same in a file, a line for each: 'lens.x: 0±0.02', 'lens.theta_E: [0.5, 2]', "
        "'lens.slope: 1', 'boxy.x: lens.x'",
    )


def read_priors(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say, by the parameters' names: as `LensPriors` takes it, but Normal.

    Args:
        options: Of `add_prior_options`.

    Raises:
        ValueError: An option or a line breaks its rule, or a parameter is named twice.
        FileNotFoundError: There is no such file.
    """
    found = {} if options.priors is None else _read_file(options.priors)
    for option, read in (("--prior", _prior), ("--hold", _number), ("--link", _name)):
        for text in getattr(options, option.lstrip("-")):
            name, equals, value = (part.strip() for part in text.partition("="))
            said = read(value) if equals and name else None
            if said is None:
                rule = {"--prior": "NAME=MEAN±STD or NAME=LOW,HIGH", "--hold": "NAME=NUMBER"}
                raise ValueError(
                    f"{option} must be {rule.get(option, 'NAME=OTHER')}. Received: {text!r}"
                )
            if name in found:
                raise ValueError(
                    f"--prior, --hold, --link and --priors must name a parameter once. "
                    f"Received: {name} twice"
                )
            found[name] = said
    return found


def in_field(named: Mapping[str, Any], form: "Form", offset: tuple[float, float]) -> dict[str, Any]:
    """Return priors as `LensPriors` takes them, relative to the middle of the field.

    Args:
        named: Of `read_priors`: positions are relative to the crop centre.
        form: Of the lens.
        offset: Of the crop centre, (x, y) in arcsec.

    Raises:
        ValueError: There is no such parameter.
    """
    from rim_lensing.lens_fit.lens_priors import moved

    return moved(as_scipy(named), form, offset)


def as_scipy(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return priors as `LensPriors` takes them: distributions in place of Normal."""
    from scipy.stats import norm

    return {
        name: norm(said.mean, said.std) if isinstance(said, Normal) else said
        for name, said in named.items()
    }


def _read_file(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}")
    try:
        lines = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--priors must be a YAML file. Received: {path}, {error}") from error
    if not isinstance(lines, dict):
        raise ValueError(
            f"--priors must be a YAML file of lines such as 'lens.x: 0±0.02'. Received: {path}"
        )
    found = {}
    for name, value in lines.items():
        said = _from_file(value)
        if said is None:
            raise ValueError(
                f"--priors must give {name} a number that holds it, [LOW, HIGH], MEAN±STD, or the "
                f"name of the parameter that it follows. Received: {value!r} in {path}"
            )
        found[str(name)] = said
    return found


def _from_file(value):
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list):
        numbers = all(isinstance(end, int | float) for end in value)
        return tuple(map(float, value)) if numbers and len(value) == 2 else None
    if isinstance(value, str):
        return next(
            (said for read in (_prior, _number, _name) if (said := read(value)) is not None), None
        )
    return None


def _prior(text: str) -> "Normal | tuple[float, float] | None":
    """Return MEAN±STD or LOW,HIGH; None of anything else."""
    for sign in _PLUS_MINUS:
        if sign in text:
            mean, std = (_number(part) for part in text.split(sign, 1))
            wanted = mean is not None and std is not None and std > 0
            return Normal(mean, std) if wanted else None
    ends = [_number(part) for part in text.split(",")]
    return tuple(ends) if len(ends) == 2 and None not in ends and ends[0] < ends[1] else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(text: str) -> str | None:
    return text if text and _number(text) is None and "," not in text else None
