"""Algorithm 1 on the frozen validation set: from the image alone to lens and source.

    python benchmarks/automated_fit.py --galaxies galaxies.h5 --output runs/automated_fit

fits 200 systems, each from the CNN's prediction, and reconstructs them with the true lens too. It
writes table.md: how many end consistent with noise, how well theta_E is known, how many sources
were reconstructed on the way, and the source's errors with the true, the predicted and the
optimised lens. `--lens-model scatter` starts from the truth plus Gaussian errors, of the size that
a CNN is wanted to have, times `--scatter`. Systems are kept in chunks: an interrupted run goes on
with the same command, and `--draw-only` writes the table of the chunks that are there.
"""

import argparse
import json
import os
import sys
from pathlib import Path

CHUNK = 5
# Standard deviations of errors whose medians are 0.02", 0.04, 0.04, 0.02", 0.02", 0.02, 0.02.
MEDIAN_ERRORS = (0.02, 0.04, 0.04, 0.02, 0.02, 0.02, 0.02)
MEDIAN_TO_SIGMA = 1.4826
LENSES = {"true": "true lens", "predicted": "predicted lens", "fitted": "after optimisation"}


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="rim_euclid64", help="of the zoo, or a folder")
    parser.add_argument("--lens-model", default="lens_cnn_euclid64", help="likewise, or scatter")
    parser.add_argument("--scatter", type=float, default=1.0, help="size of the scatter")
    parser.add_argument("--galaxies", type=Path, help="HDF5 file; default: procedural galaxies")
    parser.add_argument("--systems", type=int, default=200, help="the first so many of 2000")
    parser.add_argument("--draw-only", action="store_true", help="no new fit")
    parser.add_argument("--output", type=Path, required=True, help="directory of the run")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Fit what is missing, and write the table."""
    options = parse_arguments(arguments)
    from rim_lensing.zoo import find_pretrained, sha256

    model = find_pretrained(options.model, "rim")
    if options.galaxies and not options.galaxies.exists():
        raise FileNotFoundError(f"There is no file {options.galaxies}")
    if not 1 <= options.systems <= 2000 or not options.scatter > 0:
        raise ValueError("--systems must be from 1 to 2000, and --scatter positive")
    scattered = options.lens_model == "scatter"
    start = None if scattered else find_pretrained(options.lens_model, "lens_cnn")
    description = {
        "model": model.name,
        "weights_sha256": sha256(model.weights),
        "lens_model": start.name if start else "scatter",
        "lens_model_sha256": sha256(start.weights) if start else None,
        "scatter": options.scatter if scattered else None,
        "galaxies_sha256": sha256(options.galaxies) if options.galaxies else None,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path, text = options.output / "run.json", json.dumps(description, indent=2) + "\n"
    if path.exists() and path.read_text() != text:
        raise FileExistsError(f"{options.output} holds another run: choose another directory")
    path.write_text(text)
    if not options.draw_only:
        _fit_missing(options)
    paths = [path for _, path in _chunks(options) if path.exists()]
    if not paths:
        raise FileNotFoundError(f"There are no chunks in {options.output}")
    text = table(_join(paths))
    (options.output / "table.md").write_text(text)
    print(text)
    return 0


def _chunks(options) -> list[tuple[range, Path]]:
    """Return which systems are in which file."""
    ranges = [
        range(start, min(start + CHUNK, options.systems))
        for start in range(0, options.systems, CHUNK)
    ]
    return [(r, options.output / f"systems_{r.start:04d}_{r.stop:04d}.npz") for r in ranges]


def _fit_missing(options) -> None:
    """Fit the systems whose chunk is not there yet."""
    import numpy as np
    from tqdm import tqdm

    from rim_lensing.simulation.validation_set import validation_set
    from rim_lensing.zoo import load_pretrained

    missing = [(systems, path) for systems, path in _chunks(options) if not path.exists()]
    if not missing:
        return
    model = load_pretrained(options.model)
    lens_model = None if options.lens_model == "scatter" else load_pretrained(options.lens_model)
    systems_of = validation_set(model.network.config, options.galaxies)
    with tqdm(total=sum(len(systems) for systems, _ in missing), unit="system") as progress:
        for systems, path in missing:
            mocks, rows = systems_of.mocks(systems), []
            for i, number in enumerate(systems):
                start = lens_model or _Scatter(mocks.lens[i], number, options.scatter)
                rows.append(_fit(mocks, i, model, start))
                progress.update()
            arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
            temporary = path.with_suffix(f".{os.getpid()}.part")
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
            os.replace(temporary, path)


class _Scatter:
    """A lens model that knows the truth, and errs by chance."""

    def __init__(self, lens, number: int, factor: float):
        import numpy as np

        self.std = factor * MEDIAN_TO_SIGMA * np.array(MEDIAN_ERRORS)
        self.lens = lens + self.std * np.random.default_rng([number, 1]).standard_normal(7)

    def predict(self, image, noise, psf, mask=None):
        """Return lens and standard deviation, (7,)."""
        return self.lens, self.std


def _fit(mocks, i: int, model, lens_model) -> dict:
    """Fit one system, and measure its source behind every lens."""
    import time
    import warnings

    import numpy as np

    from rim_lensing import metrics
    from rim_lensing.inference.automated_fit import automated_fit
    from rim_lensing.inference.residual_test import check_residuals

    data = {"image": mocks.image[i], "noise": mocks.noise[i], "psf": mocks.psf[i]}
    with warnings.catch_warnings():
        # The edges of the priors, seen through the noise, look like the outside.
        warnings.simplefilter("ignore", UserWarning)
        began = time.perf_counter()
        fit = automated_fit(**data, source_model=model, lens_model=lens_model)
        seconds = time.perf_counter() - began
        truth = model.reconstruct(lens=mocks.lens[i], **data)
        test = check_residuals(truth, model)
    results = {
        "true": truth,
        "predicted": fit.rounds[0].reconstruction,
        "fitted": fit.reconstruction,
    }
    row = {
        "noise_level": mocks.noise_level[i],
        "true_lens": mocks.lens[i],
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
        pair = (None, None) if missing else (result.source[None], mocks.source[i : i + 1])
        row[f"{name}_flux_error"] = np.nan if missing else metrics.flux_error(*pair)[0]
        row[f"{name}_rms_error"] = np.nan if missing else metrics.rms_error(*pair)[0]
        row[f"{name}_chi2"] = np.nan if missing else result.chi2
    return row


def _join(paths: list[Path]) -> dict:
    import numpy as np

    chunks = [dict(np.load(path)) for path in paths]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def table(arrays: dict) -> str:
    """Return what was found, as Markdown."""
    import numpy as np

    converged, optimised = arrays["converged"], arrays["optimisations"] > 0
    false_alarms = arrays["true_p_value"] < 0.01
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
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, FileExistsError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on")
