"""One system or a batch of them: what results have in common, and how batches are worked off."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import ClassVar, Self

import numpy as np
from tqdm.auto import tqdm


class Batched:
    """A frozen dataclass of arrays: of one system, or with a leading batch axis in each of them.

    A class that inherits from it says which array tells the two apart, and what it is about.
    """

    _telling: ClassVar[tuple[str, int]]
    """Name of an array, and its number of axes in a batch."""
    _without_batch_axis: ClassVar[tuple[str, ...]] = ()
    _words: ClassVar[tuple[str, str]] = ("reconstruction", "system")
    _instead: ClassVar[str] = ""
    """What someone may have meant who asks for parts of one system."""

    @property
    def is_batch(self) -> bool:
        """Whether the arrays have a batch axis."""
        name, axes = self._telling
        return getattr(self, name).ndim == axes

    def __len__(self) -> int:
        """Number of systems of a batch."""
        if not self.is_batch:
            raise TypeError(f"{self._one}: it has no length")
        return len(getattr(self, self._telling[0]))

    def __getitem__(self, index: int | slice) -> Self:
        """Return one system of a batch, or a smaller batch.

        Raises:
            TypeError: This is one system.
            IndexError: There is no such system, or the slice holds none.
        """
        if not self.is_batch:
            raise TypeError(f"{self._one}: it has no parts{self._instead}")
        if isinstance(index, slice) and not len(range(len(self))[index]):
            raise IndexError(f"{index} holds none of the {len(self)} {self._words[1]}s")
        parts = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray) and each.name not in self._without_batch_axis:
                part = value[index]
                parts[each.name] = float(part) if isinstance(part, np.generic) else part
        return replace(self, **parts)

    @property
    def _one(self) -> str:
        return "This is the {} of one {}".format(*self._words)


def in_chunks(total: int, size: int, counted: str = "system") -> Iterator[slice]:
    """Yield slices of at most `size` of `total` systems; with a progress bar if they are several.

    Args:
        total: How many systems there are.
        size: How many at a time.
        counted: What the progress bar calls them.
    """
    with tqdm(total=total, unit=counted, disable=total <= size) as progress:
        for start in range(0, total, size):
            end = min(start + size, total)
            yield slice(start, end)
            progress.update(end - start)
