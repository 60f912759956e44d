"""What the raw mocks are made of: every number of a mock, drawn from its index alone.

The sky's brightness and all lights are in units of the sky's rms until the telescope's own unit is
put on at the end; lengths are in arcsec, angles in radians counter-clockwise from +x.
"""

import numpy as np

SEED = 2_008_682_964
"""Of the SLACS lenses, ApJ 682, 964 (2008); used by nothing else in this repository."""

FROZEN = 200
"""Mocks 0 to 199 are measured on, and nothing is tuned on them."""

DEVELOPMENT = 1000
"""Mocks from here on are for tuning; those between are nobody's."""

KINDS = {"elliptical": 17, "ring": 18, "quasar": 19}
"""Of twenty mocks in a row, which one is no galaxy-galaxy lens: a galaxy alone, a ring galaxy, a
lensed quasar. The others are lenses."""

RIGHT_VERDICTS = {
    "lens": ("converged", "converged, lens uncertain"),
    "elliptical": ("no lensed arcs found",),
    "ring": ("no lensed arcs found", "not noise"),
    "quasar": ("point-like images",),
}

INSTRUMENTS = {
    # share, pixels, pixel scale, FWHM of the Moffat PSF, sky rms (electrons/s), exposure (s)
    "hst": (0.7, 201, 0.05, 0.10, 0.008, 2200.0),
    "euclid": (0.15, 101, 0.10, 0.16, 0.004, 2260.0),
    "jwst": (0.15, 201, 0.04, 0.07, 0.004, 1800.0),
}

NEAREST_NEIGHBOUR = 2.9
"""arcsec from the lens, and 1.2 arcsec beyond its Einstein radius: nearer, nobody can tell one from
a lensed image by its place."""


def kind_of(index: int) -> str:
    """Return what a mock shows: "lens", "elliptical", "ring" or "quasar".

    Args:
        index: Of the mock.
    """
    named = {place: kind for kind, place in KINDS.items()}
    return named.get(index % 20, "lens")


def draw_truth(index: int) -> tuple[dict, np.random.Generator]:
    """Return every number of a mock, and the generator that its pixels are drawn from next.

    Args:
        index: Of the mock, 0 or more.

    Raises:
        ValueError: It is no such integer.
    """
    if int(index) != index or index < 0:
        raise ValueError(f"`index` must be an integer of at least 0. Received: {index!r}")
    draw = np.random.default_rng([SEED, int(index)])
    names, shares = list(INSTRUMENTS), [row[0] for row in INSTRUMENTS.values()]
    instrument = str(draw.choice(names, p=shares))
    _, side, scale, fwhm, rms, exposure = INSTRUMENTS[instrument]
    truth = {
        "index": int(index),
        "kind": kind_of(index),
        "right_verdicts": list(RIGHT_VERDICTS[kind_of(index)]),
        "instrument": instrument,
        "side": side,
        "pixel_scale": scale,
        "rms": rms,
        "exposure": exposure,
        "psf": {"fwhm": fwhm * _uniform(draw, 0.9, 1.1), "beta": _uniform(draw, 2.5, 4.0)},
    }
    light = truth["light"] = _galaxy(draw)
    lens = truth["lens"] = _lens(draw, light)
    truth["source"] = {
        "half_light_radius": _uniform(draw, 0.08, 0.35),
        "radius": lens["theta_E"] * 0.3 * np.sqrt(draw.uniform()),
        "direction": _uniform(draw, 0, 2 * np.pi),
        "turn": _uniform(draw, 0, 2 * np.pi),
        "peak_signal_to_noise": _log_uniform(draw, 8, 40),
    }
    truth["ring"] = {
        "radius": _uniform(draw, 0.9, 1.7),
        "width": _uniform(draw, 0.08, 0.2),
        "axis_ratio": _uniform(draw, 0.75, 1.0),
        "knots": int(draw.integers(5, 14)),
        "knots_share": _uniform(draw, 0.2, 0.8),
    }
    truth["quasar_to_rms"] = _log_uniform(draw, 100, 600)
    half, nearest = side * scale / 2, max(NEAREST_NEIGHBOUR, lens["theta_E"] + 1.2)
    number = int(draw.poisson(2.5))
    truth["neighbours"] = [_neighbour(draw, half, nearest) for _ in range(number)]
    number = int(draw.poisson(0.5))
    truth["stars"] = [
        {**_place(draw, half, nearest), "peak_to_rms": _log_uniform(draw, 10, 1000)}
        for _ in range(number)
    ]
    wide = draw.uniform() < 0.4
    truth["sky_to_rms"] = _uniform(draw, 1, 8) if wide else 0.3 * float(draw.normal())
    truth["correlated"] = _uniform(draw, 0.08, 0.18)
    right_map = draw.uniform() < 0.3
    factor = 1.0 if right_map else _log_uniform(draw, 0.7, 1.7)
    truth["noise_map_factor"] = factor
    rays = draw.uniform() < 0.4
    truth["cosmic_rays"] = int(draw.integers(5, 40)) if rays else 0
    truth["rays_masked"] = bool(draw.uniform() < 0.5)
    truth["dead_columns"] = int(draw.integers(1, 3)) if draw.uniform() < 0.1 else 0
    return truth, draw


def _galaxy(draw: np.random.Generator) -> dict:
    """Return a bulge and a disc of other ellipticity and angle: isophotes that twist."""
    angle = _uniform(draw, 0, np.pi)
    bulge = {
        "R_sersic": _uniform(draw, 0.35, 1.0),
        "n_sersic": _uniform(draw, 2.5, 5.0),
        "axis_ratio": _uniform(draw, 0.65, 0.97),
        "angle": angle,
    }
    disc = {
        "R_sersic": _uniform(draw, 1.5, 3.5),
        "n_sersic": 1.0,
        "axis_ratio": _uniform(draw, 0.45, 0.95),
        "angle": angle + _uniform(draw, -0.5, 0.5),
    }
    return {
        "x": 0.05 * float(draw.normal()),
        "y": 0.05 * float(draw.normal()),
        "bulge": bulge,
        "disc": disc,
        "disc_share_at_2": _uniform(draw, 0.2, 0.8),
        "brightness_at_2_to_rms": _log_uniform(draw, 3, 25),
    }


def _lens(draw: np.random.Generator, light: dict) -> dict:
    """Return a power law near the light, and shear, by the package's parameter names."""
    ratio = float(np.clip(light["bulge"]["axis_ratio"] + 0.07 * draw.normal(), 0.6, 0.98))
    angle = light["bulge"]["angle"] + 0.15 * float(draw.normal())
    size = (1 - ratio) / (1 + ratio)
    shear, direction = min(float(draw.rayleigh(0.03)), 0.1), _uniform(draw, 0, np.pi)
    return {
        "theta_E": _uniform(draw, 0.7, 1.8),
        "e1": size * np.cos(2 * angle),
        "e2": size * np.sin(2 * angle),
        "x": light["x"] + 0.01 * float(draw.normal()),
        "y": light["y"] + 0.01 * float(draw.normal()),
        "gamma1": shear * np.cos(2 * direction),
        "gamma2": shear * np.sin(2 * direction),
        "slope": _uniform(draw, 0.8, 1.3),
    }


def _neighbour(draw: np.random.Generator, half: float, nearest: float) -> dict:
    """Return a Sersic galaxy somewhere around the lens."""
    return {
        **_place(draw, half, nearest),
        "R_sersic": _log_uniform(draw, 0.1, 0.5),
        "n_sersic": _uniform(draw, 0.8, 4.0),
        "axis_ratio": _uniform(draw, 0.35, 1.0),
        "angle": _uniform(draw, 0, np.pi),
        "peak_to_rms": _log_uniform(draw, 5, 150),
    }


def _place(draw: np.random.Generator, half: float, nearest: float) -> dict:
    """Return a place in the frame that is not near the lens."""
    while True:
        x, y = draw.uniform(-half, half, 2)
        if np.hypot(x, y) > nearest:
            return {"x": float(x), "y": float(y)}


def _uniform(draw: np.random.Generator, low: float, high: float) -> float:
    return float(draw.uniform(low, high))


def _log_uniform(draw: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(draw.uniform(np.log(low), np.log(high))))
