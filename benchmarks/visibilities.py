"""What visibilities cost: the dirty image and beam of 10^4 to 10^7 of them, and chi^2 from these.

    python benchmarks/visibilities.py

Visibilities of a mock array (`simulation.interferometer`), tracks as long as are needed, on 64 x 64
pixels of 0.1". Times are of the second of two runs; memory is the rise of the largest resident set
of a process of its own, without the visibilities themselves. Prints a table.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

from rim_lensing.program import run

NUMBERS = (10**4, 10**5, 10**6, 10**7)
SEED = 191_129


def main(arguments=None) -> int:
    """Measure each number in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--numbers", type=int, nargs="+", default=NUMBERS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(measure(options.one))
        return 0
    print("| visibilities | build, s | memory, MB | chi^2 of a sky, ms | chi^2 off by |")
    print("| --- | --- | --- | --- | --- |")
    for number in options.numbers:
        command = [sys.executable, __file__, "--one", str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)
    return 0


def measure(number: int) -> str:
    """Return a row of the table."""
    from rim_lensing.forward_model.dirty_image import dirty_image
    from rim_lensing.forward_model.uv_plane import UVPlane
    from rim_lensing.lensing.grids import PixelGrid

    generator, grid = np.random.default_rng(SEED), PixelGrid(64, 0.1)
    u, v = baselines(generator, number)
    data = generator.standard_normal((2, number))
    data = data[0] + 1j * data[1]
    weights = generator.uniform(0.5, 1.5, number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(2):
        began = time.perf_counter()
        dirty = dirty_image([(u, v, data, weights)], grid)
        build = time.perf_counter() - began
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sky = generator.exponential(size=(64, 64))
    began = time.perf_counter()
    for _ in range(20):
        chi2 = dirty.chi2(sky)
    each = (time.perf_counter() - began) / 20
    true = 0.0
    for start in range(0, number, 2**19):
        part = slice(start, start + 2**19)
        left = data[part] - UVPlane(u[part], v[part], grid).apply(sky)
        true += np.sum(weights[part] * np.abs(left) ** 2)
    error = abs(chi2 / true - 1)
    return f"| {number:,} | {build:.2f} | {memory:.0f} | {1e3 * each:.2f} | {error:.0e} |"


def baselines(generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return u and v of an array that watches for as long as so many visibilities take."""
    from rim_lensing.simulation.interferometer import Coverages

    antennas = 43
    integrations = -(-number // (antennas * (antennas - 1) // 2))
    coverage = Coverages(
        longest_baseline=(1e6, 1e6), antennas=(antennas, antennas + 1), integrations=integrations
    )
    u, v = coverage.draw(generator)
    return u[:number].copy(), v[:number].copy()


if __name__ == "__main__":
    run(main)
