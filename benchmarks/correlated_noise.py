"""Do intervals hold the truth where the noise is correlated, told of it or not?

    python benchmarks/correlated_noise.py

Noise of the correlation of a drizzled image, 0.35 to the next pixel and 0.15 along diagonals;
lenses of the flat prior, sources of the linear inversion's own prior, as in evidence_coverage.py.
Nothing is drawn of the noise: to first order in theta_E, the others held, the estimate that
maximises a likelihood is linear in the data, and so its scatter under the true noise, the error
that it states, and how often its intervals hold the truth are numbers of dense algebra. By a
likelihood that knows the correlation (the package's whitening), and by one that takes pixels for
independent. Prints a table.
"""

import argparse

import numpy as np
from lens_coverage import flat_lens_priors
from scipy.special import erf

from rim_lensing.program import run

SEED = 191_129
CORRELATION = np.array([[0.15, 0.35, 0.15], [0.35, 1.0, 0.35], [0.15, 0.35, 0.15]])
STEP = 0.01
"""arcsec, of the differences in theta_E."""


def parse_arguments(arguments=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--systems", type=int, default=200)
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Measure, and print the table."""
    found = np.array([errors(number) for number in range(parse_arguments(arguments).systems)])
    print(table(found))
    return 0


def errors(number: int) -> np.ndarray:
    """Return stated and true standard deviation of theta_E: told, and not told, (2, 2)."""
    from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
    from rim_lensing.forward_model.ray_tracing import lensing_matrices
    from rim_lensing.inversion.linear_system import LinearSystem
    from rim_lensing.inversion.regularization import regularization_matrix
    from rim_lensing.networks.presets import get_preset

    geometry, generator = get_preset("tiny16"), np.random.default_rng([SEED, number])
    drawn = flat_lens_priors().draw(generator, 1)
    lenses = np.repeat(drawn["lens"], 3, axis=0)
    lenses[1:, 0] += [STEP, -STEP]
    psf = gaussian_on_pixels(drawn["psf_sigma"] / geometry.image_pixel_scale, geometry.psf_side)[0]
    rms = np.full((geometry.image_side,) * 2, drawn["noise"][0])
    matrices = lensing_matrices(lenses, geometry)
    told = LinearSystem(matrices[0], psf, np.zeros_like(rms), rms, noise_correlation=CORRELATION)
    prior = regularization_matrix("gradient", geometry.source_side).toarray()
    variance = np.linalg.inv(prior)
    # The sources' pixels have an rms of 1/3: their peaks are about 1.
    variance /= 9 * np.mean(np.diag(variance))
    source = np.linalg.cholesky(variance) @ generator.standard_normal(len(variance))
    blur = told.blur().toarray()
    response, up, down = (blur @ matrix.toarray() for matrix in matrices)
    slope = (up - down) @ source / (2 * STEP)
    of_source = response @ variance @ response.T
    truth = of_source + true_covariance(len(rms)) * drawn["noise"][0] ** 2
    assumed = np.linalg.inv((told.whitening.matrix.T @ told.whitening.matrix).toarray())
    rows = []
    for noise in (assumed, np.eye(rms.size)):
        filtered = np.linalg.solve(of_source + noise * drawn["noise"][0] ** 2, slope)
        stated = 1 / (slope @ filtered)
        rows.append((stated**0.5, stated * (filtered @ truth @ filtered) ** 0.5))
    return np.array(rows)


def true_covariance(side: int) -> np.ndarray:
    """Return C of all pixels."""
    row, column = np.divmod(np.arange(side**2), side)
    down, right = np.abs(row[:, None] - row), np.abs(column[:, None] - column)
    near = (down <= 1) & (right <= 1)
    return np.where(near, CORRELATION[1 + np.minimum(down, 1), 1 + np.minimum(right, 1)], 0.0)


def table(found: np.ndarray) -> str:
    """Return coverage and errors as Markdown; `found` is (systems, 2, 2), see `errors`."""
    lines = [
        "| the noise is | systems | in 68.3% | in 95.4% | true over stated error, median (10% to "
        "90%) | true error over the best, median |",
        "|---|---|---|---|---|---|",
    ]
    for name, (stated, true) in zip(
        ("told to be correlated", "taken for independent"), found.transpose(1, 2, 0), strict=True
    ):
        ratio = true / stated
        held = [np.mean(erf(width / ratio / np.sqrt(2))) for width in (1, 2)]
        low, middle, high = np.quantile(ratio, (0.1, 0.5, 0.9))
        worse = np.median(true / found[:, 0, 1])
        lines.append(
            f"| {name} | {len(ratio)} | {held[0]:.1%} | {held[1]:.1%} | {middle:.2f} ({low:.2f} to "
            f"{high:.2f}) | {worse:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
