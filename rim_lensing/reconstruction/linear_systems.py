"""Observations as linear least-squares problems."""

from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.observation.normalised import NormalisedObservation


def linear_system(observation: NormalisedObservation, lensing, index: int = 0) -> LinearSystem:
    """Return the linear system of one of the systems, on its rays.

    Args:
        observation: The systems.
        lensing: L of the one, see `NormalisedObservation.lensing_matrices`.
        index: Which.
    """
    return LinearSystem(
        lensing,
        observation.blur[index],
        observation.image[index],
        observation.noise[index],
        observation.ray_oversampling,
        observation.noise_correlation,
    )
