"""JSON, whole or not there. What is not finite becomes null: JSON knows no NaN."""

import json
import math
from pathlib import Path

from rim_lensing.files.whole_files import whole_file
from rim_lensing.plain_numbers import plain


def write_json(facts: dict, path: Path) -> None:
    """Write numbers and words; NumPy's numbers become plain ones."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(finite(plain(facts)), indent=2, allow_nan=False) + "\n")


def finite(value: object) -> object:
    """Return a value with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
