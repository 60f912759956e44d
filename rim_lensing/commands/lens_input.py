"""The lens that a user names: numbers on the command line, or a file of mass components."""

from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.commands.inputs import parse_lens

if TYPE_CHECKING:
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
