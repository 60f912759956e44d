"""What the paper says of lenses that are not known, beside ours: computed from the arrays."""

import numpy as np
from paper_arrays import Chains, Fits
from paper_table import Row, holds, median, near, share

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

MAX_UNAFFECTED, MIN_OTHER = 1.2, 3.0
"""An rms error over that with the true lens: below the first the source is unaffected by the lens,
above the second it is another source."""
_CONFUSED = (("e1", "gamma1"), ("e2", "gamma2"))


def fit_rows(found: Fits) -> list[Row]:
    """Compare what the paper says of predicted and of optimised lenses."""
    measures = found.measures
    total = len(found.numbers)
    true_rms, rms = measures["true_rms_error"], measures["predicted_rms_error"]
    # An image that the lens leads nowhere has no source, NaN: it counts as affected.
    affected = ~(rms < MAX_UNAFFECTED * true_rms)
    gross = ~(rms < MIN_OTHER * true_rms)
    optimised = measures["optimisations"] > 0
    flux = np.abs(measures["predicted_flux_error"])
    rows = [
        Row(
            "7, section 3",
            f"unaffected by the CNN's lens: rms error below {MAX_UNAFFECTED} x that with the true "
            "lens",
            "60%",
            share(~affected),
            near(np.mean(~affected), 0.6, lower_is_better=False),
            total,
            "the paper does not define it",
        ),
        Row(
            "7, section 3",
            "unaffected by the CNN's lens: residuals are noise",
            "60%",
            share(~optimised),
            near(np.mean(~optimised), 0.6, lower_is_better=False),
            total,
            "another reading of the same",
        ),
    ]
    for chosen, title in ((affected, "the affected"), (np.ones(total, bool), "all")):
        if not chosen.any():
            continue
        rows += [
            Row(
                "4",
                f"abs. flux error with the CNN's lens, {title}",
                "9%",
                median(flux[chosen]),
                near(np.nanmedian(flux[chosen]), 0.09),
                int(chosen.sum()),
                "the paper speaks of the affected" if title != "all" else "another reading",
            ),
            Row(
                "7, section 3",
                f"rms error with the CNN's lens, {title}",
                "6%",
                median(rms[chosen]),
                near(np.nanmedian(rms[chosen]), 0.06),
                int(chosen.sum()),
                "likewise",
            ),
        ]
    if gross.any():
        rows.append(
            Row(
                "7, section 3",
                f"rms error above {MIN_OTHER:g} x that with the true lens: residuals tell (95%)",
                "easily diagnosed",
                share(optimised[gross]),
                holds(np.mean(optimised[gross]) >= 0.95),
                int(gross.sum()),
                "by the test of Algorithm 1",
            )
        )
    if optimised.any():
        steps = measures["evaluations"][optimised]
        low, middle, high = np.percentile(steps, [10, 50, 90])
        corrected = np.nanmedian(measures["fitted_rms_error"][optimised]) / np.median(
            true_rms[optimised]
        )
        rows += [
            Row(
                "8, section 3",
                "steps of the optimiser, 80% of the systems (within 10 to 500)",
                "tens to a few hundred",
                f"{middle:.0f} ({low:.0f} to {high:.0f})",
                holds(10 <= low and high <= 500),
                len(steps),
                "sources reconstructed, all starts together",
            ),
            Row(
                "8",
                "rms error after optimisation over that with the true lens (below 1.2)",
                "corrected",
                f"{corrected:.2f}",
                holds(corrected < MAX_UNAFFECTED),
                len(steps),
                "of the medians",
            ),
        ]
    rows.append(
        Row(
            "Algorithm 1",
            "residuals are noise in the end (all)",
            "all",
            share(measures["converged"]),
            holds(bool(measures["converged"].all())),
            total,
            "by the test of Algorithm 1",
        )
    )
    return rows


def chain_rows(found: Chains) -> list[Row]:
    """Compare what the paper says of the posteriors of one system with those of many."""
    total = len(found.rim)
    ends = {
        name: np.array(
            [np.quantile(one["samples"], (0.025, 0.16, 0.84, 0.975), axis=0) for one in chains]
        )
        for name, chains in (("rim", found.rim), ("linear", found.linear))
    }
    truth = np.array([one["truth"] for one in found.rim])
    inside = {name: (edges[:, 0] <= truth) & (truth <= edges[:, 3]) for name, edges in ends.items()}
    width = {name: edges[:, 2] - edges[:, 1] for name, edges in ends.items()}
    ratio = np.median(width["rim"] / width["linear"], axis=1)
    confused = degeneracy([one["samples"] for one in found.rim])
    pixels = np.median([one["pixels"] for one in found.rim])
    network = f"{found.run.get('model', 'a RIM')}, {pixels:.0f} pixels of the image"
    rows = [
        Row(
            "9",
            f"truths inside of the 95% intervals, {title} (90% or more)",
            "consistent, one lens",
            share(inside[name].mean(axis=1)),
            holds(inside[name].mean() >= 0.9),
            total,
            network if name == "rim" else "one held strength of its prior",
        )
        for name, title in (("rim", "RIM"), ("linear", "linear"))
    ]
    return [
        *rows,
        Row(
            "9",
            "width of the 68% intervals, RIM over linear (below 1)",
            "narrower, one lens",
            median(ratio, "{:.2f}"),
            holds(np.median(ratio) < 1),
            total,
            network,
        ),
        Row(
            "9",
            "correlation of ellipticity and shear, RIM (stronger than 0.5)",
            "seen, one lens",
            median(confused, "{:+.2f}"),
            holds(abs(np.median(confused)) > 0.5),
            total,
            "mean of e1, gamma1 and e2, gamma2",
        ),
    ]


def degeneracy(samples: list[np.ndarray]) -> np.ndarray:
    """Return the mean correlation of e1, gamma1 and e2, gamma2 of every posterior, (systems,).

    Args:
        samples: (draws, 7) each.
    """
    pairs = [[PARAMETER_NAMES.index(name) for name in pair] for pair in _CONFUSED]
    return np.array(
        [np.mean([np.corrcoef(draws[:, pair].T)[0, 1] for pair in pairs]) for draws in samples]
    )
