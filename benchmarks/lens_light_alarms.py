"""How often lensed sources are taken for lens light, and how bright lens light must be to be seen.

    python benchmarks/lens_light_alarms.py

draws systems from the priors of training, in bins of the Einstein radius, and asks
`leftover_light.central_light` about each: as it is, and with de Vaucouleurs profiles in, whose peak
behind the PSF is a given number of times that of the arcs. Prints the fraction of the systems in
which light is seen. 400 systems a bin on the pixels of Euclid take two minutes.
"""

import argparse

import numpy as np
from galaxy_options import read_options
from scipy.ndimage import gaussian_filter

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.galaxies.galaxy_pool import development_galaxies
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_image
from rim_lensing.observation.leftover_light import has_lens_light
from rim_lensing.program import run
from rim_lensing.simulation.mock_observations import MockObservations, MockSimulator
from rim_lensing.simulation.priors import Priors

GEOMETRIES = {
    "euclid": Geometry(64, 0.1, 64, 0.05, 25),
    "hst": Geometry(128, 0.05, 64, 0.05, 49),
}
RADII = ((0.3, 0.5), (0.5, 0.8), (0.8, 2.2))
BRIGHTNESS = (0.0, 0.5, 1.0, 1.5, 2.0, 5.0)
BATCH, SEED = 50, 17


def main(arguments=None) -> int:
    """Draw, look, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pixels", choices=GEOMETRIES, default="euclid")
    options = read_options(parser, arguments, 400, BATCH, "in a bin")
    geometry, galaxies = GEOMETRIES[options.pixels], development_galaxies(options.galaxies)
    rates = []
    for theta_E in RADII:
        priors = Priors(theta_E=theta_E, log_noise_fraction=0.5)
        simulator = MockSimulator(galaxies, priors, geometry)
        generator, seen = np.random.default_rng(SEED), []
        for _ in range(options.systems // BATCH):
            mocks = simulator.draw(generator, BATCH)
            seen.append(what_is_seen(mocks, geometry.image_grid, generator))
        rates.append(np.mean(np.concatenate(seen), axis=0))
    print(table(options.systems, np.array(rates)))
    return 0


def what_is_seen(
    mocks: MockObservations, grid: PixelGrid, generator: np.random.Generator
) -> np.ndarray:
    """Return in which systems light of every BRIGHTNESS is seen, (batch, len(BRIGHTNESS))."""
    light = np.stack([de_vaucouleurs(grid, psf, generator) for psf in mocks.psf])
    peak = (mocks.noise / mocks.noise_level[:, None, None]).max(axis=(1, 2), keepdims=True)
    columns = []
    for brightness in BRIGHTNESS:
        image = mocks.image + brightness * peak * light
        observation = check_image(image, mocks.noise, mocks.psf, image_grid=grid)
        columns.append(has_lens_light(observation, grid))
    return np.stack(columns, axis=-1)


def de_vaucouleurs(
    grid: PixelGrid, psf: np.ndarray, generator: np.random.Generator, oversampling: int = 5
) -> np.ndarray:
    """Return a galaxy at the lens's place behind a PSF as sharp as `psf`, peak 1, (m, m)."""
    x, y = np.asarray(grid.coordinates(oversampling), "float64")
    centre, angle = generator.uniform(*Priors().centre, 2), generator.uniform(0, np.pi)
    radius, q = generator.uniform(0.5, 2.0), generator.uniform(0.5, 1.0)
    x, y = x - centre[0], y - centre[1]
    along, across = (
        np.cos(angle) * x + np.sin(angle) * y,
        np.cos(angle) * y - np.sin(angle) * x,
    )
    r = np.sqrt(q * along**2 + across**2 / q)
    fine = np.exp(-7.669 * (r / radius) ** 0.25)
    sigma = oversampling / np.sqrt(4 * np.pi * np.sum(psf.astype("float64") ** 2))
    blurred = gaussian_filter(fine, sigma)
    side = grid.side
    image = blurred.reshape(side, oversampling, side, oversampling).mean(axis=(1, 3))
    return image / image.max()


def table(systems: int, rates: np.ndarray) -> str:
    """Return the rates as Markdown: a line a bin of the Einstein radius."""
    lines = [
        "| theta_E (arcsec) | systems | no light | "
        + " | ".join(f"{brightness:g} x arcs" for brightness in BRIGHTNESS[1:])
        + " |",
        "| --- |" + " --- |" * (len(BRIGHTNESS) + 1),
    ]
    for (low, high), row in zip(RADII, rates, strict=True):
        cells = " | ".join(f"{rate:.1%}" for rate in row)
        lines.append(f"| {low:g} to {high:g} | {systems} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
