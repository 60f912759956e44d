"""The command `rim-lensing`. Whatever is wrong with the input is said before TensorFlow loads."""

import argparse
import sys
import warnings
from collections.abc import Callable

from rim_lensing import __version__
from rim_lensing.commands.fit import add_fit
from rim_lensing.commands.reconstruct import add_demo, add_reconstruct
from rim_lensing.commands.results import NOT_CONVERGED
from rim_lensing.commands.sample import add_sample
from rim_lensing.commands.survey import add_survey
from rim_lensing.program import is_crash


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str):
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Those of the process by default.

    Returns:
        The exit status: 0; 2 after errors (one line on stderr for each); NOT_CONVERGED, 3, if a fit
        or a chain was written that has not converged; 130 after ctrl-C. Help and malformed
        arguments raise SystemExit, as argparse does.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # Of a command, whose help lists what it takes; argparse would name that of all.
        parser.prog = f"{parser.prog} {options.command}"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    shown, warnings.showwarning = warnings.showwarning, _one_line_each()
    try:
        return options.run(options) or 0
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if is_crash(error):
            raise
        for each in getattr(error, "problems", [error]):
            print(f"error: {_one_line(each)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        # Who calls this function from Python has a way of showing warnings, too.
        warnings.showwarning = shown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rim-lensing",
        description="Reconstruct strongly lensed galaxies with a trained RIM.",
        epilog=f"Exit status: 0; 2 after an error; {NOT_CONVERGED} if a fit or a chain has not "
        "converged (its files are written all the same); 130 after ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"rim-lensing {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    models = commands.add_parser("models", help="list the trained models")
    models.set_defaults(run=_models)
    for add in (add_demo, add_reconstruct, add_fit, add_sample, add_survey):
        add(commands)
    return parser


def _models(options: argparse.Namespace) -> None:
    """Print the zoo."""
    from rim_lensing.zoo.zoo import list_pretrained, zoo_directory

    found = list_pretrained()
    if not found:
        raise FileNotFoundError(f"There is no model in {zoo_directory()}")
    for model in found:
        print(f"{model.name}  ({model.parameters:,} parameters)\n    {model.description}")


def _one_line_each() -> Callable:
    """Return what prints a warning in one line, without Python's source line, and only once.

    Commands check an image before they load a model, which checks it again.
    """
    told = set()

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        text = _one_line(message)
        if text not in told:
            told.add(text)
            print(f"warning: {text}", file=sys.stderr)

    return show


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
