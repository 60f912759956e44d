"""When an ellipsoid's slope is worth a parameter, and an SIE as a power law."""

import numpy as np

from rim_lensing.lensing.mass_model import SHORT_FORMS, MassModel


def price_of_slope(used_pixels: int) -> float:
    """Return ln(N) / 2, by which the log-posterior must rise for a slope to be kept.

    The price of a parameter by Schwarz's criterion (1978).

    Args:
        used_pixels: N.
    """
    return 0.5 * float(np.log(used_pixels))


def as_power_law(lens: MassModel) -> MassModel:
    """Return an SIE in shear as an EPL of slope 1; any other lens as it is."""
    if lens.form != SHORT_FORMS[7]:
        return lens
    return SHORT_FORMS[8].with_values(np.append(lens.values, 1.0))
