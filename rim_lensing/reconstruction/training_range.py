"""Is a system like those that a network was trained on? No Keras."""

import warnings

import numpy as np

from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity
from rim_lensing.lensing.mass_components import SIE, Shear
from rim_lensing.lensing.mass_model import Form, first_columns
from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.simulation.priors import Priors

_RANGE_TOLERANCE = 1.05

_MARGIN, _CENTRE_MARGIN = 1.0, 0.25
"""Standard deviations by which a prediction may lie outside: those of lenses near an edge scatter
about it. Not so the centre's, which shrink to the middle: of 300 mocks of lens_cnn_euclid64 none
was beyond its 0.05", and of lenses centred 0.08" to 0.12" away in x and in y 23% were, by this
margin, of those 0.15" to 0.2" away 44%."""


def warn_outside_training(observation: NormalisedObservation, priors: Priors) -> None:
    """Warn (UserWarning) of systems that the network has not been trained for.

    Looked at: the noise over the image's peak, the PSF's width, and the lens where it is known.

    Args:
        observation: The systems.
        priors: The ranges of the training set.
    """
    measured = {}
    if observation.lens is not None:
        measured = _lens_ranges(observation.lens.astype("float64"), observation.form, priors)
    measured |= {
        "noise rms over the brightest pixel": (observation.noise_level, priors.noise),
        "width sigma of the PSF (arcsec)": (observation.psf_sigma, priors.psf_sigma),
    }
    worse = "worse parameters" if observation.lens is None else "a worse source"
    for name, (values, (low, high)) in measured.items():
        outside = (values < low / _RANGE_TOLERANCE) | (values > high * _RANGE_TOLERANCE)
        if outside.any():
            warnings.warn(
                SystemsWarning(
                    f"The {name} is outside the range that the model was trained on, {low:g} to "
                    f"{high:g}{which_systems(outside)}: expect {worse}, and look at the residuals. "
                    f"Received: {values[outside][0]:.4g}",
                    outside,
                ),
                stacklevel=3,
            )


def warn_of_prediction(lens: np.ndarray, std: np.ndarray, priors: Priors) -> None:
    """Warn (UserWarning) of predicted lenses outside of what the network has been trained on.

    A network has learned not to answer beyond its range: such a lens may lie further out.

    Args:
        lens: (batch, 7).
        std: (batch, 7).
        priors: The ranges of the training set.
    """
    crop = "crop the image around the lens, and predict again"
    doubt = "do not trust its interval, and look at the residuals"
    flattest, roundest = ((1 - q) / (1 + q) for q in priors.axis_ratio)
    measured = {
        "theta_E (arcsec)": (lens[:, 0], std[:, 0], priors.theta_E, _MARGIN, doubt),
        "|e| of the lens": (
            *_modulus(lens[:, 1:3], std[:, 1:3]),
            (roundest, flattest),
            _MARGIN,
            doubt,
        ),
        "x of the lens (arcsec)": (lens[:, 3], std[:, 3], priors.centre, _CENTRE_MARGIN, crop),
        "y of the lens (arcsec)": (lens[:, 4], std[:, 4], priors.centre, _CENTRE_MARGIN, crop),
        "external shear": (*_modulus(lens[:, 5:7], std[:, 5:7]), priors.shear, _MARGIN, doubt),
    }
    for name, (values, errors, (low, high), margin, advice) in measured.items():
        outside = (values < low - margin * errors) | (values > high + margin * errors)
        if outside.any():
            warnings.warn(
                SystemsWarning(
                    f"The predicted {name} is outside the range that the network was trained on, "
                    f"{low:g} to {high:g}{which_systems(outside)}, and may lie further out still: "
                    f"{advice}. Received: {values[outside][0]:.4g} +- {errors[outside][0]:.2g}",
                    outside,
                ),
                stacklevel=3,
            )


def _modulus(pair: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the moduli of vectors (batch, 2) and their standard deviations, (batch,) each."""
    modulus = np.hypot(*pair.T)
    return modulus, np.hypot(*(pair * std).T) / np.where(modulus > 0, modulus, 1)


def _lens_ranges(lens: np.ndarray, form: Form, priors: Priors) -> dict[str, tuple]:
    """Return, by name, what lenses have and the range that it should be in.

    Of mass models the first ellipsoid and the first shear are looked at, as training had one each;
    of given deflections nothing is known.

    Args:
        lens: (batch, p).
        form: Which reads it.
        priors: The ranges of the training set.
    """
    measured = {}
    ellipsoid, shear = (first_columns(form, kind) for kind in (SIE, Shear))
    if ellipsoid:
        theta_E, e1, e2, x, y, *slope = lens[:, ellipsoid].T
        axis_ratio, _ = axis_ratio_from_ellipticity(e1, e2)
        furthest = max(abs(bound) for bound in priors.centre)
        measured |= {
            "theta_E (arcsec)": (theta_E, priors.theta_E),
            "axis ratio of the lens": (axis_ratio, priors.axis_ratio),
            "lens centre (arcsec from the origin)": (
                np.maximum(np.abs(x), np.abs(y)),
                (0.0, furthest),
            ),
            "slope of the lens": (slope[0] if slope else np.ones(len(lens)), (1.0, 1.0)),
        }
    if shear:
        measured["external shear"] = (np.hypot(*lens[:, shear].T), priors.shear)
    return measured
