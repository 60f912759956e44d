"""Two real lenses, HST and Euclid: lens and source from the image alone, beside other people's.

    python examples/real_lenses.py FOLDER --output DIR

FOLDER holds either of
- SDSS J1630+4520 (HST F555W, SLACS): image_, psf_ and result_SDSSJ1630+4520_F555W as Shajib et al.
  2021 give them; their power law + shear is what the fit is compared with;
- a lens of Euclid's Quick Release 1: one FITS file with VIS_BGSUB, VIS_RMS and VIS_PSF. We know of
  no published model to read, so that lenstronomy fits one to the same pixels: SIE + shear, Sersic
  profiles for lens galaxy and source.

The light of the lens galaxy is fitted and subtracted, the noise map is scaled to the scatter of the
blank sky, and the lens CNN, Algorithm 1 and, with --steps, a Markov chain do the rest; nothing of
the other model enters. Needs lenstronomy, for the light, too.

Into DIR go, at the end, NAME_light.png, NAME_rounds.png, NAME.png, NAME.fits and, with --steps,
NAME_corner.png; earlier ones are replaced with --overwrite alone. The chain is kept in
NAME_chain.h5, step by step, and is never replaced: killed, the same command goes on with it, and
after the end the same with more --steps and --overwrite.
"""

import argparse
import time
import warnings
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from real_exposures import (
    Exposure,
    SersicFit,
    around,
    find_exposure,
    subtract_lens_light,
)

import rim_lensing as rl
from rim_lensing.commands.results import add_output_options, check_output
from rim_lensing.figures import lens_fit
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.program import run

CENTRE = (-0.2, 0.2)
"""arcsec: where the search may put the mass. The networks' own prior, 0.05, is the half pixel by
which a cutout can be off, and mass need not lie where the light does."""
DRAWS = 4000


@dataclass(frozen=True)
class Estimate:
    """Seven lens parameters and what is known of their errors.

    Args:
        title: Who says so.
        lens: (7,) or (8,).
        draws: Lenses from the distribution of the errors, (k, 7 or 8); none if nothing is known.
    """

    title: str
    lens: np.ndarray
    draws: np.ndarray | None = None


def fit_with_lenstronomy(
    exposure: Exposure, galaxy: np.ndarray, noise: np.ndarray, generator: np.random.Generator
) -> Estimate:
    """Fit light, SIE + shear and source at once, from several starts.

    Args:
        exposure: As it was read, with its lens galaxy.
        galaxy: The ten parameters of the galaxy's light, to start from.
        noise: rms, after scaling.
        generator: Of starts and of draws.

    Returns:
        The best of the fits; its errors are those of the fit made linear: the pseudo-inverse of
        J'J, which gives no error to what the image says nothing of.
    """
    model, best = SersicFit(exposure, noise, lensed=True), None
    for _ in range(8):
        source = [*(galaxy[:2] + 0.15 * generator.standard_normal(2)), np.log(0.15), 1, 0.01, 0.01]
        lens = [generator.uniform(0.6, 1.6), *(0.1 * generator.standard_normal(2)), *galaxy[:2]]
        start = [*galaxy, *source, *lens, *(0.05 * generator.standard_normal(2))]
        found = model.fit(np.array(start))
        print(f"lenstronomy: chi^2 {2 * found.cost:.1f}, theta_E {found.x[16]:.4f}")
        if best is None or found.cost < best.cost:
            best = found
    covariance = np.linalg.pinv(best.jac.T @ best.jac)[-7:, -7:]
    # In the order of PARAMETER_NAMES: theta_E, e1, e2, x, y, gamma1, gamma2.
    lens = best.x[-7:]
    draws = generator.multivariate_normal(lens, covariance, DRAWS)
    return Estimate("lenstronomy", lens, draws)


def table(estimates: list[Estimate]) -> str:
    """Return a table of the parameters, one estimate a column, as Markdown."""
    rows = ["| | " + " | ".join(one.title for one in estimates) + " |"]
    rows.append("| --- |" + " --- |" * len(estimates))
    values = [_quantities(one.lens[None]) for one in estimates]
    errors = [
        None if one.draws is None else {k: v.std() for k, v in _quantities(one.draws).items()}
        for one in estimates
    ]
    for name in values[0]:
        cells = [
            f"{value[name][0]:.3f}" + ("" if error is None else f" ± {error[name]:.3f}")
            for value, error in zip(values, errors, strict=True)
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _quantities(lenses: np.ndarray) -> dict[str, np.ndarray]:
    """Return the seven parameters of lenses (k, 7 or 8), axis ratio and modulus of the shear."""
    found = dict(zip(PARAMETER_NAMES, lenses.T, strict=False))
    modulus = np.hypot(found["e1"], found["e2"])
    return found | {
        "q": (1 - modulus) / (1 + modulus),
        "shear": np.hypot(found["gamma1"], found["gamma2"]),
    }


def draw_light(image: np.ndarray, light: np.ndarray, noise: np.ndarray, width: float) -> Figure:
    """Draw an image, the light of its lens galaxy, and the difference."""
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    panels = {"data": image, "lens galaxy": light, "data without lens galaxy": image - light}
    sigma = np.median(noise)
    for axis, (title, array) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        drawn = axis.imshow(
            array / sigma,
            origin="lower",
            extent=(-width / 2, width / 2) * 2,
            vmin=-3,
            vmax=12,
        )
        axis.set_title(title)
        axis.set_xlabel("x (arcsec)")
        figure.colorbar(drawn, ax=axis, label="sigma")
    return figure


def main(arguments=None) -> int:
    """Read, subtract, predict, fit, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4, help="of Algorithm 1, at most (default 4)")
    parser.add_argument("--steps", type=int, default=0, help="of a Markov chain (default: none)")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.rounds < 0 or not (options.steps == 0 or options.steps >= 10):
        parser.error("--rounds must be 0 or more, and --steps 0 or at least 10")
    name, read = find_exposure(options.folder)
    ends = ["_light.png", "_rounds.png", ".png", ".fits"] + ["_corner.png"] * (options.steps > 0)
    check_output(options, [name + end for end in ends])
    options.output.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)

    exposure = read(options.folder)
    clean, galaxy, correlation = subtract_lens_light(exposure)
    system, origin = around(clean, *galaxy[:2])
    galaxy[:2] -= origin
    seen = replace(system, image=around(exposure, *(galaxy[:2] + origin))[0].image)
    grid = PixelGrid(system.side, system.pixel_scale)
    x, y = grid.coordinates()
    radius = np.hypot(x - galaxy[0], y - galaxy[1])
    data = {
        "image": system.image,
        "noise": system.noise,
        "psf": system.psf,
        "mask": np.isfinite(system.noise) & (radius > system.masked_centre),
    }
    pixels = (grid.side, grid.pixel_scale)
    rim = rl.load_pretrained("rim_euclid64").with_image_grid(*pixels)
    cnn = rl.load_pretrained("lens_cnn_euclid64").with_image_grid(*pixels, correlation)
    priors = replace(rim.priors, centre=CENTRE)

    lens, std = cnn.predict(**data)
    began = time.perf_counter()
    fit = rl.automated_fit(
        **data,
        source_model=rim,
        lens_model=cnn,
        priors=priors,
        max_rounds=options.rounds,
        noise_correlation=correlation,
    )
    print(f"Algorithm 1, {time.perf_counter() - began:.0f} s: {fit.verdict}")
    estimates = [
        Estimate("CNN", lens, lens + std * generator.standard_normal((DRAWS, len(lens)))),
        Estimate("Algorithm 1", fit.lens),
    ]
    chain = None
    if options.steps:
        chain = sample(data, rim, fit.lens, priors, options, name)
        estimates.append(Estimate("chain", chain.mean, chain.samples))
    if system.published is None:
        other = fit_with_lenstronomy(seen, galaxy, system.noise, generator)
    else:
        other = Estimate("published", np.array(astuple(system.published)))
    estimates.append(other)
    print(table(estimates))

    rows = {f"round {number}": one.reconstruction for number, one in enumerate(fit.rounds)}
    refined = rim.refined()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rows[f"lens: {other.title}"] = rim.reconstruct(**data, lens=other.lens)
        rows["refined"] = refined.reconstruct(**data, lens=fit.lens)
    best = fit.reconstruction
    arcs = best.mask & (best.model_image > best.noise)
    for title, result in rows.items():
        if result is not None:
            print(
                f"{title}: chi^2 per pixel {result.chi2:.3f}, of the {arcs.sum()} of the arcs "
                f"{np.mean(result.residuals_in_sigma[arcs] ** 2):.3f}"
            )
    print(f"if pixels were independent: {rl.check_residuals(fit.reconstruction, rim)}")
    test = rl.check_residuals(rows["refined"], refined, noise_correlation=correlation)
    print(f"of the refined source: {test}")

    # Not before: what an interrupted run had written would stand in the way of the next.
    draw_light(seen.image, seen.image - system.image, system.noise, grid.width).savefig(
        options.output / f"{name}_light.png", dpi=90
    )
    lens_fit(
        [
            result.panels() | {"title": f"{title}\nchi^2 per pixel {result.chi2:.3f}"}
            for title, result in rows.items()
            if result is not None
        ]
    ).savefig(options.output / f"{name}_rounds.png", dpi=90)
    fit.reconstruction.plot().savefig(options.output / f"{name}.png", dpi=110)
    if chain:
        chain.corner().savefig(options.output / f"{name}_corner.png")
    fit.reconstruction.to_fits(options.output / f"{name}.fits", overwrite=True)
    return 0


def sample(data: dict, model, start: np.ndarray, priors, options, name: str) -> rl.LensChain:
    """Return a Markov chain around a lens, kept in NAME_chain.h5; say what it is worth."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="NOT converged")
        chain = rl.sample_lens_posterior(
            **data,
            source_model=model,
            start=start,
            priors=priors,
            max_steps=options.steps,
            path=options.output / f"{name}_chain.h5",
        )
    print(f"chain, {chain.seconds:.0f} s: {chain.verdict}")
    return chain


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on with the chain, if there is one")
