"""Deflection, convergence and Jacobian of an elliptical power law in external shear.

All of it is written with complex positions z = x + iy relative to the lens centre and a complex
ellipticity e = e1 + i e2. With w = z - e z*, and b = theta_E sqrt(1 - |e|^2), the power law of
Tessore & Metcalf (2015, their equations 2, 22 and 23) reads, without any angle or rotation,

    kappa = (2 - t) / 2 (b / |w|)^t
    alpha = b (b / |w|)^(t - 1) (w / |w|) 2F1(1, t/2; 2 - t/2; -e* w / w*)

theta_E is that of the intermediate axis. Both are analytic in e, so that values and gradients are
finite at q = 1, on the axes and (with a softening of |w|) at the lens centre. At t = 1 the
hypergeometric function is arctan(u) / u with u^2 = e* w / w*: the SIE of Kormann et al. (1994).
"""

from keras import ops

SOFTENING = 1e-5
"""Softening of |w| in arcsec: what makes the gradient finite at the lens centre."""

_SERIES_TERMS = 56
"""|e|^56 < 1e-7 up to |e| = MAX_ELLIPTICITY."""

_ROUND_ELLIPTICITY = 0.05
"""Ellipticity below which the arctangent is summed as a series: its root is singular at 0."""


def columns(lens) -> list:
    """Split a (batch, 7 or 8) lens array into its columns, each (batch, 1, 1)."""
    return [lens[:, i, None, None] for i in range(lens.shape[-1])]


def deflection(lens, x, y):
    """Deflection angle of the lens, equation 4's alpha.

    Args:
        lens: Float tensor (batch, 7) for SIE + shear, or (batch, 8) with the slope for EPL +
            shear; its dtype is that of the answer. The values are not checked, see
            `lens_parameters`.
        x: (rows, columns) or (batch, rows, columns), arcsec.
        y: Like x.

    Returns:
        (alpha_x, alpha_y), each (batch, rows, columns), arcsec.
    """
    gamma1, gamma2 = columns(lens)[5:7]
    x, y = ops.cast(x, lens.dtype), ops.cast(y, lens.dtype)
    alpha_x, alpha_y = power_law(*_power_law_columns(lens), x, y)
    return alpha_x + gamma1 * x + gamma2 * y, alpha_y + gamma2 * x - gamma1 * y


def power_law(theta_E, e1, e2, centre_x, centre_y, slope, x, y):
    """Deflection angle of the ellipsoid alone, without shear.

    Args:
        theta_E: Einstein radius in arcsec, a tensor that broadcasts with x and y, such as
            (batch, 1, 1); so are the next four, see `lens_parameters`.
        e1: Ellipticity.
        e2: Ellipticity.
        centre_x: arcsec.
        centre_y: arcsec.
        slope: t, likewise; None is 1, and cheaper: the SIE.
        x: (rows, columns) or (batch, rows, columns), arcsec.
        y: Like x.

    Returns:
        (alpha_x, alpha_y), each (batch, rows, columns), arcsec.
    """
    _, (wx, wy), radius, b = _elliptical_coordinates(theta_E, e1, e2, centre_x, centre_y, x, y)
    nx, ny = wx / radius, wy / radius
    if slope is None:
        real, imaginary = _arctan_ratio(e1, e2, nx, ny)
    else:
        real, imaginary = _hypergeometric(slope, *_argument(e1, e2, nx, ny))
    amplitude = _amplitude(slope, b, radius)
    return amplitude * (nx * real - ny * imaginary), amplitude * (nx * imaginary + ny * real)


def convergence(lens, x, y):
    """Convergence kappa of the lens; arguments as in `deflection`, returns (batch, rows, columns).

    The softening bounds it at the lens centre.
    """
    x, y = ops.cast(x, lens.dtype), ops.cast(y, lens.dtype)
    *ellipsoid, slope = _power_law_columns(lens)
    _, _, radius, b = _elliptical_coordinates(*ellipsoid, x, y)
    return (2 - _number(slope)) / 2 * _amplitude(slope, b, radius) / radius


def inverse_magnification(lens, x, y):
    """Determinant of the lens mapping's Jacobian, (1 - kappa)^2 - |gamma|^2; 0 on critical curves.

    Arguments as in `deflection`; returns (batch, rows, columns). The internal shear of the power
    law is gamma = -kappa z / z* + (1 - t) alpha / z* (Tessore & Metcalf 2015, equation 17 as
    corrected in the corrigendum).
    """
    x, y = ops.cast(x, lens.dtype), ops.cast(y, lens.dtype)
    gamma1, gamma2 = columns(lens)[5:7]
    *ellipsoid, slope = _power_law_columns(lens)
    (zx, zy), _, _, _ = _elliptical_coordinates(*ellipsoid, x, y)
    squared = zx**2 + zy**2 + SOFTENING**2
    alpha_x, alpha_y = power_law(*ellipsoid, slope, x, y)
    kappa, slope = convergence(lens, x, y), _number(slope)
    shear1 = -kappa * (zx**2 - zy**2) / squared
    shear2 = -kappa * 2 * zx * zy / squared
    shear1 = shear1 + (1 - slope) * (alpha_x * zx - alpha_y * zy) / squared + gamma1
    shear2 = shear2 + (1 - slope) * (alpha_x * zy + alpha_y * zx) / squared + gamma2
    return (1 - kappa) ** 2 - shear1**2 - shear2**2


def _power_law_columns(lens) -> list:
    """Return the arguments of `power_law` up to the slope, None of an SIE."""
    split = columns(lens)
    return [*split[:5], split[7] if len(split) == 8 else None]


def _number(slope):
    return 1.0 if slope is None else slope


def _elliptical_coordinates(theta_E, e1, e2, centre_x, centre_y, x, y):
    """Return z = (zx, zy), w = (wx, wy), softened |w| and b; see the module's docstring."""
    zx, zy = x - centre_x, y - centre_y
    wx = zx - (e1 * zx + e2 * zy)
    wy = zy - (e2 * zx - e1 * zy)
    radius = ops.sqrt(wx**2 + wy**2 + SOFTENING**2)
    b = theta_E * ops.sqrt(1 - e1**2 - e2**2)
    return (zx, zy), (wx, wy), radius, b


def _amplitude(slope, b, radius):
    """b (b / |w|)^(t - 1), made linear in b below the softening.

    For t < 1 the gradient of b^t is infinite at b = 0.
    """
    if slope is None:
        return b
    return b * (ops.maximum(b, SOFTENING) / radius) ** (slope - 1)


def _argument(e1, e2, nx, ny):
    """Real and imaginary part of -e* w / w* = -e* n^2."""
    real, imaginary = nx**2 - ny**2, 2 * nx * ny
    return -(e1 * real + e2 * imaginary), -(e1 * imaginary - e2 * real)


def _hypergeometric(slope, real, imaginary, terms: int = _SERIES_TERMS):
    """2F1(1, t/2; 2 - t/2; real + i imaginary) by its series."""
    term = (ops.ones_like(real), ops.zeros_like(imaginary))
    total = term
    for n in range(terms):
        ratio = (n + slope / 2) / (n + 2 - slope / 2)
        term = (
            ratio * (term[0] * real - term[1] * imaginary),
            ratio * (term[0] * imaginary + term[1] * real),
        )
        total = (total[0] + term[0], total[1] + term[1])
    return total


def _arctan_ratio(e1, e2, nx, ny):
    """Real and imaginary part of arctan(u) / u with u^2 = e* n^2, |n| = 1."""
    squared = e1**2 + e2**2
    is_round = squared < _ROUND_ELLIPTICITY**2
    series = _hypergeometric(1.0, *_argument(e1, e2, nx, ny), terms=6)
    # The branch that is not used must not yield a NaN either, or it poisons the gradient.
    e1, e2 = ops.where(is_round, _ROUND_ELLIPTICITY, e1), ops.where(is_round, 0.0, e2)
    root, angle = (e1**2 + e2**2) ** 0.25, ops.arctan2(e2, e1) / 2
    cosine, sine = ops.cos(angle), ops.sin(angle)
    a = root * (cosine * nx + sine * ny)
    b = root * (cosine * ny - sine * nx)
    modulus2 = a**2 + b**2
    arctan_real = 0.5 * ops.arctan2(2 * a, 1 - modulus2)
    # Equal to artanh(2 b / (1 + |u|^2)) / 2, which loses digits where its argument nears 1.
    arctan_imaginary = 0.5 * ops.arcsinh(2 * b / ops.sqrt((1 - modulus2) ** 2 + 4 * a**2))
    # |n| falls below 1 inside the softening, where u tends to 0 and arctan(u) / u to 1.
    at_centre = modulus2 < 1e-4 * root**2
    divisor = ops.where(at_centre, 1.0, modulus2)
    real = (arctan_real * a + arctan_imaginary * b) / divisor
    imaginary = (arctan_imaginary * a - arctan_real * b) / divisor
    real, imaginary = ops.where(at_centre, 1.0, real), ops.where(at_centre, 0.0, imaginary)
    return ops.where(is_round, series[0], real), ops.where(is_round, series[1], imaginary)
