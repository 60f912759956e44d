"""Standard errors by bootstrap over the systems (Efron 1979), with seeds of their own."""

from collections.abc import Callable

import numpy as np

_RESAMPLES = 1000


def resamples(count: int) -> np.ndarray:
    """Return numbers of systems, drawn with replacement, (resamples, count)."""
    return np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))


def with_error(values: np.ndarray, statistic: Callable, form: str) -> str:
    """Return a statistic and its standard error, as text; "-" of no values.

    Args:
        values: Of the systems, (systems,).
        statistic: np.mean or np.median, or another function that takes `axis`.
        form: Of the number, such as "{:+.2%}"; the error has no sign.
    """
    if not len(values):
        return "-"
    error = np.std(statistic(values[resamples(len(values))], axis=1))
    return f"{form.format(statistic(values))} ± {form.replace('+', '').format(error)}"
