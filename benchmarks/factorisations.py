"""Which factorisation of A = F + strength R is the fastest? The table of README.md.

For every size of the source and width of the PSF: seconds of one factorisation with log det A and
one solve, by each candidate that is installed, with the symbolic analysis that is done once left
out where the library separates it. Times of one run compare; those of two runs may not.

    OPENBLAS_NUM_THREADS=1 python benchmarks/factorisations.py [--sides 32 64 96]
"""

import argparse
import importlib.util
import time

import numpy as np
from scipy.sparse.linalg import splu

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.forward_model.ray_tracing import RayTracer
from rim_lensing.inversion.evidence import maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.factorisation import DenseCholesky, SparseCholesky, inverse_diagonal
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.regularization import regularization_matrix
from rim_lensing.program import run

LENS = np.float32([[1.4, 0.15, 0.1, 0.02, -0.01, 0.05, 0.03]])
STRENGTH, RMS = 200.0, 0.03
MAX_FILL = 150
"""Entries per row of A above which the general-purpose sparse solvers are not run: minutes."""


def make_system(side: int, sigma_in_pixels: float) -> LinearSystem:
    """An image and a source of `side` pixels a side, 6.4" and 3.2" wide: a lensed Gaussian."""
    geometry = Geometry(side, 6.4 / side, side, 3.2 / side, psf_side=25)
    lensing = RayTracer(LENS, geometry.image_grid, geometry.source_grid).as_matrix()[0]
    psf = gaussian_on_pixels(np.array([sigma_in_pixels]), 25)[0]
    noise = np.full((side, side), RMS)
    x, y = geometry.source_grid.coordinates()
    galaxy = np.exp(-0.5 * np.hypot(x - 0.15, y) ** 2 / 0.2**2).ravel()
    image = LinearSystem(lensing, psf, np.zeros_like(noise), noise).predict(galaxy)
    image = image.reshape(side, side) + RMS * np.random.default_rng(0).standard_normal((side, side))
    return LinearSystem(lensing, psf, image, noise)


def seconds(function) -> float:
    """The faster of two calls."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def candidates(fisher, prior, right_side) -> dict:
    """Return functions that factorise, take log det A and solve; None where it is not worth it."""
    matrix = (fisher + STRENGTH * prior).tocsc()
    sparse_enough = matrix.nnz / matrix.shape[0] < MAX_FILL

    def by_class(factor):
        def run():
            factor.factorise(STRENGTH)
            factor.log_det()
            factor.solve(right_side)

        return run

    def by_splu():
        options = {"SymmetricMode": True}
        factor = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        np.sum(np.log(np.abs(factor.U.diagonal())))
        factor.solve(right_side)

    found = {
        "dense LAPACK": by_class(DenseCholesky(fisher, prior)),
        "scipy splu": by_splu if sparse_enough else None,
        "CHOLMOD (cvxopt)": None,
        "qdldl": None,
    }
    if importlib.util.find_spec("cvxopt"):
        found["CHOLMOD (cvxopt)"] = by_class(SparseCholesky(fisher, prior))
    if importlib.util.find_spec("qdldl") and sparse_enough:
        import qdldl

        solver = qdldl.Solver(matrix)

        def by_qdldl():
            solver.update(matrix)
            np.sum(np.log(solver.factors()[1]))
            solver.solve(right_side)

        found["qdldl"] = by_qdldl
    return found


def main(arguments=None) -> int:
    """Print a row per size and PSF."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.0, 0.3, 0.5, 1.0])
    options = parser.parse_args(arguments)
    if min(options.sides) < 8 or min(options.sigmas) < 0:
        raise ValueError("--sides must be at least 8, and --sigmas not negative")
    header = None
    for side in options.sides:
        prior = regularization_matrix("gradient", side)
        for sigma in options.sigmas:
            system = make_system(side, sigma)
            response = system.response()
            fisher, right_side = (response.T @ response).tocsr(), response.T @ system.data
            functions = candidates(fisher, prior, right_side)
            if header is None:
                header = ["source", "PSF sigma / pixel", "entries per row", *functions]
                header += ["diagonal of A^-1", "set up", "evidence-optimal strength"]
                print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
            row = [f"{side} x {side}", f"{sigma:g}", f"{fisher.nnz / side**2:.0f}"]
            row += [f"{seconds(f):.3f}" if f else "-" for f in functions.values()]
            row.append(f"{seconds(lambda f=fisher, p=prior: inverse_diagonal(f, p, STRENGTH)):.2f}")
            start = time.perf_counter()
            engine = ExactEngine(system, "gradient")
            row.append(f"{time.perf_counter() - start:.2f}")
            start = time.perf_counter()
            maximise_evidence(engine)
            row.append(f"{time.perf_counter() - start:.2f}")
            print("| " + " | ".join(row) + " |", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
