"""Is a system like those that a network was trained on? No Keras."""

import warnings

import numpy as np

from rim_lensing.inference.observation import Observation, which_systems
from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity
from rim_lensing.simulation.priors import Priors

_RANGE_TOLERANCE = 1.05


def warn_outside_training(observation: Observation, priors: Priors) -> None:
    """Warn (UserWarning) of systems that the network has not been trained for.

    Looked at: the noise over the image's peak, the PSF's width, and the lens where it is known.

    Args:
        observation: The systems.
        priors: The ranges of the training set.
    """
    measured = {} if observation.lens is None else _lens_ranges(observation.lens, priors)
    measured |= {
        "noise rms over the brightest pixel": (observation.noise_level, priors.noise),
        "width sigma of the PSF (arcsec)": (observation.psf_sigma, priors.psf_sigma),
    }
    worse = "worse parameters" if observation.lens is None else "a worse source"
    for name, (values, (low, high)) in measured.items():
        outside = (values < low / _RANGE_TOLERANCE) | (values > high * _RANGE_TOLERANCE)
        if outside.any():
            warnings.warn(
                f"The {name} is outside the range that the model was trained on, {low:g} to "
                f"{high:g}{which_systems(outside)}: expect {worse}, and look at the residuals. "
                f"Received: {values[outside][0]:.4g}",
                UserWarning,
                stacklevel=3,
            )


def _lens_ranges(lens: np.ndarray, priors: Priors) -> dict[str, tuple]:
    """Return, by name, what lenses (batch, 7 or 8) have and the range that it should be in."""
    axis_ratio, _ = axis_ratio_from_ellipticity(lens[:, 1], lens[:, 2])
    furthest = max(abs(bound) for bound in priors.centre)
    slope = lens[:, 7] if lens.shape[1] == 8 else np.ones(len(lens))
    return {
        "theta_E (arcsec)": (lens[:, 0], priors.theta_E),
        "axis ratio of the lens": (axis_ratio, priors.axis_ratio),
        "lens centre (arcsec from the origin)": (
            np.abs(lens[:, 3:5]).max(axis=1),
            (0.0, furthest),
        ),
        "external shear": (np.hypot(lens[:, 5], lens[:, 6]), priors.shear),
        "slope of the lens": (slope, (1.0, 1.0)),
    }
