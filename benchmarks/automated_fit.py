"""Algorithm 1 on the frozen validation set: from the image alone to lens and source.

    python benchmarks/automated_fit.py --galaxies galaxies.h5 --output runs/automated_fit

fits 200 systems, each from the CNN's prediction, and reconstructs them with the true lens too. It
writes table.md: how many end consistent with noise, how well theta_E is known, how many sources
were reconstructed on the way, and the source's errors with the true, the predicted and the
optimised lens. `--lens-model scatter` starts from the truth plus Gaussian errors, of the size that
a CNN is wanted to have, times `--scatter`. Every system is kept in a file: an interrupted run goes
on with the same command, and `--draw-only` writes the table of the systems that are there. Of the
first EXAMPLES systems it keeps images, sources and curves, for figures 7 and 8 (paper.py).
"""

import argparse
from collections.abc import Sequence

import numpy as np
from resumable import (
    claim_run,
    in_processes,
    read_arrays,
    run_parser,
    write_arrays,
    write_text,
)

from rim_lensing.program import run

# Standard deviations of errors whose medians are 0.02", 0.04, 0.04, 0.02", 0.02", 0.02, 0.02.
MEDIAN_ERRORS = (0.02, 0.04, 0.04, 0.02, 0.02, 0.02, 0.02)
MEDIAN_TO_SIGMA = 1.4826
LENSES = {"true": "true lens", "predicted": "predicted lens", "fitted": "after optimisation"}
EXAMPLES = 3


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = run_parser(__doc__.split("\n")[0], systems=200)
    parser.add_argument(
        "--lens-model",
        default="lens_cnn_euclid64",
        help="lens CNN, of the zoo or a folder; or scatter: the truth plus errors",
    )
    parser.add_argument("--scatter", type=float, help="size of these errors (default 1)")
    parser.add_argument("--draw-only", action="store_true", help="no new fit")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Fit what is missing, and write the table."""
    options = parse_arguments(arguments)
    from rim_lensing.zoo.zoo import find_pretrained, sha256

    scattered = options.lens_model == "scatter"
    if options.scatter is not None and not scattered:
        raise ValueError("--scatter is the size of the errors of --lens-model scatter: say both")
    if options.scatter is None:
        options.scatter = 1.0
    if not options.scatter > 0:
        raise ValueError(f"--scatter must be positive. Received: {options.scatter}")
    start = None if scattered else find_pretrained(options.lens_model, "lens_cnn")
    claim_run(
        options,
        {
            "lens_model": start.name if start else "scatter",
            "lens_model_sha256": sha256(start.weights) if start else None,
            "scatter": options.scatter if scattered else None,
        },
    )
    files = {i: options.output / f"system_{i:04d}.npz" for i in range(options.systems)}
    jobs = [(i, path, options) for i, path in files.items() if not path.exists()]
    if jobs and not options.draw_only:
        in_processes(_fit, jobs, options.workers, "system")
    paths = [path for path in files.values() if path.exists()]
    if not paths:
        raise FileNotFoundError(f"There are no systems in {options.output}")
    examples = [
        (i, path, options.output / f"example_{i:04d}.npz", options)
        for i, path in files.items()
        if i < EXAMPLES and path.exists()
    ]
    missing = [job for job in examples if not job[2].exists()]
    if missing and not options.draw_only:
        in_processes(_write_example, missing, options.workers, "example")
    text = table(read_arrays(paths))
    write_text(options.output / "table.md", text)
    print(text)
    return 0


class Scatter:
    """A lens model that knows the truth, and errs by chance.

    Args:
        lens: The true one, (7,).
        number: Of the system, seeds the errors.
        factor: Of MEDIAN_ERRORS.
    """

    def __init__(self, lens, number: int, factor: float):
        """Draw the errors; the same for the same number."""
        self.std = factor * MEDIAN_TO_SIGMA * np.array(MEDIAN_ERRORS)
        self.lens = lens + self.std * np.random.default_rng([number, 1]).standard_normal(7)

    def predict(self, image, noise, psf, mask=None):
        """Return lens and standard deviation, (7,)."""
        return self.lens, self.std


_loaded: dict = {}


def _system(number: int, options: argparse.Namespace) -> tuple:
    """Return the RIM, the mock system, and what an observer has of it."""
    from rim_lensing.simulation.validation_set import validation_set
    from rim_lensing.zoo.zoo import load_pretrained

    if "model" not in _loaded:
        _loaded["model"] = load_pretrained(options.model)
        _loaded["set"] = validation_set(_loaded["model"].network.config, options.galaxies)
    mock = _loaded["set"].mocks([number])
    data = {"image": mock.image[0], "noise": mock.noise[0], "psf": mock.psf[0]}
    return _loaded["model"], mock, data


def _fit(job: tuple) -> None:
    """Fit one system, measure its source behind every lens, and write what was found."""
    import time
    import warnings

    from rim_lensing import metrics
    from rim_lensing.lens_fit.automated_fit import automated_fit
    from rim_lensing.lens_fit.residual_test import check_residuals
    from rim_lensing.zoo.zoo import load_pretrained

    number, path, options = job
    model, mock, data = _system(number, options)
    if options.lens_model == "scatter":
        lens_model = Scatter(mock.lens[0], number, options.scatter)
    else:
        if "lens_model" not in _loaded:
            loaded = load_pretrained(options.lens_model)
            if loaded.image_grid != model.image_grid:
                loaded = loaded.with_image_grid(model.image_grid.side, model.image_grid.pixel_scale)
            _loaded["lens_model"] = loaded
        lens_model = _loaded["lens_model"]
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        began = time.perf_counter()
        fit = automated_fit(**data, source_model=model, lens_model=lens_model)
        seconds = time.perf_counter() - began
        truth = model.reconstruct(lens=mock.lens[0], **data)
        test = check_residuals(truth, model)
    results = {
        "true": truth,
        "predicted": fit.rounds[0].reconstruction,
        "fitted": fit.reconstruction,
    }
    row = {
        "noise_level": mock.noise_level[0],
        "true_lens": mock.lens[0],
        "predicted_lens": fit.rounds[0].lens,
        "fitted_lens": fit.lens,
        "converged": fit.converged,
        "demagnified": any(one.demagnified for one in fit.rounds),
        "optimisations": len(fit.rounds) - 1,
        "evaluations": sum(one.evaluations for one in fit.rounds),
        "seconds": seconds,
        "true_p_value": test.p_value,
    }
    for name, result in results.items():
        missing = result is None
        pair = (None, None) if missing else (result.source[None], mock.source)
        row[f"{name}_flux_error"] = np.nan if missing else metrics.flux_error(*pair)[0]
        row[f"{name}_rms_error"] = np.nan if missing else metrics.rms_error(*pair)[0]
        row[f"{name}_chi2"] = np.nan if missing else result.chi2
    write_arrays(path, {name: np.array(value)[None] for name, value in row.items()})


def _write_example(job: tuple) -> None:
    """Reconstruct a fitted system behind each of its lenses, and write what there is to see.

    Not part of `_fit`: a run that was finished before runs kept examples gets them too. A lens
    that leads nowhere has no source: NaN.
    """
    import warnings

    number, fitted, path, options = job
    model, mock, data = _system(number, options)
    found = read_arrays([fitted])
    arrays = {"image": mock.image[0], "noise": mock.noise[0], "true_source": mock.source[0]}
    for name in LENSES:
        if np.isnan(found[f"{name}_rms_error"][0]):
            panels = {
                "source": np.full_like(mock.source[0], np.nan),
                "model_image": np.full_like(mock.image[0], np.nan),
                "critical_curves": [],
                "caustics": [],
            }
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # As in _fit.
                panels = model.reconstruct(lens=found[f"{name}_lens"][0], **data).panels()
        arrays |= {
            f"{name}_lens_source": panels["source"].astype("float32"),
            f"{name}_lens_model": panels["model_image"].astype("float32"),
            f"{name}_critical_curves": joined(panels["critical_curves"]),
            f"{name}_caustics": joined(panels["caustics"]),
        }
    geometry = model.network.config
    arrays["image_pixel_scale"] = geometry.image_pixel_scale
    arrays["source_pixel_scale"] = geometry.source_pixel_scale
    write_arrays(path, arrays)


def joined(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Return curves of (points, 2) each as one, (all points, 2), a row of NaN after each."""
    gap = np.full((1, 2), np.nan)
    return np.concatenate([gap[:0], *(part for curve in curves for part in (curve, gap))])


def table(arrays: dict) -> str:
    """Return what was found, as Markdown."""
    from rim_lensing.lens_fit.residual_test import FALSE_ALARM

    converged, optimised = arrays["converged"], arrays["optimisations"] > 0
    false_alarms = arrays["true_p_value"] < FALSE_ALARM
    errors = {
        name: np.abs(arrays[f"{name}_lens"] - arrays["true_lens"])
        for name in ("predicted", "fitted")
    }
    total = len(converged)
    evaluations = arrays["evaluations"][optimised]
    quantiles = np.percentile(evaluations, [50, 90]) if optimised.any() else [0, 0]
    lines = [
        f"{total} systems. Consistent with noise in the end: {converged.sum()} "
        f"({converged.mean():.1%}); with the predicted lens: {np.sum(~optimised)} "
        f"({np.mean(~optimised):.1%}); with the true lens: {total - false_alarms.sum()} "
        f"({1 - false_alarms.mean():.1%}). "
        f"Some round ended at a lens that does not magnify: {arrays['demagnified'].sum()}.",
        "",
        "Of those that end consistent with noise, median |theta_E error|: "
        f'{np.median(errors["fitted"][converged, 0]):.4f}"; before: '
        f'{np.median(errors["predicted"][converged, 0]):.4f}".',
        "",
        f"Sources reconstructed by the optimiser, where it was needed: median {quantiles[0]:.0f}, "
        f"90th percentile {quantiles[1]:.0f}; seconds for a fit: median "
        f"{np.median(arrays['seconds']):.1f}.",
        "",
        "| RIM with | median abs. flux error | median rms error / peak | 90th percentile "
        "| median chi2 / pixel | unaffected |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in LENSES.items():
        rms = arrays[f"{name}_rms_error"]
        # An image that the lens leads nowhere has no source; it counts as affected.
        unaffected = np.mean(rms < 1.2 * arrays["true_rms_error"])
        lines.append(
            f"| {title} | {np.nanmedian(np.abs(arrays[f'{name}_flux_error'])):.1%} "
            f"| {np.nanmedian(rms):.2%} | {np.nanpercentile(rms, 90):.2%} "
            f"| {np.nanmedian(arrays[f'{name}_chi2']):.3f} | {unaffected:.0%} |"
        )
    lines += ["", "Unaffected: an rms error of less than 1.2 times that with the true lens.", ""]
    lines += [*_by_noise(arrays, errors), "", *_failures(arrays, errors)]
    return "\n".join(lines)


def _by_noise(arrays: dict, errors: dict) -> list[str]:
    """Return the errors of the lens where the fit converged, as Markdown."""
    from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
    from rim_lensing.simulation.priors import NOISE_BINS

    lines = [
        "Median absolute errors of the lens, of those that end consistent with noise, fitted "
        "(predicted):",
        "",
        f"| noise | systems | {' | '.join(PARAMETER_NAMES)} |",
        "|---|---|" + "---|" * len(PARAMETER_NAMES),
    ]
    noise = arrays["noise_level"]
    for low, high in NOISE_BINS:
        chosen = arrays["converged"] & (noise >= low) & (noise < high)
        if chosen.any():
            fitted, predicted = (
                np.median(errors[name][chosen], axis=0) for name in ("fitted", "predicted")
            )
            cells = [f"{f:.4f} ({p:.3f})" for f, p in zip(fitted, predicted, strict=True)]
            lines.append(f"| {low:.1%} to {high:.0%} | {chosen.sum()} | {' | '.join(cells)} |")
    return lines


def _failures(arrays: dict, errors: dict) -> list[str]:
    """Return what is known of the systems that did not converge, as Markdown."""
    lines = [
        "Not consistent with noise in the end:",
        "",
        "| noise | chi2 / pixel | with the true lens | p-value with the true lens "
        "| theta_E error | optimisations | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for i in np.flatnonzero(~arrays["converged"]):
        lines.append(
            f"| {arrays['noise_level'][i]:.2%} | {arrays['fitted_chi2'][i]:.3f} "
            f"| {arrays['true_chi2'][i]:.3f} | {arrays['true_p_value'][i]:.2g} "
            f"| {errors['fitted'][i, 0]:.4f} | {arrays['optimisations'][i]} "
            f"| {arrays['seconds'][i]:.0f} |"
        )
    return [*lines, ""]


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")
