"""Measures, tables and figure of the coverage benchmark."""

import numpy as np
from bootstrap import with_error
from matplotlib.figure import Figure

from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.simulation.priors import NOISE_BINS

LEVELS = (0.68, 0.95)
_MIN_SYSTEMS = 8
_MIN_BIN = 4


def measure(systems: list[dict], is_chi2: bool) -> dict[str, np.ndarray]:
    """Compare every system's truth with its draws.

    Args:
        systems: Per system, `samples` (draws, p), `log_posterior` (draws,), `truth` (p,),
            `true_log_posterior`, `pixels`, and what is passed on as it is (see the last lines).
        is_chi2: The log-posterior is -chi^2 / 2, and no evidence, nor tempered.

    Returns:
        Arrays whose first axis is the systems. rank (systems, p): fraction of the draws below the
        truth. excess (systems,): fraction of the draws that are more probable than the truth, which
        is uniform if the posterior is right in all parameters together. stretch (systems, levels,
        p): the factor about the median by which the central interval of a level must be stretched
        to end at the truth. half_width (systems, p): of the 68% interval. error (systems, p): mean
        less truth. chi2 (systems,): of the most probable draw, per pixel; NaN if not `is_chi2`.
    """
    rows = []
    for one in systems:
        samples, truth = one["samples"], one["truth"]
        median = np.median(samples, axis=0)
        stretch = []
        for level in LEVELS:
            low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
            reach = np.where(truth > median, high - median, median - low)
            stretch.append(np.abs(truth - median) / reach)
        half_width = np.diff(np.quantile(samples, [0.16, 0.84], axis=0), axis=0)[0] / 2
        rows.append(
            {
                "rank": np.mean(samples < truth, axis=0),
                "excess": np.mean(one["log_posterior"] > one["true_log_posterior"]),
                "stretch": np.array(stretch),
                "half_width": half_width,
                "error": samples.mean(axis=0) - truth,
                "chi2": -2 * one["log_posterior"].max() / one["pixels"] if is_chi2 else np.nan,
            }
        )
    kept = ("truth", "noise_level", "r_hat", "effective_samples", "draws", "converged")
    kept += ("acceptance", "seconds", "evaluations", "temperature")
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return arrays | {name: np.array([one[name] for one in systems]) for name in kept}


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the ends of Wilson's (1927) 68% interval of a fraction, hits of total."""
    fraction = hits / total
    centre = (fraction + 0.5 / total) / (1 + 1 / total)
    half = np.sqrt(fraction * (1 - fraction) / total + 0.25 / total**2) / (1 + 1 / total)
    return centre - half, centre + half


def held_out_stretch(stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, per system, the factor that makes 68% intervals of the other half's systems honest.

    The halves are the systems of even and of odd number.

    Args:
        stretch: See `measure`, (systems, levels, p).

    Returns:
        (factors (systems,), inside (systems, levels, p)): inside says whether the stretched
        intervals hold the truth.
    """
    half = np.arange(len(stretch)) % 2
    factors = np.array([np.quantile(stretch[half != side, 0], LEVELS[0]) for side in half])
    return factors, stretch <= factors[:, None, None]


def table(measures: dict[str, dict], titles: dict[str, str]) -> str:
    """Return what was found, as Markdown; both by kind of posterior."""
    sampled = _with_coverage(measures)
    lines = [*_pooled(sampled, titles), "", *_by_noise(sampled, titles)]
    for name, found in sampled.items():
        lines += ["", f"Per parameter, {titles[name]}:", "", *_by_parameter(found)]
    lines += ["", "Intervals stretched by a factor:", "", *_stretched(sampled, titles)]
    lines += ["", "Samplers, median over the chains (worst):", "", *_samplers(measures, titles)]
    return "\n".join(lines) + "\n"


def _with_coverage(measures: dict[str, dict]) -> dict[str, dict]:
    """Return the posteriors of enough systems to speak of coverage."""
    return {name: found for name, found in measures.items() if len(found["rank"]) >= _MIN_SYSTEMS}


def _inside(found: dict) -> np.ndarray:
    """Return whether the intervals hold the truth, (systems, levels, p)."""
    off_centre = 2 * np.abs(found["rank"] - 0.5)
    return off_centre[:, None] <= np.array(LEVELS)[:, None]


def _pooled(measures: dict, titles: dict) -> list[str]:
    lines = [
        "| posterior | systems | in 68% | in 95% | joint 68% | joint 95% | error / half-width |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in measures.items():
        inside = _inside(found)
        z = found["error"] / found["half_width"]
        joint = [
            _fraction(np.sum(found["excess"] <= level), len(found["excess"])) for level in LEVELS
        ]
        lines.append(
            f"| {titles[name]} | {len(inside)} "
            f"| {_share(inside[:, 0])} | {_share(inside[:, 1])} "
            f"| {joint[0]} | {joint[1]} | {np.median(np.abs(z)) / 0.6745:.2f} |"
        )
    return lines


def _by_noise(measures: dict, titles: dict) -> list[str]:
    titles_of_bins = [f"{low:.1%} to {high:.0%}" for low, high in NOISE_BINS]
    lines = [
        "| all parameters, noise / peak | " + " | ".join(titles_of_bins) + " |",
        "|---|" + "---|" * len(NOISE_BINS),
    ]
    for name, found in measures.items():
        cells = []
        for low, high in NOISE_BINS:
            chosen = (found["noise_level"] >= low) & (found["noise_level"] < high)
            inside = _inside(found)[chosen]
            cells.append(
                f"{_share(inside[:, 0])}, {_share(inside[:, 1])} ({len(inside)})"
                if len(inside) >= _MIN_BIN
                else f"({len(inside)})"
            )
        lines.append(f"| {titles[name]}: in 68%, in 95% (systems) | " + " | ".join(cells) + " |")
    return lines


def _by_parameter(found: dict) -> list[str]:
    inside = _inside(found)
    lines = [
        "| parameter | in 68% | in 95% | median half-width of 68% | rms error | robust error |",
        "|---|---|---|---|---|---|",
    ]
    for i, name in enumerate(PARAMETER_NAMES):
        error = found["error"][:, i]
        lines.append(
            f"| {name} | {_fraction(inside[:, 0, i].sum(), len(inside))} "
            f"| {_fraction(inside[:, 1, i].sum(), len(inside))} "
            f"| {np.median(found['half_width'][:, i]):.4f} | {np.sqrt(np.mean(error**2)):.4f} "
            f"| {np.median(np.abs(error)) / 0.6745:.4f} |"
        )
    return lines


def _stretched(measures: dict, titles: dict) -> list[str]:
    lines = ["| posterior | factor | in 68% | in 95% |", "|---|---|---|---|"]
    for name, found in measures.items():
        factors, inside = held_out_stretch(found["stretch"])
        both = " and ".join(f"{factor:.2f}" for factor in factors[:2])
        mends = {f"{both}, of the other half": inside}
        if np.all(np.isfinite(found["chi2"])):
            factors = noise_stretch(found["chi2"])
            text = f"sqrt(chi^2 / pixel) if above 1: {np.median(factors):.2f}"
            mends[f"{text} ({factors.max():.2f})"] = found["stretch"] <= factors[:, None, None]
            by_both, inside = held_out_stretch(found["stretch"] / factors[:, None, None])
            both = " and ".join(f"{factor:.2f}" for factor in by_both[:2])
            mends[f"that, times {both}, of the other half"] = inside
        lines += [
            f"| {titles[name]} | {text} | {_share(inside[:, 0])} | {_share(inside[:, 1])} |"
            for text, inside in mends.items()
        ]
    return lines


def noise_stretch(chi2: np.ndarray) -> np.ndarray:
    """Return, per system, the factor by which intervals grow if the noise grows until chi^2 is 1.

    Residuals above the noise mean that the source model fails: Birge's (1932) ratio takes them for
    noise. The likelihood is then tempered by chi^2 per pixel.

    Args:
        chi2: Per pixel, (systems,).
    """
    return np.sqrt(np.maximum(chi2, 1))


def _samplers(measures: dict, titles: dict) -> list[str]:
    lines = [
        "| posterior | temperature | chains | draws | converged | R-hat | effective samples "
        "| seconds | draws / s | effective samples / s | sources / s | acceptance |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in measures.items():
        effective = found["effective_samples"].min(axis=1)
        r_hat = found["r_hat"].max(axis=1)
        seconds = found["seconds"]
        lines.append(
            f"| {titles[name]} "
            f"| {np.median(found['temperature']):.2f} ({found['temperature'].max():.2f}) "
            f"| {len(seconds)} | {np.median(found['draws']):.0f} "
            f"| {found['converged'].sum()} | {np.median(r_hat):.3f} ({r_hat.max():.3f}) "
            f"| {np.median(effective):.0f} ({effective.min():.0f}) | {np.median(seconds):.1f} "
            f"| {np.median(found['draws'] / seconds):.0f} | {np.median(effective / seconds):.2g} "
            f"| {np.median(found['evaluations'] / seconds):.0f} "
            f"| {np.median(found['acceptance']):.2f} |"
        )
    return lines


def _fraction(hits: int, total: int) -> str:
    low, high = wilson(int(hits), total)
    return f"{hits / total:.0%} ({low:.0%} to {high:.0%})"


def _share(inside: np.ndarray) -> str:
    """Return a fraction and its standard error, by bootstrap over systems.

    The parameters of one system are not independent: pooled, they are no binomial.

    Args:
        inside: (systems, p).
    """
    return with_error(inside.mean(axis=1), np.mean, "{:.0%}")


def coverage_figure(measures: dict[str, dict], titles: dict[str, str]) -> Figure | None:
    """Draw the coverage against the level, and the ranks of the truth, of every posterior.

    Args:
        measures: By the posterior, see `measure`.
        titles: Of the posteriors.

    Returns:
        The figure; None if no posterior has enough systems.
    """
    shown = _with_coverage(measures)
    if not shown:
        return None
    levels = np.linspace(0, 1, 101)
    figure = Figure(figsize=(4.2 * len(shown), 7.6), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False, sharey="row")
    for (upper, lower), (name, found) in zip(axes.T, shown.items(), strict=True):
        systems = len(found["rank"])
        off_centre = 2 * np.abs(found["rank"] - 0.5)
        error = np.sqrt(levels * (1 - levels) / systems)
        for sigmas in (1, 2):
            band = np.clip([levels - sigmas * error, levels + sigmas * error], 0, 1)
            upper.fill_between(levels, *band, color="0.5", alpha=0.2, lw=0)
        for i, parameter in enumerate(PARAMETER_NAMES):
            upper.plot(levels, _below(off_centre[:, i], levels), lw=0.8, label=parameter)
        upper.plot(levels, _below(off_centre.ravel(), levels), "k", lw=2, label="all, pooled")
        upper.plot(levels, _below(found["excess"], levels), "k:", lw=2, label="joint")
        upper.set_title(f"{titles[name]}\n{systems} systems", fontsize=10)
        upper.set(xlabel="level of the interval")
        upper.set(xlim=(0, 1), ylim=(0, 1))
        lower.hist(found["rank"].ravel(), np.linspace(0, 1, 11), density=True, color="tab:blue")
        lower.axhline(1, color="k", lw=0.8)
        lower.set(xlabel="fraction of the draws below the truth", xlim=(0, 1))
    axes[0, 0].set_ylabel("fraction of truths inside")
    axes[1, 0].set_ylabel("density, all parameters")
    axes[0, 0].legend(fontsize=7, loc="upper left")
    return figure


def _below(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.mean(values[:, None] <= levels, axis=0)
