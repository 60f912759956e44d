"""The likelihood of a lens by the source of a RIM: as it is, or integrated over its error."""

import copy
from collections.abc import Iterator

import numpy as np
from keras import ops

from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.compiled_rim import CompiledRIM
from rim_lensing.reconstruction.lens_likelihood import LensLikelihood
from rim_lensing.reconstruction.linear_systems import linear_system
from rim_lensing.reconstruction.refinement import best_strength, log_marginal_likelihood


class RIMLikelihood(LensLikelihood):
    """-chi^2 / 2 of the RIM's source; arguments are the RIM, and that of `LensLikelihood`."""

    differentiable = least_squares = True

    def __init__(self, model: CompiledRIM, observation: NormalisedObservation):
        """Keep the RIM."""
        super().__init__(observation)
        # Visibilities are kept as chi^2 alone.
        self.least_squares = observation.visibilities is None
        self._model = model

    def values(self, lenses: np.ndarray) -> np.ndarray:
        """See `LensLikelihood.values`."""
        parts = [self._model.log_likelihood(part)[:count] for part, count in self.batches(lenses)]
        return np.concatenate(parts).astype("float64")

    def values_and_gradients(self, lenses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `LensLikelihood.differentiable`; the source follows the lens."""
        answers = [
            [each[:count] for each in self._model.log_likelihood_and_gradient(part)]
            for part, count in self.batches(lenses)
        ]
        values, slopes = (np.concatenate(each) for each in zip(*answers, strict=True))
        return values.astype("float64"), slopes.astype("float64")

    def residuals(self, lenses: np.ndarray) -> np.ndarray:
        """See `LensLikelihood.least_squares`."""
        geometry, parts = self._model.geometry, []
        used = self.observation.mask[0]
        for part, count in self.batches(lenses):
            model = part.forward_model(geometry)
            predicted = ops.convert_to_numpy(model.predict(self._model.run(part)[:, -1]))
            residual = (part.image - predicted).astype("float64") / part.noise
            parts.append(part.whitened(residual)[:count, used])
        return np.concatenate(parts)


class RefinedLikelihood(LensLikelihood):
    """The likelihood of a RIM's source, integrated over what may be wrong with it.

    A RIM's source is one estimate. Its own error is that of `refinement`, a Gaussian field of a
    fraction of its brightness, and the likelihood of a lens integrates over it. The fraction is
    found at one lens, see `held_at`, by default the first that is asked for, and then held. It
    costs five to ten times the RIM. Arguments are those of `RIMLikelihood`.
    """

    def __init__(self, model: CompiledRIM, observation: NormalisedObservation):
        """Keep the RIM."""
        super().__init__(observation)
        self._model, self._strength = model, None

    def held_at(self, lens: np.ndarray) -> "RefinedLikelihood":
        """Return the likelihood with the fraction of the largest evidence at this lens, (p,).

        One that holds a fraction already keeps it.
        """
        if self._strength is not None:
            return self
        other = copy.copy(self)
        other._strength = best_strength(*next(self._systems(np.asarray(lens)[None])))
        return other

    def values(self, lenses: np.ndarray) -> np.ndarray:
        """See `LensLikelihood.values`."""
        if self._strength is None:
            self._strength = self.held_at(lenses[0])._strength
        return np.array(
            [log_marginal_likelihood(*one, self._strength) for one in self._systems(lenses)]
        )

    def _systems(self, lenses: np.ndarray) -> Iterator[tuple[LinearSystem, np.ndarray]]:
        """Yield the linear system of every lens, and the RIM's source behind it."""
        seen, system = self.observation, None
        for part, count in self.batches(lenses):
            sources = self._model.run(part)[:count, -1]
            matrices = part.lensing_matrices(self._model.geometry)[:count]
            for lensing, source in zip(matrices, sources, strict=True):
                if system is None:
                    system = linear_system(seen, lensing)
                yield system.with_lensing(lensing), source
