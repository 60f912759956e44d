"""`rim-lensing sample`: the posterior of the lens in a FITS image (figure 9)."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rim_lensing.commands.inputs import (
    LENS_NAMES,
    UserImage,
    add_image_options,
    read_user_image,
    tell_psf,
)
from rim_lensing.commands.lens_input import LENS_FILES, read_lens
from rim_lensing.commands.prior_options import add_prior_options, in_field, read_priors
from rim_lensing.commands.results import (
    NOT_CONVERGED,
    add_model_option,
    check_directory,
    linear_inversion,
    load,
    made_by,
    verify_files,
    write_picture,
)
from rim_lensing.commands.search_options import (
    add_lens_light_option,
    add_search_ranges,
    add_seed,
    check_search_ranges,
)
from rim_lensing.files.json_files import write_json
from rim_lensing.problems import Problems

if TYPE_CHECKING:
    from rim_lensing.sampling.lens_chain import LensChain
    from rim_lensing.zoo.zoo import PretrainedModel

CHAIN, CORNER, POSTERIOR = "chain.h5", "corner.png", "posterior.json"

LARGEST_LINEAR_SIDE = 64
"""Pixels of the source with --linear. It is `semilinear_inversion.LARGEST_EXACT_SIDE`, which is
behind Keras; a test holds the two together."""


def add_sample(commands: argparse._SubParsersAction) -> None:
    """Add the command `sample`."""
    command = commands.add_parser(
        "sample",
        help="draw lenses from their posterior",
        description="Draw lenses from their posterior: a source is reconstructed behind each, to "
        "judge it, and not kept. The prior is flat in e1, e2, gamma1 and gamma2, and in the rest: "
        "flat neither in the axis ratio nor in the modulus of the shear.",
        epilog=f"Writes {CHAIN}, {CORNER} and {POSTERIOR} into the output directory. After "
        "ctrl-C, or with more --steps, the same command goes on with the chain that is there. Exit "
        f"status: 0, or {NOT_CONVERGED} if the chain has not converged (its files are written all "
        "the same), 2 after an error, 130 after ctrl-C.",
    )
    add_image_options(command)
    add_lens_light_option(command)
    command.add_argument(
        "--lens",
        required=True,
        metavar="NAME=VALUE,...",
        help=f"where to start: {LENS_NAMES}. {LENS_FILES}",
    )
    likelihood = command.add_mutually_exclusive_group()
    likelihood.add_argument(
        "--linear",
        action="store_true",
        help="reconstruct by linear inversion, on the model's grids, and sample its evidence at "
        "the strength that is best behind --lens",
    )
    likelihood.add_argument(
        "--refine",
        action="store_true",
        help="integrate over the error of the network's source: intervals that hold the truth more "
        "often (of mocks 61%% and 92%%, for 68%% and 95%%), at five to ten times the cost",
    )
    command.add_argument(
        "--method",
        choices=("emcee", "nuts"),
        default="emcee",
        help="an ensemble, or chains that follow the gradient of a RIM (default emcee)",
    )
    command.add_argument(
        "--walkers", type=int, help="walkers of emcee (default 32), or chains of nuts (default 16)"
    )
    command.add_argument(
        "--steps",
        type=int,
        default=5000,
        help="largest number of steps; a chain that has converged ends earlier (default 5000)",
    )
    command.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="divide the log-likelihood by T: intervals grow by about its square root, for errors "
        "that it does not know. At 1, the default, 68%% and 95%% intervals held 49%% and 77%% of "
        "mocks' truths with a RIM, 54%% and 85%% with --linear; 2 and 1.8 mended most of that "
        "(benchmarks/README.md, Posterior of the lens)",
    )
    command.add_argument(
        "--compare",
        type=Path,
        metavar="DIR",
        help=f"--output of another chain: it is drawn in {CORNER}, too",
    )
    add_seed(command)
    add_search_ranges(command)
    add_prior_options(command)
    add_model_option(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the chain, made if missing",
    )
    command.set_defaults(run=sample)


def sample(options: argparse.Namespace) -> int:
    """Sample the posterior of a user's lens; returns the exit status."""
    from rim_lensing.lens_fit.temperature import check_temperature
    from rim_lensing.observation.leftover_light import refuse_lens_light
    from rim_lensing.sampling.sampling_settings import INTER_OP_THREADS, check_settings

    if options.method == "nuts":
        # What `nuts_sampler.check_threads` asks for; TensorFlow is not imported yet.
        os.environ.setdefault(INTER_OP_THREADS, "2")
    from rim_lensing.lens_fit.lens_support import LensSupport
    from rim_lensing.sampling.lens_chain import LensChain
    from rim_lensing.simulation.priors import Priors
    from rim_lensing.zoo.zoo import find_pretrained, read_config

    problems = Problems()
    lens = model = image = other = support = None
    with problems.noted():
        lens, said = read_lens(options.lens), read_priors(options)
        named = in_field(said, lens.form, (0.0, 0.0))
        support = LensSupport.from_priors(Priors(), lens.form, named)
        check_settings(options.method, options.walkers, options.steps, len(support.names))
    with problems.noted():
        check_search_ranges(options)
    with problems.noted():
        check_directory(options.output)
    with problems.noted():
        check_temperature(options.temperature)
    with problems.noted():
        other = LensChain.from_hdf5(options.compare / CHAIN) if options.compare else None
        if other and support is not None and other.names != support.names:
            raise ValueError(
                f"--compare must have the parameters of --lens, {', '.join(support.names)}. "
                f"Received: {', '.join(other.names)}"
            )
    with problems.noted():
        if options.method == "nuts" and (options.linear or options.refine):
            named = "--linear" if options.linear else "--refine"
            raise ValueError(f"--method nuts needs the gradient of a RIM: leave {named} out")
    with problems.noted():
        model = find_pretrained(options.model, "rim")
        _check_linear(options, model)
        verify_files(model)
    if model is not None:
        with problems.noted():
            image = read_user_image(options, model.image_grid)
            checked = image.check(lens)
            refuse_lens_light(checked, image.grid, options.allow_lens_light)
    problems.raise_all()
    tell_psf(image, checked)
    start = image.in_field(lens)
    if options.linear:
        # A strength for every lens takes several times as long, and changes nothing
        # (benchmarks/README.md, Posterior of the lens).
        strength = _strength_of(options.output / CHAIN)
        if strength is None:
            linear = linear_inversion(model, image.grid)
            strength = linear.reconstruct(
                image.observation, lens=start, uncertainties=False
            ).strength
        source_model = linear_inversion(model, image.grid, strength)
        priors = read_config(model.directory).priors
    else:
        source_model = load(model, image.grid)
        source_model = source_model.refined() if options.refine else source_model
        priors = source_model.priors

    from rim_lensing.lens_fit.lens_priors import LensPriors
    from rim_lensing.sampling.sample import sample_lens_posterior

    options.output.mkdir(parents=True, exist_ok=True)
    try:
        chain = sample_lens_posterior(
            image.observation,
            source_model=source_model,
            start=start,
            priors=LensPriors(
                in_field(said, lens.form, image.offset), image.search_ranges(priors, options)
            ),
            temperature=options.temperature,
            method=options.method,
            walkers=options.walkers,
            max_steps=options.steps,
            seed=options.seed,
            path=options.output / CHAIN,
            allow_lens_light=options.allow_lens_light,
        )
    except KeyboardInterrupt:
        print(
            f"{options.output / CHAIN} keeps the chain: the same command goes on", file=sys.stderr
        )
        raise
    # Of the model the linear inversion takes the grids and the priors alone.
    facts = {"note": _note(options)} | made_by(None if options.linear else model)
    _write(chain, other, image, options.output, facts)
    return 0 if chain.converged else NOT_CONVERGED


def _check_linear(options: argparse.Namespace, model: "PretrainedModel") -> None:
    """Refuse to sample an evidence that is only estimated."""
    if options.linear and model.source_grid.side > LARGEST_LINEAR_SIDE:
        raise ValueError(
            "--linear must have a --model (see rim-lensing models) whose source grid has at most "
            f"{LARGEST_LINEAR_SIDE} pixels a side: of larger ones the evidence is a stochastic "
            f"estimate, too rough to be sampled. Received: {model.name}, with "
            f"{model.source_grid.side}"
        )


def _note(options: argparse.Namespace) -> str:
    """Return what is known of a likelihood that is taken at its word; of others, nothing."""
    if options.temperature != 1 or options.refine:
        return ""
    held, cures = "49% and 77%", "--refine or --temperature 2 widens them"
    if options.linear:
        held, cures = "54% and 85%", "--temperature 1.8 widens them"
    return (
        "expect the intervals to be too narrow: at temperature 1 those of 68% and 95% held "
        f"{held} of mocks' truths ({cures})"
    )


def _strength_of(path: Path) -> float | None:
    """Return the strength that a chain holds, to go on with; None if there is no such chain.

    Found once more, behind a lens that differs in its last digit, it would be another.
    """
    from rim_lensing.sampling.chain_file import ChainFile

    if not path.exists():
        return None
    chain = ChainFile(path)
    return chain.description["source_model"].get("strength") if chain.steps else None


def _write(
    chain: "LensChain",
    other: "LensChain | None",
    image: UserImage,
    directory: Path,
    more: dict[str, str],
) -> None:
    """Write the picture and the numbers of a chain, `more` among them, and print the main ones."""
    facts = chain.summary() | {"crop_centre_offset": image.offset} | more
    facts["lens_option"] = image.as_option(chain.mass_model)
    beside = dict(zip("xy", image.offset, strict=True))
    write_picture(chain.corner(other=other), directory / CORNER)
    write_json(facts, directory / POSTERIOR)
    print(f"wrote {CHAIN}, {CORNER} and {POSTERIOR} into {directory}")
    if any(image.offset):
        print("x and y relative to the crop centre; in the files, to the middle of the field:")
    for name, numbers in facts["parameters"].items():
        mean = numbers["mean"] - beside.get(name.split(".")[-1], 0)
        print(f"{name:8s} {mean:10.5f} +- {numbers['std']:.5f}")
    print(*filter(None, [chain.verdict, facts["note"]]), sep="\n")
    print(f"effective samples per second: {facts['effective_samples_per_second']:.3g}")
