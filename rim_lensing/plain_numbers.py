"""Numbers as Python's own: JSON knows no others, and what a seed draws depends on its type."""

from dataclasses import fields

import numpy as np


def plain(value):
    """Return a value with Python's numbers in place of NumPy's, in dictionaries and lists, too.

    Args:
        value: Anything. Scalars of NumPy and arrays of a single number without a dimension become
            int, float or bool, arrays with dimensions lists of these; what has a unit, and all
            else, stays as it is.
    """
    if isinstance(value, dict):
        return {plain(name): plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [plain(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    for kind, own in ((np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, kind):
            return own(value)
    if type(value) is np.ndarray and value.dtype.kind in "buif":
        return plain(value[()]) if value.ndim == 0 else value.tolist()
    return value


def make_fields_plain(instance) -> None:
    """Make the numbers in the fields of a (frozen) dataclass plain; arrays become tuples."""
    for field in fields(instance):
        value = plain(getattr(instance, field.name))
        if isinstance(value, list):
            value = tuple(value)
        object.__setattr__(instance, field.name, value)
