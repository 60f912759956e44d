"""The matrix-free inversion at the paper's scale: the table of README.md, Matrix-free.

    OPENBLAS_NUM_THREADS=1 python benchmarks/matrix_free.py

192 x 192 image and source pixels, procedural galaxies. Processor seconds: a busy machine stretches
them less than wall time.
"""

import argparse
import time

import numpy as np

from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.galaxies.procedural import draw_procedural_galaxies
from rim_lensing.inversion.evidence import log_evidence, maximise_evidence
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.networks.presets import get_preset
from rim_lensing.program import run
from rim_lensing.simulation.mock_observations import MockSimulator
from rim_lensing.simulation.priors import Priors

CASES = ((0.001, 0.1), (0.001, 0.02), (0.003, 0.05), (0.01, 0.08), (0.03, 0.05), (0.1, 0.05))
"""Noise over the peak, and the PSF's sigma in arcsec."""

SEED = 0
HEAD = (
    "noise / peak",
    "PSF sigma",
    "search",
    "strength",
    "effective parameters",
    "log evidence",
    "mean",
    "rms error of the source",
)


def processor_seconds(function) -> tuple:
    """Return what a function returns, and the time that it took."""
    start = time.process_time()
    value = function()
    return value, time.process_time() - start


def row(noise: float, sigma: float, galaxy: np.ndarray) -> list[str]:
    """Invert one system."""
    geometry = get_preset("hst192")
    priors = Priors(noise=(noise, noise), psf_sigma=(sigma, sigma))
    mock = MockSimulator(galaxy[None], priors, geometry).draw(np.random.default_rng(SEED), 1)
    lensing = RayTracer(mock.lens, geometry.image_grid, geometry.source_grid).as_matrix()[0]
    system = LinearSystem(lensing, mock.psf[0], mock.image[0], mock.noise[0])
    engine = MatrixFreeEngine(system, "gradient")
    strength, search = processor_seconds(lambda: maximise_evidence(engine))
    mean, solve = processor_seconds(lambda: engine.mean(strength))
    terms = engine.terms(strength)
    evidence, error = log_evidence(engine, terms)
    rms = np.sqrt(np.mean((mean - mock.source[0].ravel()) ** 2))
    return [
        f"{noise:.1%}",
        f'{sigma}"',
        f"{search:.1f} s",
        f"{strength:.0f} ± {engine.strength_error(strength):.1%}",
        f"{terms.effective_parameters:.0f} ± {terms.effective_parameters_error:.0f}",
        f"{evidence:.0f} ± {error:.0f}",
        f"{solve:.2f} s",
        f"{rms:.2%}",
    ]


def main(arguments=None) -> int:
    """Print the table, row by row."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args(arguments)
    galaxies = draw_procedural_galaxies(len(CASES), SEED)
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    for case, galaxy in zip(CASES, galaxies, strict=True):
        print("| " + " | ".join(row(*case, galaxy)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
