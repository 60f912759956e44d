"""How probable an image is behind a lens, whatever its source: what a source model has to say."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rim_lensing.observation.normalised import NormalisedObservation

_BATCHES = (1, 4, 8, 16)
"""Sizes; other numbers of lenses are filled up: RIM and rays are compiled for every size anew."""


class LensLikelihood(ABC):
    """log P(image | lens) of one observation, up to a constant, for batches of lenses.

    What it does about the source is the source model's own affair: a RIM takes the one that it
    reconstructs, a linear inversion integrates over all. Every one has `values`; the other two
    methods are there where an attribute says so, and are asked for nowhere else.

    Args:
        observation: One system; of its `lens` only the form is used.

    Attributes:
        differentiable: There is values_and_gradients(lenses): `values` (k,) and their gradients
            (k, p), of lenses (k, p). Searches follow it; of another likelihood they take none, and
            what asks for a gradient gets differences.
        least_squares: There is residuals(lenses): image minus model over noise of the used pixels,
            (k, pixels), of lenses (k, p), correlated noise made white (see
            `NormalisedObservation.whitened`), and the logarithm is minus half the sum of their
            squares. It gives an optimum its standard deviations, and NUTS its scales.
        caveat: What a user should know who searches or samples with it; empty, nothing.
    """

    differentiable = False
    least_squares = False
    caveat = ""

    def __init__(self, observation: NormalisedObservation):
        """Keep the observation."""
        self.observation = observation

    @abstractmethod
    def values(self, lenses: np.ndarray) -> np.ndarray:
        """Return the log-likelihoods (k,) of lenses (k, p); -inf where there is none."""

    def held_at(self, lens: np.ndarray) -> "LensLikelihood":
        """Return the likelihood for a chain that starts at this lens, (p,): here, the same.

        One that finds something out at the first lens, and keeps it for all others, does so here.
        """
        return self

    def batches(self, lenses: np.ndarray) -> Iterator[tuple[NormalisedObservation, int]]:
        """Yield the observation behind lenses (k, p), some at a time, and how many to keep."""
        for start in range(0, len(lenses), _BATCHES[-1]):
            part = np.asarray(lenses[start : start + _BATCHES[-1]], "float32")
            size = min(size for size in _BATCHES if size >= len(part))
            rows = np.minimum(np.arange(size), len(part) - 1)
            yield replace(self.observation[np.zeros(size, int)], lens=part[rows]), len(part)
