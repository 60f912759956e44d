"""Are the errors of examples/subhalo.py honest? The same fit, with other noise and other masses.

    python benchmarks/subhalo.py --seeds 11 12 13 14 15 16 17 18

Seeds take the subhalo's Einstein radii MASSES in turn. Prints theta_E with its error and pull
(found minus true, over the error), and the mean and the scatter of the pulls of every free
parameter.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np

import rim_lensing as rl
from rim_lensing.program import run

EXAMPLE = Path(__file__).parents[1] / "examples" / "subhalo.py"
MASSES = (0.12, 0.06, 0.03, 0.09)
"""theta_E in arcsec."""


def load_example():
    """Return the example as a module."""
    spec = importlib.util.spec_from_file_location("subhalo_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pulls(example, model, theta_E: float, seed: int) -> dict[str, float]:
    """Return found minus true over the error of all free parameters, by name; print one line.

    Args:
        example: The example's module.
        model: The source model.
        theta_E: Of the subhalo.
        seed: Of the noise.
    """
    truth = example.truth(theta_E)
    found = example.fit(example.mock(truth, model.image_grid, seed), model)
    expected = dict(zip(truth.names, truth.values, strict=True))
    of_all = {
        name: (value - expected.get(name, 0.0)) / std
        for name, value, std in zip(found.mass_model.names, found.lens, found.std, strict=True)
        # What is held has no error, and what is linked is the other's.
        if std > 0 and name not in ("boxy.x", "boxy.y")
    }
    column = found.mass_model.index("subhalo.theta_E")
    print(
        f"| {seed} | {theta_E:g} | {found.lens[column]:.4f} ± {found.std[column]:.4f} | "
        f"{of_all['subhalo.theta_E']:+.2f} | {found.reconstruction.chi2:.3f} | "
        f"{found.evaluations} | {found.seconds:.0f} |",
        flush=True,
    )
    return of_all


def main() -> int:
    """Fit, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(11, 19)))
    options = parser.parse_args()
    example, model, rows = load_example(), rl.load_pretrained("rim_euclid64"), []
    print("| seed | true theta_E | found | pull | chi^2 per pixel | sources | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for i, seed in enumerate(options.seeds):
        rows.append(pulls(example, model, MASSES[i % len(MASSES)], seed))
    print("\n| parameter | mean pull | rms pull | within 1 sigma | within 2 sigma |")
    print("|---|---|---|---|---|")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        inside = [int(np.sum(np.abs(values) < reach)) for reach in (1, 2)]
        print(
            f"| {name} | {values.mean():+.2f} | {np.sqrt(np.mean(values**2)):.2f} | "
            f"{inside[0]} of {len(rows)} | {inside[1]} of {len(rows)} |"
        )
    return 0


if __name__ == "__main__":
    run(main)
