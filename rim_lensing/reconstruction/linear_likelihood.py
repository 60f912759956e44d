"""The evidence of a linear inversion as the likelihood of the lens."""

from collections.abc import Callable

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.inversion.evidence import Engine, NoMaximumError, log_evidence, maximise_evidence
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.lens_likelihood import LensLikelihood
from rim_lensing.reconstruction.linear_systems import linear_system


class LinearLikelihood(LensLikelihood):
    """The log evidence, which integrates over all sources.

    And never chi^2: that falls as long as the source is allowed to follow the noise, whatever the
    lens. Without a strength, every lens is judged at the strength of its own largest evidence. A
    lens for which a strength that is held is too weak for double precision has no evidence: -inf.

    Args:
        observation: See `LensLikelihood`.
        geometry: Grids and supersampling.
        engine: Makes the engine of a linear system.
        strength: lambda in the image's unit to the power of -2, or None.
        caveat: See `LensLikelihood`.
    """

    def __init__(
        self,
        observation: NormalisedObservation,
        geometry: Geometry,
        engine: Callable[[LinearSystem], Engine],
        strength: float | None,
        caveat: str = "",
    ):
        """Keep the choices; what does not depend on the lens is made at the first one."""
        super().__init__(observation)
        self._geometry, self._engine, self._strength = geometry, engine, strength
        self._system: LinearSystem | None = None
        self.caveat = caveat

    def values(self, lenses: np.ndarray) -> np.ndarray:
        """See `LensLikelihood.values`."""
        seen, values = self.observation, []
        for part, count in self.batches(lenses):
            for lensing in part.lensing_matrices(self._geometry)[:count]:
                if self._system is None:
                    self._system = linear_system(seen, lensing)
                values.append(self._log_evidence(self._system.with_lensing(lensing)))
        return np.array(values)

    def _log_evidence(self, system: LinearSystem) -> float:
        engine = self._engine(system)
        if self._strength is not None:
            # The user's is in the image's own unit.
            strength = self._strength * float(self.observation.flux_unit[0]) ** 2
            try:
                return log_evidence(engine, engine.held_terms(strength))[0]
            except np.linalg.LinAlgError:
                return -np.inf
        try:
            strength = maximise_evidence(engine)
        except NoMaximumError:
            # A lens that leads no data to the source: the evidence is that of no source.
            constants = system.n_data * np.log(2 * np.pi) / 2 + system.log_noise
            return float(-0.5 * system.square() - constants)
        return log_evidence(engine, engine.terms(strength))[0]
