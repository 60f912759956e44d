"""What a sampler gives back: draws of the lens, and whether they can be trusted."""

import warnings
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from emcee.autocorr import integrated_time

from rim_lensing.lens_fit.intervals import LEVELS
from rim_lensing.lens_fit.lens_support import LensSupport
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel, read_form
from rim_lensing.notebooks import as_html
from rim_lensing.sampling.chain_file import ChainFile
from rim_lensing.simulation.priors import Priors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BURN_IN = 0.2
"""Fraction of the steps that are left out, the first."""

MIN_AUTOCORRELATION_TIMES = 50
"""emcee's own rule: a shorter chain does not even know its autocorrelation time."""

MAX_R_HAT = 1.05
"""Walkers that have not mixed, each in a maximum of its own, have short autocorrelation times."""


@dataclass(frozen=True, repr=False)
class LensChain:
    """Draws from the posterior of a lens, after the burn-in.

    p free parameters: theta_E, e1, e2, x, y, gamma1, gamma2 and, of an EPL, the slope; or those of
    a mass model that are neither held nor follow another. Lengths in arcsec. Walkers are emcee's,
    or the independent chains of NUTS.

    Args:
        walkers: Where every walker was at every step, (steps, walkers, p).
        log_posteriors: There, up to a constant, (steps, walkers).
        burn_in: Steps before these, which are left out.
        acceptance: Mean probability that a step is accepted.
        seconds: Of wall-clock time, interrupted runs included.
        source_model: Which reconstructed the sources.
        method: "emcee" or "nuts".
        cut_off: Parameters that run against an edge of the priors, see `LensSupport.pile_ups`.
        temperature: By which the log-likelihood was divided.
        data_sha256: Of image, noise and PSF; empty if it is not known.
        support: Where the lens could lie, without its distributions; None, in the ranges of priors
            for 7 or 8 numbers.
        form: Of the lens; None, 7 or 8 numbers.
    """

    walkers: np.ndarray
    log_posteriors: np.ndarray
    burn_in: int
    acceptance: float
    seconds: float
    source_model: str
    method: str
    cut_off: tuple[str, ...] = ()
    temperature: float = 1.0
    data_sha256: str = ""
    support: LensSupport | None = None
    form: MassModel | None = None

    def __repr__(self) -> str:
        """Return one line."""
        steps, walkers, _ = self.walkers.shape
        return (
            f"LensChain({self.title}: {steps} steps x {walkers} walkers after {self.burn_in} steps "
            f"of burn-in, {self.names[0]} = {self.mean[0]:.5g} +- {self.std[0]:.2g}, "
            f"{self._outcome})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: verdict, means and intervals, and the corner plot."""
        facts = {"of": self.title, "verdict": self.verdict, "draws": len(self.samples)}
        columns = zip(self.names, self.mean, self.std, *self.interval(0.68), strict=True)
        rows = [[name, *(f"{value:.4f}" for value in values)] for name, *values in columns]
        head = ["lens", "mean", "std", "68% from", "to"]
        return as_html("LensChain", facts, [head, *rows], self.corner())

    @classmethod
    def from_hdf5(cls, path: str | PathLike) -> "LensChain":
        """Read the chain that `sample_lens_posterior` writes, also one that is not complete.

        Raises:
            FileNotFoundError: There is no such file.
            FileHeldError: Another process keeps it open for writing, see `hdf5_files`.
            ValueError: It holds no chain.
        """
        return cls.from_file(ChainFile(path))

    @classmethod
    def from_file(cls, file: ChainFile) -> "LensChain":
        """Return what a file holds up to now; raises as `from_hdf5`."""
        steps = file.steps
        if not steps:
            raise ValueError(f"{file.path} holds no step yet")
        burn_in = max(int(BURN_IN * steps), min(int(file.note("warm_up")), steps - 1))
        # Of one moment: the chain may be growing.
        read = file.read(burn_in, steps)
        walkers = read.walkers
        priors, described = (file.description.get(name) for name in ("priors", "support"))
        support, form, edged = None, None, None
        if described:
            support = edged = LensSupport.from_dict(described)
            form = read_form(file.description["lens"])
        elif priors:
            edged = LensSupport.from_priors(Priors.from_dict(priors), walkers.shape[-1])
        cut_off = edged.pile_ups(walkers.reshape(-1, walkers.shape[-1])) if edged else ()
        return cls(
            walkers=walkers,
            log_posteriors=read.log_posteriors,
            burn_in=burn_in,
            acceptance=read.acceptance,
            seconds=file.note("seconds"),
            source_model=file.description["source_model"]["name"],
            method=file.description["method"],
            cut_off=cut_off,
            temperature=file.description.get("temperature", 1.0),
            data_sha256=file.description.get("image_noise_psf", ""),
            support=support,
            form=form,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the p parameters."""
        if self.support is not None:
            return self.support.names
        return (*PARAMETER_NAMES, "slope")[: self.walkers.shape[-1]]

    @property
    def mass_model(self) -> MassModel:
        """At the mean of every parameter, with those that are held or follow another."""
        if self.support is None:
            return SHORT_FORMS[len(self.mean)].with_values(self.mean)
        return self.form.with_values(self.support.expand(self.mean[None])[0])

    @property
    def title(self) -> str:
        """In legends: source model, method and, where it is not 1, temperature."""
        heat = "" if self.temperature == 1 else f", T = {self.temperature:g}"
        return f"{self.source_model} ({self.method}{heat})"

    @property
    def samples(self) -> np.ndarray:
        """All draws, (draws, p)."""
        return self.walkers.reshape(-1, self.walkers.shape[-1])

    @property
    def log_posterior(self) -> np.ndarray:
        """Of the draws, (draws,)."""
        return self.log_posteriors.reshape(-1)

    @property
    def mean(self) -> np.ndarray:
        """Of every parameter, (p,)."""
        return self.samples.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation, (p,)."""
        return self.samples.std(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Of the parameters, (p, p)."""
        return np.cov(self.samples, rowvar=False)

    def interval(self, level: float = LEVELS[0]) -> np.ndarray:
        """Return lower and upper end of the central interval of a probability, (2, p).

        Raises:
            ValueError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie between 0 and 1. Received: {level}")
        return np.quantile(self.samples, [(1 - level) / 2, (1 + level) / 2], axis=0)

    @property
    def autocorrelation_time(self) -> np.ndarray:
        """In steps, (p,): emcee's estimate, too small while the chain is short."""
        return autocorrelation_time(self.walkers)

    @property
    def effective_samples(self) -> np.ndarray:
        """Independent draws that know the mean as well, (p,)."""
        return len(self.samples) / self.autocorrelation_time

    @property
    def r_hat(self) -> np.ndarray:
        """See `r_hat`, (p,)."""
        return r_hat(self.walkers)

    @property
    def converged(self) -> bool:
        """The chain is longer than 50 autocorrelation times, and its walkers agree."""
        lengths = len(self.walkers) / self.autocorrelation_time
        # A parameter that has never moved has no autocorrelation time: NaN compares as False.
        return bool(
            np.all(lengths >= MIN_AUTOCORRELATION_TIMES) and np.all(self.r_hat <= MAX_R_HAT)
        )

    @property
    def verdict(self) -> str:
        """Converged, or not and what is missing, in words."""
        times = self.autocorrelation_time
        slowest = int(np.argmax(np.where(np.isfinite(times), times, np.inf)))
        found = f"{len(self.walkers)} steps after {self.burn_in} of burn-in "
        if np.isfinite(times[slowest]):
            found += (
                f"are {len(self.walkers) / times[slowest]:.0f} autocorrelation times of "
                f"{self.names[slowest]} ({times[slowest]:.1f} steps), R-hat is at most "
                f"{np.max(self.r_hat):.3f}"
            )
        else:
            found += f"never moved {self.names[slowest]}"
        if self.cut_off:
            found += f"; cut off by an edge of the priors in {', '.join(self.cut_off)}: widen them"
        if self.converged:
            return f"converged: {found}"
        return (
            f"NOT converged: {found}; {MIN_AUTOCORRELATION_TIMES} autocorrelation times and an "
            f"R-hat of at most {MAX_R_HAT} are wanted. Expect the estimate of the time to grow "
            "with the chain, and the intervals to be too narrow."
        )

    @property
    def _outcome(self) -> str:
        """How the verdict begins."""
        return self.verdict.partition(":")[0]

    def summary(self) -> dict:
        """Return the numbers, as JSON can hold them; those of a parameter by its name."""
        columns = {
            "mean": self.mean,
            "std": self.std,
            **{f"interval_{level:.0%}": self.interval(level).T for level in LEVELS},
            "r_hat": self.r_hat,
            "effective_samples": self.effective_samples,
            "autocorrelation_time": self.autocorrelation_time,
        }
        seconds = max(self.seconds, 1e-9)
        return {
            "source_model": self.source_model,
            "method": self.method,
            "temperature": self.temperature,
            "converged": self.converged,
            "verdict": self.verdict,
            "cut_off": list(self.cut_off),
            "draws": len(self.samples),
            "acceptance": self.acceptance,
            "seconds": self.seconds,
            "samples_per_second": len(self.samples) / seconds,
            "effective_samples_per_second": float(self.effective_samples.min() / seconds),
            "parameters": {
                name: {key: np.round(value[i], 8).tolist() for key, value in columns.items()}
                for i, name in enumerate(self.names)
            },
        }

    def corner(self, truth=None, other: "LensChain | None" = None) -> "Figure":
        """Draw the posterior of every pair of parameters, with its 68% and 95% contours (figure 9).

        The legend says whose they are, and whether they have converged; without `other` there are
        median and 68% interval above the diagonal.

        Args:
            truth: p numbers, drawn in blue.
            other: Another chain of the same parameters, drawn in red.

        Returns:
            A matplotlib Figure: `.savefig(path)` writes it.

        Raises:
            ValueError: `truth` or `other` has other parameters.

        Warns:
            UserWarning: `other` was made from another image, noise or PSF, as far as is known.
        """
        from rim_lensing.figures import lens_contours

        chains = [self] if other is None else [self, other]
        if other is not None and other.names != self.names:
            raise ValueError(
                f"`other` must have the parameters {self.names}. Received: {other.names}"
            )
        if truth is not None:
            truth = np.asarray(truth, "float64").reshape(-1)
            if len(truth) != len(self.names):
                raise ValueError(
                    f"`truth` must have the parameters {self.names}. Received: {len(truth)} numbers"
                )
        known = [chain.data_sha256 for chain in chains if chain.data_sha256]
        if len(set(known)) > 1:
            warnings.warn(
                "`other` was made from another image, noise or PSF, or with a Gaussian PSF on a "
                "kernel of another size, as models of other grids have: the two posteriors need "
                f"not agree. Received: {self.title} and {other.title}",
                UserWarning,
                stacklevel=2,
            )
        alike = len(chains) == 2 and self.title == other.title
        prefixes = ("this chain: ", "other: ") if alike else ("", "")
        return lens_contours(
            [chain.samples for chain in chains],
            [
                f"{prefix}{chain.title}, {chain._outcome}"
                for prefix, chain in zip(prefixes, chains, strict=False)
            ],
            self.names,
            truth,
        )


def autocorrelation_time(walkers: np.ndarray) -> np.ndarray:
    """Return the integrated autocorrelation times (p,) of walkers (steps, walkers, p), in steps.

    emcee's, after Goodman & Weare (2010); NaN of a parameter that has never moved.
    """
    times = np.full(walkers.shape[-1], np.nan)
    moved = np.any(np.ptp(walkers, axis=0) > 0, axis=0)
    # A walker that stands still has no autocorrelation function; the others have.
    for i in np.flatnonzero(moved):
        moving = np.ptp(walkers[:, :, i], axis=0) > 0
        times[i] = integrated_time(walkers[:, moving, i], tol=0)[0]
    return times


def r_hat(walkers: np.ndarray) -> np.ndarray:
    """Return the split potential scale reduction (p,) of walkers (steps, walkers, p).

    Gelman et al. (2013), section 11.4: 1 where the halves of all walkers have the same
    distribution, larger where they differ by more than their own scatter; NaN of a parameter that
    has never moved, or of fewer than 4 steps.
    """
    half = len(walkers) // 2
    if half < 2:
        return np.full(walkers.shape[-1], np.nan)
    halves = np.concatenate([walkers[:half], walkers[-half:]], axis=1)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = half * halves.mean(axis=0).var(axis=0, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt((half - 1) / half + between / (half * within))
