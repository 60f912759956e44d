"""Options of what looks for a lens, search or sampler: ranges, seed, lens light that is left."""

import argparse
import math

LARGEST_SEED = 2**32
"""What numpy's older generators, emcee's among them, take is below."""

_RANGES = ("theta_E", "axis_ratio", "shear")


def add_lens_light_option(command: argparse.ArgumentParser) -> None:
    """Add --allow-lens-light."""
    command.add_argument(
        "--allow-lens-light",
        action="store_true",
        help="go on where the lens galaxy's light seems to be left in the image: brighter at the "
        "lens's place than anything lensed, and smooth; without this such images are refused",
    )


def add_search_ranges(command: argparse.ArgumentParser) -> None:
    """Add --range and --centre-range, which `check_search_ranges` checks."""
    command.add_argument(
        "--range",
        action="append",
        type=_range,
        default=[],
        metavar="NAME=LOW,HIGH",
        help=f"of {', '.join(_RANGES)}: where the lens is looked for, instead of in the range of "
        "the model's training",
    )
    command.add_argument(
        "--centre-range",
        type=float,
        metavar="ARCSEC",
        help="largest distance of the lens from the crop centre (or the image's middle) in x and "
        "in y; where the crop centre is no pixel's centre, up to a pixel more (default: that of "
        "the model's training)",
    )


def add_seed(command: argparse.ArgumentParser) -> None:
    """Add --seed."""
    command.add_argument(
        "--seed", type=_seed, default=0, help="seed of the random numbers (default 0)"
    )


def _seed(text: str) -> int:
    """Return a seed as emcee takes it."""
    if not text.isdecimal() or int(text) >= LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"must be an integer from 0 to {LARGEST_SEED - 1}. Received: {text!r}"
        )
    return int(text)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """Return the name and the two ends of theta_E=0.3,3 or the like."""
    name, _, ends = text.partition("=")
    try:
        low, high = map(float, ends.split(","))
    except ValueError:
        low = high = math.nan
    if name not in _RANGES or not low < high:
        raise argparse.ArgumentTypeError(
            f"must be NAME=LOW,HIGH with a name of {', '.join(_RANGES)}. Received: {text!r}"
        )
    return name, (low, high)


def check_search_ranges(options: argparse.Namespace) -> None:
    """Raise ValueError for ranges in which there is no lens, before anything is read."""
    from rim_lensing.simulation.priors import Priors

    wanted = options.centre_range
    if wanted is not None and not 0 < wanted < math.inf:
        raise ValueError(f"--centre-range must be positive. Received: {wanted}")
    names = [name for name, _ in options.range]
    if len(set(names)) < len(names):
        raise ValueError(f"--range must name each parameter once. Received: {', '.join(names)}")
    Priors(**dict(options.range))
