"""What a linear inversion gives back."""

from dataclasses import dataclass

import numpy as np

from rim_lensing.reconstruction.result import Reconstruction, as_range


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
    """

    strength: float | np.ndarray
    log_evidence: float | np.ndarray
    log_evidence_error: float | np.ndarray
    source_std: np.ndarray | None

    def _facts(self) -> list[str]:
        """Return what the repr says."""
        strength, evidence = as_range(self.strength), as_range(self.log_evidence, digits=7)
        return [*super()._facts(), f"strength {strength}", f"log evidence {evidence}"]

    def metrics(self) -> dict[str, float | int | np.ndarray]:
        """Numbers about the reconstruction, those of `Reconstruction.metrics` and three more.

        Returns:
            Beside those: strength, log_evidence and log_evidence_error; for a batch (batch,) each.
        """
        names = ("strength", "log_evidence", "log_evidence_error")
        return super().metrics() | {name: getattr(self, name) for name in names}

    def _quality(self) -> dict[str, np.ndarray | None]:
        return super()._quality() | {"source_std": self.source_std}
