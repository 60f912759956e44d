"""What Algorithm 1 finds: one round after the other, and which of them is the answer."""

from dataclasses import dataclass

import numpy as np

from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.lens_fit.optimise import NOTABLE_LOG_POSTERIOR, in_words
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.notebooks import as_html, lens_table
from rim_lensing.results.in_words import named_lens
from rim_lensing.results.result import Reconstruction


@dataclass(frozen=True, repr=False)
class Round:
    """One pass through the loop of Algorithm 1; the first has the predicted lens.

    Args:
        lens: (p,), as of `Reconstruction`.
        reconstruction: Behind this lens; None if the arcs do not fall on the source grid, or the
            evidence of a linear inversion has no maximum.
        test: Of the residuals; None without a reconstruction.
        starts: Lenses that the optimiser started from; 0 for the predicted lens.
        evaluations: Sources that it reconstructed.
        demagnified: The source is the arcs, shrunk, see `optimise.is_demagnified`.
        edges: Parameters on an edge of the priors.
        form: Of the lens; by default that of 7 or 8 numbers.
        passed_over: By how much the log-posterior of the best lens is higher that the search found
            and passed over, because it shrinks the source onto the arcs or misses the source grid.
    """

    lens: np.ndarray
    reconstruction: Reconstruction | None
    test: ResidualTest | None
    starts: int
    evaluations: int
    demagnified: bool
    edges: tuple[str, ...]
    form: MassModel | None = None
    passed_over: float = 0.0

    def __repr__(self) -> str:
        """Return one line."""
        facts = [f"lens {named_lens(self.lens, self.form)}"]
        if self.reconstruction is not None:
            facts.append(f"chi^2 per pixel {self.reconstruction.chi2:.4g}")
        facts += [f"{self.starts} start(s)", f"{self.evaluations} sources", self.findings]
        return f"Round({', '.join(facts)})"

    @property
    def log_posterior(self) -> float:
        """Of this lens, up to a constant; -inf without a reconstruction.

        Where no distribution is named among the priors it is the `Reconstruction.log_likelihood`.
        """
        if self.reconstruction is None:
            return -np.inf
        return float(self.reconstruction.log_likelihood)

    @property
    def succeeded(self) -> bool:
        """The residuals are consistent with noise, and the lens is one."""
        return self.test is not None and self.test.consistent and not self.demagnified

    @property
    def findings(self) -> str:
        """What speaks against the lens, or for it."""
        if self.reconstruction is None:
            return "the lens leads less than half of the arcs to the source grid, or explains none"
        said = [str(self.test)]
        if self.demagnified:
            said.append(
                "the lens hardly magnifies, and the source is the arcs, shrunk: "
                f"{in_words(self.reconstruction)}"
            )
        if self.edges:
            said.append(f"on the edge of the priors: {', '.join(self.edges)}")
        if self.passed_over > NOTABLE_LOG_POSTERIOR:
            said.append(
                f"a lens with a log-posterior higher by {self.passed_over:.6g} is passed over: its "
                "source is the arcs, shrunk, or they miss the source grid"
            )
        return "; ".join(said)

    @property
    def advice(self) -> str:
        """What to do about the findings; empty where nothing is known."""
        said = []
        if self.demagnified or self.passed_over > NOTABLE_LOG_POSTERIOR:
            said.append(
                "where so little magnification is the truth, allow it: "
                "priors=Priors(min_magnification=...), on the command line --min-magnification"
            )
        if self.edges:
            centre = "x" in self.edges or "y" in self.edges
            options = ["--centre-range ARCSEC"] if centre else []
            names = [name for name in self.edges if name not in ("x", "y")]
            # As `Priors` and the command line call it.
            names = ["axis_ratio" if name == "ellipticity" else name for name in names]
            options += [f"--range {name}=LOW,HIGH" for name in names]
            crop = "crop around the lens, or " if centre else ""
            said.append(
                f"to look beyond the edge, {crop}widen `priors`, on the command line "
                f"{' '.join(options)}"
            )
        return "; ".join(said)


@dataclass(frozen=True, repr=False)
class AutomatedFit:
    """What Algorithm 1 ends with.

    Args:
        lens: Of the last round if it converged, else of the most probable round, (p,): 7 numbers,
            or 8 where a power law was fitted, or those of the `start`'s mass model.
        reconstruction: Behind this lens; by a refined RIM, if that is what was asked for and if it
            could (`Reconstruction.refined`).
        rounds: All of them, in order.
        converged: The residuals are consistent with noise: of a RIM, before they are refined, for
            that takes up what a wrong lens leaves, too.
        verdict: Converged, or not and why, in words.
        prediction: What the lens model answered, before it was moved into the priors (the first
            round has it moved): a LensPrediction, or lens and standard deviation; None if the
            start was given.
    """

    lens: np.ndarray
    reconstruction: Reconstruction
    rounds: tuple[Round, ...]
    converged: bool
    verdict: str
    prediction: LensPrediction | tuple[np.ndarray, np.ndarray] | None = None

    @property
    def mass_model(self) -> MassModel:
        """The lens as an object, with names and values."""
        return self.reconstruction.form.with_values(self.lens)

    def __repr__(self) -> str:
        """Return one line; why it ended so is in the verdict."""
        return (
            f"AutomatedFit({self.verdict.partition(':')[0]}, {len(self.rounds)} round(s), "
            f"lens {named_lens(self.lens, self.reconstruction.form)}, {self.reconstruction.model}, "
            f"chi^2 per pixel {self.reconstruction.chi2:.4g})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: verdict, lens, picture, and the rounds, folded."""
        result = self.reconstruction
        facts = {"verdict": self.verdict, "chi^2": f"{result.chi2:.3f}"}
        rows = lens_table(self.mass_model.labels, self.lens)
        folded = {"Rounds": [repr(each) for each in self.rounds]}
        return as_html("AutomatedFit", facts, rows, result.plot(), folded)


def best_round(rounds: list[Round]) -> Round:
    """Return the most probable round of those that magnify, or else of those with a source."""
    return min(
        rounds,
        key=lambda one: (one.reconstruction is None, one.demagnified, -one.log_posterior),
    )


def nothing_better(rounds: list[Round]) -> bool:
    """Return whether starts from several places have led to no better lens than was known.

    Better: the log-posterior rises by more than 1/2 (chi^2 falls by 1). Without, the residuals hold
    what no lens explains, or the test has raised a false alarm: more rounds would say the same.
    """
    best = best_round(rounds[:-1]) if len(rounds) > 2 else None
    if best is None or best.reconstruction is None:
        return False
    if best.demagnified and best_round(rounds) is rounds[-1]:
        # The first lens that magnifies may fit worse than the arcs themselves, shrunk.
        return False
    return rounds[-1].log_posterior - best.log_posterior < 0.5


def better_ones(rounds: list[Round], answer: Round) -> str:
    """Say which round has found a far more probable lens than the answer, and what it is."""

    def highest(one: Round) -> float:
        return one.log_posterior + one.passed_over

    first = max(rounds, key=highest)
    more = highest(first) - answer.log_posterior
    if first is answer or not more > NOTABLE_LOG_POSTERIOR:
        return ""
    number = next(i for i, one in enumerate(rounds) if one is first)
    said = (
        f"round {number} has found a lens with a log-posterior higher by {more:.6g}, which is not "
        f"the answer: {named_lens(first.lens, first.form)}, {first.findings}"
    )
    return "; ".join(filter(None, [said, first.advice]))


def conclude(
    rounds: list[Round],
    first: str,
    optimisations: int | None = None,
    known: list[Round] | None = None,
) -> AutomatedFit:
    """Say how it ended.

    Args:
        rounds: Of which one is the answer.
        first: The first lens was "predicted" or "given".
        optimisations: How many there were; by default all rounds but the first.
        known: All rounds, whose better lenses are told; by default `rounds`.
    """
    converged = rounds[-1].succeeded
    best = rounds[-1] if converged else best_round(rounds)
    if best.reconstruction is None:
        raise ValueError(
            f"Neither the {first} lens nor any optimised one leads the arcs to the source grid: "
            "give a lens model trained on such images, or a `start` closer to the lens, or allow "
            f"more optimisations. Received: the {first} lens {rounds[0].lens.round(3).tolist()}, "
            f"max_rounds={len(rounds) - 1}"
        )
    optimisations = len(rounds) - 1 if optimisations is None else optimisations
    outcome = "converged" if converged else "not converged"
    how = f"with the {first} lens" if optimisations == 0 else f"after {optimisations} optimisation"
    plural = "s" if optimisations > 1 else ""
    told = [best.findings, best.advice, better_ones(known or rounds, best)]
    found = "; ".join(filter(None, told))
    stopped = "" if converged or not nothing_better(rounds) else "; no start finds a better lens"
    return AutomatedFit(
        lens=best.lens,
        reconstruction=best.reconstruction,
        rounds=tuple(rounds),
        converged=converged,
        verdict=f"{outcome} {how}{plural}: {found}{stopped}",
    )
