"""What Algorithm 1 finds: one round after the other, and which of them is the answer."""

from dataclasses import dataclass

import numpy as np

from rim_lensing.lens_fit.lens_predictor import LensPrediction
from rim_lensing.lens_fit.residual_test import ResidualTest
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.reconstruction.linear_result import LinearReconstruction
from rim_lensing.reconstruction.result import Reconstruction, named_lens


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
        demagnified: The lens magnifies less than the priors allow, see `LensOptimum`.
        edges: Parameters on an edge of the priors.
        form: Of the lens; by default that of 7 or 8 numbers.
    """

    lens: np.ndarray
    reconstruction: Reconstruction | None
    test: ResidualTest | None
    starts: int
    evaluations: int
    demagnified: bool
    edges: tuple[str, ...]
    form: MassModel | None = None

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

        -chi^2 / 2 of a RIM's source; of a linear one the log evidence: chi^2 falls as long as the
        prior is allowed to weaken.
        """
        if self.reconstruction is None:
            return -np.inf
        if isinstance(self.reconstruction, LinearReconstruction):
            return float(self.reconstruction.log_evidence)
        return -0.5 * float(self.reconstruction.chi2) * int(self.reconstruction.mask.sum())

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
            magnified = self.reconstruction.metrics()["total_magnification"]
            said.append(
                f"the lens hardly magnifies, {magnified:.2f} times: the source is the arcs, shrunk"
            )
        if self.edges:
            said.append(f"on the edge of the priors: {', '.join(self.edges)}")
        return "; ".join(said)

    @property
    def advice(self) -> str:
        """What to do about the findings; empty where nothing is known."""
        said = []
        if self.demagnified:
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


def conclude(rounds: list[Round], first: str, optimisations: int | None = None) -> AutomatedFit:
    """Say how it ended; the first lens was "predicted" or "given"."""
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
    found = "; ".join(filter(None, [best.findings, best.advice]))
    stopped = "" if converged or not nothing_better(rounds) else "; no start finds a better lens"
    return AutomatedFit(
        lens=best.lens,
        reconstruction=best.reconstruction,
        rounds=tuple(rounds),
        converged=converged,
        verdict=f"{outcome} {how}{plural}: {found}{stopped}",
    )
