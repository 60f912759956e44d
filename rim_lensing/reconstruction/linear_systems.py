"""Observations as linear least-squares problems."""

from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.visibility_system import VisibilitySystem
from rim_lensing.observation.normalised import NormalisedObservation


def linear_system(
    observation: NormalisedObservation, lensing, index: int = 0
) -> LinearSystem | VisibilitySystem:
    """Return the linear system of one of the systems, on its rays.

    Args:
        observation: The systems.
        lensing: L of the one, see `NormalisedObservation.lensing_matrices`.
        index: Which.
    """
    if observation.visibilities is not None:
        return VisibilitySystem(lensing, observation.visibilities[index])
    return LinearSystem(
        lensing,
        observation.blur[index],
        observation.image[index],
        observation.noise[index],
        observation.ray_oversampling,
        observation.noise_correlation,
        None if observation.templates is None else observation.templates[index],
    )
