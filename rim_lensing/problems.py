"""All that is wrong with what a user gave, said at once."""

import contextlib
from collections.abc import Iterator

from rim_lensing.program import is_crash


class Problems:
    """Collects the errors of checks that do not need each other.

    Example:
        >>> problems = Problems()
        >>> with problems.noted():
        ...     check_image(image)
        >>> with problems.noted():
        ...     check_psf(psf)
        >>> problems.raise_all()
    """

    def __init__(self):
        """Start with none."""
        self.errors: list[Exception] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.errors)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what the checks of a `with` block refuse, and go on after it.

        What they refuse is a ValueError, a TypeError, an OSError or a plain RuntimeError; others
        are raised.
        """
        try:
            yield
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            if is_crash(error):
                raise
            known = {str(each) for each in self.errors}
            found = getattr(error, "problems", [error])
            self.errors += [each for each in found if str(each) not in known]

    def raise_all(self) -> None:
        """Raise the only error as it is, or several as one, in the order of the checks.

        Raises:
            ValueError: There are several: the message numbers them. Of one type all, such as
                FileNotFoundError, it is of that type.
        """
        if not self.errors:
            return
        if len(self.errors) == 1:
            raise self.errors[0]
        types = {type(error) for error in self.errors}
        kind = types.pop() if len(types) == 1 else ValueError
        listed = "\n".join(f"{i}. {error}" for i, error in enumerate(self.errors, 1))
        together = kind(f"{len(self.errors)} things are wrong:\n{listed}")
        # For who collects problems around these.
        together.problems = self.errors  # type: ignore[attr-defined]
        raise together from self.errors[0]
