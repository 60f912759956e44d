"""RIM against semilinear inversion on the frozen validation set (paper section 3).

    python benchmarks/fidelity.py --model rim_euclid64 --galaxies galaxies.h5 --output runs/fidelity

reconstructs every system with the RIM, with the RIM and a linear inversion of its residuals
(`RIMReconstructor.refined`), with the linear inversion at the strength of the largest
evidence, and with the linear inversion at the strength of the smallest true error (an oracle, which
flatters it), all from the same image, noise, PSF and lens, on the same grids. The arrays are kept
in chunks: a run that was interrupted goes on with the same command. Then it writes measures.npz,
table.md and the figures; `--draw-only` does that again from what is there.
"""

import argparse
from pathlib import Path

import numpy as np
from fidelity_methods import METHODS
from resumable import (
    claim_run,
    in_processes,
    read_arrays,
    run_parser,
    write_arrays,
    write_text,
)

from rim_lensing.program import run

CHUNK = 10


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = run_parser(__doc__.split("\n")[0], systems=200)
    parser.add_argument("--regularization", default="gradient", help="of the linear inversion")
    parser.add_argument(
        "--engine",
        default="exact",
        choices=("exact", "matrix-free"),
        help="of the linear inversion",
    )
    parser.add_argument("--draw-only", action="store_true", help="no new reconstruction")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Reconstruct what is missing, measure, draw."""
    options = parse_arguments(arguments)
    from rim_lensing.inversion.regularization import check_regularization

    check_regularization(options.regularization)
    claim_run(options, {"regularization": options.regularization, "engine": options.engine})
    jobs = [
        (start, min(start + CHUNK, options.systems), options)
        for start in range(0, options.systems, CHUNK)
        if not _chunk_path(options.output, start, min(start + CHUNK, options.systems)).exists()
    ]
    if jobs and options.draw_only:
        raise FileNotFoundError(f"{len(jobs)} chunks are missing in {options.output}")
    if jobs:
        in_processes(_reconstruct, jobs, options.workers, f"{CHUNK} systems")
    _report(options)
    return 0


def _chunk_path(directory: Path, start: int, stop: int) -> Path:
    return directory / f"systems_{start:04d}_{stop:04d}.npz"


_loaded: dict = {}


def _reconstruct(job: tuple) -> None:
    """Reconstruct systems start to stop, and write their chunk."""
    from rim_lensing.publishing.rim_evaluation import reconstruct
    from rim_lensing.simulation.validation_set import validation_set
    from rim_lensing.zoo.zoo import load_pretrained

    start, stop, options = job
    if not _loaded:
        _loaded["model"] = load_pretrained(options.model)
        _loaded["set"] = validation_set(
            _loaded["model"].network.config, options.galaxies, systems=options.systems
        )
    model = _loaded["model"]
    mocks = _loaded["set"].mocks(range(start, stop))
    rims = reconstruct(model, mocks), reconstruct(model.refined(), mocks)
    linear = _linear_sources(mocks, model.network.config, options)
    arrays = arrays_of_systems(mocks, *rims) | linear
    write_arrays(_chunk_path(options.output, start, stop), arrays)


def arrays_of_systems(mocks, rim, refined) -> dict[str, np.ndarray]:
    """Return what is kept of mock observations and of the RIM's reconstructions of them.

    Args:
        mocks: MockObservations.
        rim: Reconstruction, a batch.
        refined: That of the same RIM, refined.
    """
    return {
        "true_source": mocks.source,
        "image": mocks.image,
        "noise_rms": mocks.noise[:, 0, 0],
        "noise_level": mocks.noise_level,
        "magnification": mocks.magnification,
        "rim_source": rim.source.astype("float32"),
        "rim_model": rim.model_image.astype("float32"),
        "refined_source": refined.source.astype("float32"),
        "refined_model": refined.model_image.astype("float32"),
    }


def _linear_sources(mocks, geometry, options: argparse.Namespace) -> dict:
    """Invert every system at both strengths."""
    from scipy.optimize import minimize_scalar

    from rim_lensing.forward_model.ray_tracing import RayTracer
    from rim_lensing.inversion.evidence import maximise_evidence
    from rim_lensing.inversion.linear_system import LinearSystem
    from rim_lensing.reconstruction.semilinear_inversion import ENGINES

    tracer = RayTracer(
        mocks.lens, geometry.image_grid, geometry.source_grid, geometry.supersampling
    )
    rows: dict = {}
    for i, lensing in enumerate(tracer.as_matrix()):
        system = LinearSystem(lensing, mocks.psf[i], mocks.image[i], mocks.noise[i])
        engine = ENGINES[options.engine](system, options.regularization)
        truth = mocks.source[i].ravel()
        strength = maximise_evidence(engine)

        def error(log_strength, engine=engine, truth=truth):
            return np.sqrt(np.mean((engine.mean(np.exp(log_strength)) - truth) ** 2))

        span = np.log(strength) + np.array([-7.0, 7.0])
        best = np.exp(minimize_scalar(error, bounds=span, options={"xatol": 0.05}).x)
        terms = engine.terms(strength)
        found = {"linear": strength, "oracle": best}
        for name, value in found.items():
            source = engine.mean(value)
            model = system.apply(source) / system.weight
            rows.setdefault(f"{name}_strength", []).append(value)
            rows.setdefault(f"{name}_source", []).append(source.reshape(mocks.source[i].shape))
            rows.setdefault(f"{name}_model", []).append(model.reshape(mocks.image[i].shape))
        rows.setdefault("fitted_parameters", []).append(terms.effective_parameters)
    return {
        name: np.array(values, "float64" if np.ndim(values) == 1 else "float32")
        for name, values in rows.items()
    }


def _report(options: argparse.Namespace) -> None:
    """Measure and draw what the chunks hold."""
    from fidelity_report import draw, measure, table

    paths = [
        _chunk_path(options.output, start, min(start + CHUNK, options.systems))
        for start in range(0, options.systems, CHUNK)
    ]
    arrays = read_arrays(paths)
    measures = measure(arrays, METHODS, options.regularization)
    write_arrays(options.output / "measures.npz", measures)
    text = table(measures, METHODS)
    write_text(options.output / "table.md", text)
    draw(arrays, measures, METHODS, options.output)
    print(text)


if __name__ == "__main__":
    run(main, "interrupted; the same command goes on")
