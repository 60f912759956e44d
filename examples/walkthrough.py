"""From an image to the lens, the source and the lens's posterior, on the mock that is bundled.

    python examples/walkthrough.py --output output/walkthrough

runs the whole chain as a program would: the lens CNN, Algorithm 1, the linear inversion behind the
same lens, and the posterior with both. It writes rounds.png (figures 7 and 8 of the paper: with the
predicted lens, and with the optimised one), source_rim.png and source_linear.png (6), and
corner.png (9), all at the end; earlier pictures are replaced with --overwrite alone. The chains are
kept in chain_rim.h5 and chain_linear.h5, step by step, and are never replaced: killed, the same
command goes on with them, and after the end the same with more --steps and --overwrite. A few
minutes on two cores, and hours for chains that converge.
"""

import argparse
import warnings
from pathlib import Path

import rim_lensing as rl
from rim_lensing.commands.results import add_output_options, check_output
from rim_lensing.demo import read_demo_lens
from rim_lensing.figures import lens_fit
from rim_lensing.program import run

PICTURES = ("rounds.png", "source_rim.png", "source_linear.png", "corner.png")


def main(arguments=None) -> int:
    """Walk."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=40, help="of the chains, at least 10")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.steps < 10:
        parser.error(f"--steps must be at least 10. Received: {options.steps}")
    check_output(options, PICTURES)
    options.output.mkdir(parents=True, exist_ok=True)

    mock = read_demo_lens()
    data = {"image": mock.image, "noise": mock.noise, "psf": mock.psf}
    rim, cnn = rl.load_pretrained("rim_euclid64"), rl.load_pretrained("lens_cnn_euclid64")
    linear = rl.SemilinearInversion(regularization="gradient")

    prediction = cnn.predict(**data)
    print("predicted lens:", _numbers(prediction.lens, prediction.std))

    fit = rl.automated_fit(**data, source_model=rim, lens_model=cnn)
    print("Algorithm 1:", fit.verdict)
    rounds = [
        one.reconstruction.panels() | {"title": f"round {number}"}
        for number, one in enumerate(fit.rounds)
        if one.reconstruction is not None
    ]

    results = {}
    for name, model in (("rim", rim), ("linear", linear)):
        results[name] = model.reconstruct(**data, lens=fit.lens)
        print(f"{name}: chi^2 per pixel {results[name].chi2:.3f}")

    # The best lens's strength for all: to look for every lens's own takes several times as long.
    held = rl.SemilinearInversion(regularization="gradient", strength=results["linear"].strength)
    chains = [
        _sample(data, rim, fit.lens, 32, options.steps, options.output / "chain_rim.h5"),
        _sample(data, held, fit.lens, 16, options.steps, options.output / "chain_linear.h5"),
    ]
    for chain in chains:
        print(f"{chain.source_model}:", _numbers(chain.mean, chain.std))
        print(chain.verdict)
    print("the truth:", _numbers(mock.lens))

    figures = (
        lens_fit(rounds),
        results["rim"].plot(),
        results["linear"].plot(),
        chains[0].corner(truth=mock.lens, other=chains[1]),
    )
    # Not before: what an interrupted run had written would stand in the way of the next.
    for name, figure in zip(PICTURES, figures, strict=True):
        figure.savefig(options.output / name)
    return 0


def _sample(data: dict, model, start, walkers: int, steps: int, path: Path) -> rl.LensChain:
    """Return a chain; that a short one has not converged is in its verdict."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="NOT converged")
        return rl.sample_lens_posterior(
            **data, source_model=model, start=start, walkers=walkers, max_steps=steps, path=path
        )


def _numbers(values, errors=None) -> str:
    """Return the parameters in a line."""
    from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

    errors = [""] * len(values) if errors is None else [f" +- {error:.4f}" for error in errors]
    return ", ".join(
        f"{name} {value:.4f}{error}"
        for name, value, error in zip(PARAMETER_NAMES, values, errors, strict=True)
    )


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on with the chains")
