"""Warnings about some systems of a batch: few in the text, all in an attribute."""

import numpy as np


class SystemsWarning(UserWarning):
    """A warning about systems of a batch. The text names ten of them at most, `systems` has all.

    To catch them:

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = model.reconstruct(image, noise, psf, lens)
        for one in caught:
            if isinstance(one.message, rl.SystemsWarning):
                print(one.message.systems, one.message)

    Args:
        message: The text, with `which_systems`.
        bad: (batch,), True of the systems that it is about.

    Attributes:
        systems: Indices of all of these systems in the batch, integers.
    """

    def __init__(self, message: str, bad: np.ndarray | tuple = ()):
        """Keep the indices."""
        super().__init__(message)
        self.systems = tuple(np.flatnonzero(bad).tolist())


def which_systems(bad: np.ndarray) -> str:
    """Name the systems of a batch that an error or a warning is about, ten at most.

    A `SystemsWarning` has all.
    """
    if len(bad) == 1:
        return ""
    indices = np.flatnonzero(bad)
    listed = ", ".join(str(i) for i in indices[:10]) + (", ..." if len(indices) > 10 else "")
    return f" in {len(indices)} of {len(bad)} systems (index {listed})"
