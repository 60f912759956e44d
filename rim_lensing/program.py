"""How the programs of train/ and benchmarks/ end: with a status and one line, not a traceback."""

import sys
from collections.abc import Callable


def run(main: Callable[[], int], interrupted: str = "interrupted") -> None:
    """Run a program and exit with its status.

    Args:
        main: Returns the exit status. What it refuses (ValueError, RuntimeError itself, an OSError
            such as FileNotFoundError) is told in one line, with status 1.
        interrupted: What is said after ctrl-C, with status 130.
    """
    try:
        sys.exit(main())
    except (ValueError, RuntimeError, OSError) as error:
        if is_crash(error):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)


def is_crash(error: Exception) -> bool:
    """Whether an error is a subclass of RuntimeError, such as JAX's: its traceback is needed."""
    return isinstance(error, RuntimeError) and type(error) is not RuntimeError
