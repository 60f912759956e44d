"""What a linear inversion gives back."""

from dataclasses import dataclass, field

import numpy as np

from rim_lensing.results.in_words import as_range
from rim_lensing.results.result import Reconstruction


@dataclass(frozen=True, repr=False)
class LinearReconstruction(Reconstruction):
    """The most probable source under a quadratic prior. `history` has one step.

    Args:
        strength: lambda of the prior, in the image's unit to the power of -2: a number.
        log_evidence: log P(data | lens, PSF, strength, form of the prior), a number. Data are in
            the image's unit: only differences at the same image, mask and unit mean anything.
        log_evidence_error: Its standard error; 0 of the exact engine.
        source_std: Standard deviation of each source pixel given lens and strength, (n, n), in the
            image's unit; None if it was not wanted.
        source_flux_std: Standard deviation of the source's flux in constrained pixels, given lens
            and strength: of w's it is the root of w'A^-1 w. NaN if it is not known.
        model_flux_std: That of the flux of their images.
        total_magnification_std: That of the ratio of the two, to first order in the errors.
    """

    strength: float | np.ndarray
    log_evidence: float | np.ndarray
    log_evidence_error: float | np.ndarray
    source_std: np.ndarray | None
    source_flux_std: float | np.ndarray = field(default=np.nan, kw_only=True)
    model_flux_std: float | np.ndarray = field(default=np.nan, kw_only=True)
    total_magnification_std: float | np.ndarray = field(default=np.nan, kw_only=True)

    def _facts(self) -> list[str]:
        """Return what the repr says."""
        strength, evidence = as_range(self.strength), as_range(self.log_evidence, digits=7)
        return [*super()._facts(), f"strength {strength}", f"log evidence {evidence}"]

    @property
    def log_likelihood(self) -> float | np.ndarray:
        """The log evidence: chi^2 falls as long as the prior is allowed to weaken."""
        return self.log_evidence

    def metrics(self) -> dict[str, float | int | np.ndarray]:
        """Numbers about the reconstruction, those of `Reconstruction.metrics` and six more.

        Returns:
            Beside those: strength, log_evidence and log_evidence_error; source_flux_std,
            model_flux_std and total_magnification_std, NaN where the magnification is. For a batch
            (batch,) each.
        """
        numbers = super().metrics()
        names = ("strength", "log_evidence", "log_evidence_error")
        names += ("source_flux_std", "model_flux_std", "total_magnification_std")
        more = {name: getattr(self, name) for name in names}
        if self.is_batch:
            more = {name: np.broadcast_to(value, len(self)) for name, value in more.items()}
        unknown = np.isnan(numbers["total_magnification"])
        std = np.where(unknown, np.nan, more["total_magnification_std"])
        more["total_magnification_std"] = std if self.is_batch else std.item()
        return numbers | more

    def _source_flux_std(self) -> float | np.ndarray:
        return self.source_flux_std

    def _quality(self) -> dict[str, np.ndarray | None]:
        return super()._quality() | {"source_std": self.source_std}
