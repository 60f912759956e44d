"""Deflection angles of the mass components, one function each.

Arguments of every function are the parameters of its component in `mass_components`, in their
order and units, each a tensor that broadcasts with the positions, such as (batch, 1, 1); then the
positions x and y in arcsec, (rows, columns) or (batch, rows, columns). All return (alpha_x,
alpha_y), (batch, rows, columns), in arcsec. Values and gradients are finite everywhere, at the
centres, too.
"""

import math

from keras import ops

from rim_lensing.lensing.mass_profiles import SOFTENING, power_law

_POINT_SOFTENING = 1e-7
"""arcsec. As the deflection of a point mass goes as 1 / r, that of SOFTENING would be seen 0.02"
away; this one is wrong by 1e-5" at less than 0.002" from a mass of theta_E = 1"."""

_NEAR_SCALE_RADIUS = 0.2
"""|1 - x^2| below which the NFW's root is summed as a series: it is singular at x = 1."""

_SERIES_TERMS = 11
"""0.2^11 / 23 < 1e-8."""


def sie(theta_E, e1, e2, centre_x, centre_y, x, y):
    """Singular isothermal ellipsoid (Kormann et al. 1994)."""
    return power_law(theta_E, e1, e2, centre_x, centre_y, None, x, y)


def epl(theta_E, e1, e2, centre_x, centre_y, slope, x, y):
    """Elliptical power law (Tessore & Metcalf 2015)."""
    return power_law(theta_E, e1, e2, centre_x, centre_y, slope, x, y)


def shear(gamma1, gamma2, x, y):
    """External shear about the origin."""
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def sheet(kappa, x, y):
    """Uniform sheet of convergence, about the origin."""
    return kappa * x, kappa * y


def sis(theta_E, centre_x, centre_y, x, y):
    """Singular isothermal sphere: theta_E towards the centre, wherever."""
    zx, zy, radius = _relative(centre_x, centre_y, x, y)
    return theta_E * zx / radius, theta_E * zy / radius


def point_mass(theta_E, centre_x, centre_y, x, y):
    """Point mass: theta_E^2 / r (Schneider, Ehlers & Falco 1992, equation 8.1)."""
    zx, zy, radius = _relative(centre_x, centre_y, x, y, _POINT_SOFTENING)
    # One factor at a time: the square of the softened radius, squared again, leaves float32.
    strength = (theta_E / radius) * theta_E
    return strength * (zx / radius), strength * (zy / radius)


def nfw(alpha_Rs, Rs, centre_x, centre_y, x, y):
    """Spherical NFW halo (Bartelmann 1996; Wright & Brainerd 2000).

    alpha(r) = alpha_Rs g(u) / (u g(1)) with u = r / Rs and g(u) = ln(u / 2) + h(1 - u^2), where
    h(v) = artanh(sqrt v) / sqrt v. For u < 1 the two terms of g nearly cancel, and are joined:
    with s = sqrt(1 - u^2), g / u^2 = ln(2 / u) / (s (1 + s)) + log1p(-w) / (u^2 s),
    w = u^2 / (2 (1 + s)).
    """
    zx, zy, radius = _relative(centre_x, centre_y, x, y)
    u = radius / Rs
    v = 1 - u**2
    near = ops.abs(v) < _NEAR_SCALE_RADIUS
    inside, outside = (v > 0) & ~near, (v <= 0) & ~near
    # The branches that are not used must not yield a NaN either, or it poisons the gradient.
    s = ops.sqrt(ops.where(inside, v, 0.5))
    u_inside = ops.where(inside, u, math.sqrt(0.5))
    w = u_inside**2 / (2 * (1 + s))
    # log1p(-w) / w, whose two parts vanish together at the centre.
    ratio = ops.where(w > 1e-3, ops.log1p(-w) / ops.maximum(w, 1e-3), -(1 + w / 2 + w**2 / 3))
    over_inside = ops.log(2 / u_inside) / (s * (1 + s)) + ratio / (2 * s * (1 + s))
    root = ops.sqrt(ops.where(outside, -v, 1.0))
    v_near = ops.where(near, v, 0.0)
    series = sum(v_near**n / (2 * n + 1) for n in range(_SERIES_TERMS))
    h = ops.where(near, series, ops.arctan(root) / root)
    u_far = ops.where(inside, 1.0, u)
    over = ops.where(inside, over_inside, (ops.log(u_far / 2) + h) / u_far**2)
    # alpha / r, to be multiplied by the vector.
    factor = alpha_Rs / (Rs * (1 + math.log(0.5))) * over
    return factor * zx, factor * zy


def multipole(m: int):
    """Return the formula of a circular multipole (Xu et al. 2015, appendix B3): psi ~ r.

    m > 1: psi = r / (1 - m^2) (a1 cos(m phi) + a2 sin(m phi)).
    m = 1: psi = r ln(r) / 2 (a1 cos(phi) + a2 sin(phi)), r in arcsec; another unit would shift the
    source, and change nothing else.
    """
    return _dipole if m == 1 else lambda *arguments: _circular_multipole(m, *arguments)


def _dipole(a1, a2, centre_x, centre_y, x, y):
    zx, zy, radius = _relative(centre_x, centre_y, x, y)
    along = (a1 * zx + a2 * zy) / (2 * radius)
    logarithm = ops.log(radius) / 2
    return a1 * logarithm + along * zx / radius, a2 * logarithm + along * zy / radius


def _circular_multipole(m, a1, a2, centre_x, centre_y, x, y):
    zx, zy, radius = _relative(centre_x, centre_y, x, y)
    cosine, sine = zx / radius, zy / radius
    # cos(m phi) and sin(m phi): the power of a complex number, without an angle.
    real, imaginary = cosine, sine
    for _ in range(m - 1):
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    along = (a1 * real + a2 * imaginary) / (1 - m**2)
    across = m * (a2 * real - a1 * imaginary) / (1 - m**2)
    return along * cosine - across * sine, along * sine + across * cosine


def _relative(centre_x, centre_y, x, y, softening: float = SOFTENING):
    """Return the positions relative to a centre, and their softened distance from it."""
    zx, zy = x - centre_x, y - centre_y
    return zx, zy, ops.sqrt(zx**2 + zy**2 + softening**2)
