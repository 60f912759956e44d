"""What `rim_lensing.prepare_cutout` finds on raw mocks, against what is there.

    python benchmarks/preparation.py --count 60

makes the mocks of `raw_mocks.py` and prints one line for each, and a table: how far the centre is
off, the sky in units of its stated error, the noise map after its correction over the true one,
the share of arcs that is masked, and of neighbours' bright pixels that is not.
"""

import argparse
import time

import numpy as np
from raw_mock_planes import drizzle_correlation
from raw_mocks import raw_mock, read_options

from rim_lensing.program import run

BRIGHT = 3.0
"""In sky rms: pixels of neighbours and cosmic rays that ought to be masked."""


def main(arguments=None) -> int:
    """Prepare the mocks, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options = read_options(parser, arguments, 60)
    rows = []
    for index in range(options.first, options.first + options.count):
        rows.append(measured(*raw_mock(index, options.galaxies, options.psfs)))
        told = ", ".join(f"{name} {value:.3g}" for name, value in rows[-1].items())
        print(f"{index}: {told}", flush=True)
    print(table(rows))
    return 0


def measured(observed: dict, truth: dict) -> dict:
    """Return how a prepared mock compares with its truth; NaN where there is nothing to compare.

    Args:
        observed: Of `raw_mock`.
        truth: Of `raw_mock`.
    """
    import rim_lensing

    start = time.process_time()
    found = rim_lensing.prepare_cutout(**observed)
    seconds = time.process_time() - start
    planes, rms, used = truth["planes"], truth["rms"], found.observation.mask
    known = ~found.no_data
    off = np.hypot(*(found.offset[i] - truth["light"][name] for i, name in enumerate("xy")))
    correlation, true = (
        found.observation.noise_correlation,
        drizzle_correlation(truth["correlated"]),
    )
    neighbours, rays = planes["NEIGHBOURS"] > BRIGHT * rms, (planes["RAYS"] > 0) & known
    arcs = planes["ARCS"] if truth["kind"] == "lens" else np.zeros(known.shape)
    return {
        "centre (mas)": 1000 * off,
        "sky (its error)": (found.sky - truth["sky"]) / found.sky_error,
        "sky (rms)": (found.sky - truth["sky"]) / rms,
        "noise": found.noise_factor * truth["noise_map_factor"],
        "correlation": np.nan if correlation is None else correlation[3, 4] - true[3, 4],
        "arcs masked": _share(arcs, ~used & known),
        "neighbours left": _share(neighbours & known, used),
        "rays left": _share(rays, used),
        "masked in vain": float(
            np.mean(~used & known & ~rays & (planes["NEIGHBOURS"] < 0.3 * rms))
        ),
        "seconds": seconds,
    }


def table(rows: list[dict]) -> str:
    """Return medians, means, scatter and extremes as a Markdown table.

    Args:
        rows: Of `measured`.
    """
    lines = ["| | median | mean | standard deviation | least | largest |", "| --- |" + " --- |" * 5]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        if not values.size:
            lines.append(f"| {name} |" + " - |" * 5)
            continue
        told = (np.median(values), values.mean(), values.std(), values.min(), values.max())
        lines.append(f"| {name} | " + " | ".join(f"{each:.3g}" for each in told) + " |")
    return "\n".join(lines)


def _share(weight: np.ndarray, where: np.ndarray) -> float:
    """Return the share of a weight that is in some pixels, NaN if there is none."""
    total = weight.sum()
    return float(weight[where].sum() / total) if total > 0 else np.nan


if __name__ == "__main__":
    run(main)
