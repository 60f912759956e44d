"""`rim-lensing fit --visibilities`: lens and source from what an interferometer measured."""

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rim_lensing.commands.lens_input import read_lens
from rim_lensing.commands.results import (
    METRICS,
    NOT_CONVERGED,
    RESULT,
    SUMMARY,
    check_output,
    write_reconstruction,
)
from rim_lensing.commands.search_options import check_search_ranges
from rim_lensing.problems import Problems

if TYPE_CHECKING:
    from rim_lensing.observation.visibilities import VisibilityObservation

OF_IMAGES = ("noise", "psf", "mask", "crop_centre", "pixel_scale", "lens_light", "lens_model")
"""Options that mean nothing here."""


def add_visibility_options(command: argparse.ArgumentParser) -> None:
    """Add what is for visibilities alone."""
    group = command.add_argument_group(
        "visibilities",
        "IMAGE is then a UVFITS file, a folder of PyAutoLens's FITS files, an .npz, or a text "
        "table of u, v, real, imaginary, weight. The lens is found by a matched filter and the "
        "evidence of linear inversions, and needs no network.",
    )
    group.add_argument("--visibilities", action="store_true", help="of an interferometer")
    group.add_argument(
        "--frequency", type=float, metavar="HZ", help="u and v of the file are in metres"
    )
    group.add_argument(
        "--convention",
        choices=("casa", "image"),
        help="sign of the phase, see rim_lensing.VisibilityObservation (default: casa, and image "
        "of PyAutoLens's files)",
    )
    group.add_argument(
        "--phase-centre",
        metavar="X,Y",
        default="0,0",
        help="where it lies, in arcsec from the origin of the lens model (default 0,0)",
    )
    group.add_argument(
        "--primary-beam",
        type=float,
        metavar="ARCSEC",
        help="FWHM of the antennas' beam, around the phase centre (default: as wide as the sky)",
    )


def fit_visibilities(options: argparse.Namespace) -> int:
    """Fit a lens in visibilities; returns the exit status."""
    from rim_lensing.simulation.priors import Priors

    problems, seen, start = Problems(), None, None
    with problems.noted():
        given = [name for name in OF_IMAGES if getattr(options, name, None) is not None]
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"{names} must be left out with --visibilities: they are of images")
    with problems.noted():
        check_output(options, (SUMMARY, RESULT, METRICS))
    with problems.noted():
        check_search_ranges(options)
    with problems.noted():
        start = None if options.start is None else read_lens(options.start, "--start")
    with problems.noted():
        seen = _read(options)
    problems.raise_all()
    print(seen)
    from rim_lensing.tensorflow_messages import without_remarks

    with without_remarks():
        from rim_lensing.visibility_fit.visibility_fit import fit_visibilities as find

    priors = replace(Priors(), **dict(options.range))
    if options.centre_range is not None:
        priors = replace(priors, centre=(-options.centre_range, options.centre_range))
    began = time.perf_counter()
    found = find(seen, start=start, priors=priors, seed=options.seed)
    seconds = round(time.perf_counter() - began, 3)
    starts = found.starts
    if starts is not None:
        print(f"the matched filter sees arcs of {starts.significance[0]:.1f} sigma")
    numbers = {
        "seed": options.seed,
        "seconds": seconds,
        "converged": found.converged,
        "p_value": float(found.test.p_value),
        "start_lenses": None if starts is None else starts.lenses,
        "start_significance": None if starts is None else starts.significance,
    }
    print(found.test)
    write_reconstruction(found.reconstruction, None, options.output, numbers)
    print(f"lens: {found.optimum.mass_model}")
    return 0 if found.converged else NOT_CONVERGED


def _read(options: argparse.Namespace) -> "VisibilityObservation":
    from rim_lensing.observation.visibility_files import read_visibilities

    try:
        x, y = map(float, options.phase_centre.split(","))
    except ValueError:
        raise ValueError(
            f"--phase-centre must be X,Y in arcsec. Received: {options.phase_centre}"
        ) from None
    return read_visibilities(
        options.image,
        options.frequency,
        options.convention,
        phase_centre=(x, y),
        primary_beam=options.primary_beam,
    )
