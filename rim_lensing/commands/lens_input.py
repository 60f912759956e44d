"""The lens that a user names: numbers on the command line, or a file of mass components."""

from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.commands.inputs import number_in

if TYPE_CHECKING:
    import numpy as np

    from rim_lensing.lensing.mass_model import MassModel

LENS_FILES = (
    "Or a file: COOLEST's .json, or a .yaml with the kind and the parameters of each component, "
    "such as 'perturber: {kind: SIS, theta_E: 0.05, x: 0.9, y: -0.4}'"
)


def read_lens(text: str, option: str = "--lens") -> "MassModel":
    """Return the lens in a string such as theta_E=1.2,e1=0.1, or in a file.

    Args:
        text: What the user wrote.
        option: Where.

    Raises:
        ValueError: It is something else, or no lens.
        FileNotFoundError: There is no such file.
    """
    from rim_lensing.lensing.coolest_files import read_coolest
    from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel

    path = Path(text)
    if path.suffix == ".json":
        return read_coolest(path)
    if path.suffix in (".yaml", ".yml"):
        import yaml

        try:
            return MassModel.from_description(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{option} must be a YAML file. Received: {path}, {error}") from error
    row = parse_lens(text, option)
    return SHORT_FORMS[len(row)].with_values(row)


def parse_lens(text: str, option: str = "--lens") -> "np.ndarray":
    """Return the lens in a string such as theta_E=1.2,e1=0.1: (7,), or (8,) if it names the slope.

    A slope of 1 that is named is one of 8 parameters: a power law that happens to be isothermal.

    Args:
        text: What the user wrote.
        option: Where.

    Raises:
        ValueError: It is something else, or no lens.
    """
    import numpy as np

    from rim_lensing.lensing.lens_parameters import LensParameters

    names = [field.name for field in fields(LensParameters)]
    values = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals or name not in names or name in values:
            raise ValueError(
                f"{option} must be NAME=VALUE,... with each of {', '.join(names)} at most once; of "
                "lenstronomy's names center_x and center_y are x and y here, and gamma is slope + "
                f"1. Received: {part!r} in {text!r}"
            )
        values[name] = number_in(number, f"{option} {name}")
    if "theta_E" not in values:
        raise ValueError(f"{option} must name theta_E. Received: {text!r}")
    numbers = np.array(astuple(LensParameters(**values)))
    return numbers if "slope" in values else numbers[:-1]
