"""Lenses and numbers of results as their reprs and messages say them."""

import numpy as np

from rim_lensing.lensing.mass_model import Form, MassModel, form_of


def named_lens(lens: np.ndarray, form: Form | None = None) -> str:
    """Return a lens (p,) in words, as reprs do; its form is by default that of 7 or 8 numbers."""
    form = form_of(lens, form)
    if not np.all(np.isfinite(lens)):
        return "in a lensing matrix"
    if not isinstance(form, MassModel):
        return f"in {form}"
    pairs = zip(form.labels, lens, strict=True)
    return f"({', '.join(f'{name}={value:.4g}' for name, value in pairs)})"


def as_range(values: float | np.ndarray, digits: int = 4) -> str:
    """Return a number, or the smallest and the largest of several, in words."""
    if np.ndim(values) == 0:
        return f"{values:.{digits}g}"
    return f"{np.min(values):.{digits}g} to {np.max(values):.{digits}g}"
