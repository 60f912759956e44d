"""What the linear inversion's prior says at the borders of the source grid.

    python benchmarks/borders.py --galaxies galaxies.h5

inverts systems of development galaxies, a fifth of them cut by the border of their source grid,
with several forms of the gradient and of the curvature prior, each at its own strength of the
largest evidence, by dense algebra on 24 x 24 pixels. Forms differ in what they do with the first
and last pixels of a row and column; `inversion.regularization` has the one that is used. Prints
log evidence and errors by how bright the source is on its border.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from bootstrap import with_error
from galaxy_options import read_options
from scipy.linalg import eigh, svd
from scipy.optimize import minimize_scalar
from scipy.sparse import diags
from tqdm import tqdm

from rim_lensing.forward_model.ray_tracing import lensing_matrices
from rim_lensing.galaxies.galaxy_pool import development_galaxies
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.networks.presets import get_preset
from rim_lensing.program import run
from rim_lensing.simulation.mock_observations import MockSimulator, border_fraction
from rim_lensing.simulation.priors import Priors

FIELD, SEED, BATCH = 24, 17, 8
ORDERS = {"gradient": [-1.0, 1.0], "curvature": [1.0, -2.0, 1.0]}
APPENDIX, MIRRORED = "appendix", "appendix, mirrored"
BINS = {"below 2%": (0.0, 0.02), "2% to 30%": (0.02, 0.3), "above 30%": (0.3, 1.1)}
"""Brightest pixel on the source grid's border over the brightest of all."""

BORDER_FRACTION = 0.1
"""Of the grid's side: what counts as near the border."""


def inner(order: str, side: int) -> np.ndarray:
    """Return the differences between pixels of the grid alone, (side - 1 or - 2, side)."""
    stencil = ORDERS[order]
    offsets = np.arange(len(stencil))
    return diags(stencil, offsets, shape=(side + 1 - len(stencil), side)).toarray()


def appendix(order: str, side: int) -> np.ndarray:
    """Return D of Suyu et al. 2006, appendix A: in the last rows differences of lower order."""
    last = np.eye(side)[-1:]
    lower = last if order == "gradient" else np.concatenate([inner("gradient", side)[-1:], last])
    return np.concatenate([inner(order, side), lower])


def tied(order: str, side: int, weight: float) -> np.ndarray:
    """Return D with the appendix's lower orders at both ends, of a weight in s'Rs."""
    lower = appendix(order, side)[len(inner(order, side)) :]
    both = np.concatenate([lower, lower[:, ::-1]])
    return np.concatenate([inner(order, side), np.sqrt(weight) * both])


def zero_outside(order: str, side: int) -> np.ndarray:
    """Return D with all differences, of a source that is 0 outside of its grid."""
    reach = len(ORDERS[order]) - 1
    return inner(order, side + 2 * reach)[:, reach:-reach]


FORMS = {
    APPENDIX: appendix,
    MIRRORED: lambda order, side: appendix(order, side)[:, ::-1],
    "zero outside": zero_outside,
    "appendix, mean of both": lambda order, side: tied(order, side, 0.5),
    "free, tied by 0.01": lambda order, side: tied(order, side, 0.01),
}


def best_source(system: LinearSystem, differences: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the largest log evidence, up to the data's constants, and the source (n^2,) there.

    Args:
        system: The data.
        differences: D along one axis, as in `inversion.regularization`.
    """
    _, singular, modes = svd(differences, full_matrices=False)
    root = np.kron(modes, modes).T / np.sqrt(singular[:, None] ** 2 + singular**2).ravel()
    whitened = system.response() @ root
    values, vectors = eigh(whitened.T @ whitened)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (whitened.T @ system.data)

    def evidence(log_strength: float) -> float:
        strength = np.exp(log_strength)
        fitted = np.sum(projected**2 / (values + strength))
        return 0.5 * (fitted - system.data @ system.data - np.sum(np.log1p(values / strength)))

    grid = np.linspace(-12.0, 20.0, 65)
    guess = grid[np.argmax([evidence(each) for each in grid])]
    bounds = (guess - 0.5, guess + 0.5)
    found = minimize_scalar(lambda x: -evidence(x), bounds=bounds, options={"xatol": 1e-6}).x
    source = root @ (vectors @ (projected / (values + np.exp(found))))
    return evidence(found), source


def measure(galaxies: Path | None, systems: int) -> tuple[np.ndarray, dict]:
    """Return the border's brightness (systems,), and by order and form evidence and errors."""
    geometry = get_preset("euclid64").on_field(FIELD)
    # Galaxies twice as large as usual, on the border or beyond it.
    priors = replace(Priors(), source_size=(0.8, 5.2), max_border=1.0).on_field(FIELD / 64)
    simulator = MockSimulator(development_galaxies(galaxies), priors, geometry)
    generator, border = np.random.default_rng(SEED), []
    rows = {order: {form: [] for form in FORMS} for order in ORDERS}
    edge = np.ones((FIELD, FIELD), bool)
    near = round(BORDER_FRACTION * FIELD)
    edge[near:-near, near:-near] = False
    with tqdm(total=systems, unit="system") as progress:
        while len(border) < systems:
            mocks = simulator.draw(generator, BATCH)
            matrices = lensing_matrices(mocks.lens, geometry)
            border.extend(border_fraction(mocks.source))
            for i, lensing in enumerate(matrices):
                system = LinearSystem(lensing, mocks.psf[i], mocks.image[i], mocks.noise[i])
                for order, forms in rows.items():
                    for form, found in forms.items():
                        value, source = best_source(system, FORMS[form](order, FIELD))
                        error = source.reshape(FIELD, FIELD) - mocks.source[i]
                        found.append(
                            [value, *(np.sqrt(np.mean(e**2)) for e in (error, error[edge]))]
                        )
                progress.update()
    return np.array(border), {
        order: {form: np.array(found) for form, found in forms.items()}
        for order, forms in rows.items()
    }


def table(border: np.ndarray, rows: dict) -> str:
    """Return the measures as Markdown; errors are ratios to the appendix's, system by system."""
    head = "| border | prior | form | log evidence less the appendix's | in the worst system "
    head += "| rms error over the appendix's | near the border |"
    lines = [head, "|" + " --- |" * 7]
    for label, (low, high) in BINS.items():
        chosen = (border >= low) & (border < high)
        for order, forms in rows.items():
            base = forms[APPENDIX][chosen]
            for form, found in forms.items():
                if form == APPENDIX or not chosen.any():
                    continue
                gain = found[chosen, 0] - base[:, 0]
                ratios = found[chosen, 1:] / base[:, 1:]
                cells = [with_error(gain, np.median, "{:+.1f}"), f"{gain.min():+.1f}"]
                cells += [with_error(each, np.median, "{:.3f}") for each in ratios.T]
                where = f"{label}, {chosen.sum()} systems"
                lines.append(f"| {where} | {order} | {form} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments=None) -> int:
    """Invert, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options = read_options(parser, arguments, 160, BATCH)
    print(table(*measure(options.galaxies, options.systems)))
    return 0


if __name__ == "__main__":
    run(main)
