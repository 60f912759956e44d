"""Raw cutouts whose parts are known: Sersic profiles of lenstronomy behind a Gaussian PSF."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

SIDE, SCALE, PSF = 161, 0.05, 0.045
RMS, SKY = 0.01, 0.03


@dataclass
class Raw:
    """An image, its noise, and where its parts are."""

    image: np.ndarray
    noise: np.ndarray
    centre: tuple
    parts: dict

    def arguments(self):
        return {"image": self.image, "noise": self.noise, "psf": PSF, "pixel_scale": SCALE}


def sersic(side, scale, **parameters):
    """Lenstronomy's Sersic profile, averaged over 3 x 3 points a pixel."""
    from lenstronomy.LightModel.Profiles.sersic import SersicElliptic

    fine = (np.arange(3 * side) - (3 * side - 1) / 2) * scale / 3
    x, y = (each.ravel() for each in np.meshgrid(fine, fine))
    light = SersicElliptic().function(x, y, **parameters)
    light = np.minimum(light, 200 * parameters["amp"])
    return light.reshape(side, 3, side, 3).mean(axis=(1, 3))


def arc(radius, thickness, middle, half_length, amplitude, side=SIDE, scale=SCALE):
    """A part of a circle around the image's middle."""
    y, x = (np.indices((side, side)) - (side - 1) / 2) * scale
    angle = (np.arctan2(y, x) - middle + np.pi) % (2 * np.pi) - np.pi
    across = np.hypot(x, y) - radius
    along = np.maximum(np.abs(angle) - half_length, 0) * radius
    return amplitude * np.exp(-0.5 * (across**2 + along**2) / thickness**2)


def disc(x0, y0, angle, length, width, amplitude, side=SIDE, scale=SCALE):
    """A straight edge-on disc."""
    y, x = (np.indices((side, side)) - (side - 1) / 2) * scale
    along = np.cos(angle) * (x - x0) + np.sin(angle) * (y - y0)
    across = -np.sin(angle) * (x - x0) + np.cos(angle) * (y - y0)
    return amplitude * np.exp(-0.5 * ((along / length) ** 2 + (across / width) ** 2))


@pytest.fixture(scope="session")
def shapes():
    """The lights that cutouts are made of, and what they are made with."""
    return SimpleNamespace(
        sersic=sersic, arc=arc, disc=disc, side=SIDE, scale=SCALE, psf=PSF, rms=RMS, sky=SKY
    )


@pytest.fixture(scope="session")
def make_raw():
    """Return a function that makes a raw cutout from a seed, and from what is added to it."""

    def make(seed=0, extra=(), offset=(0.07, -0.04), n=4.0, r_eff=1.5, q=0.75, amplitude=0.12):
        e = (1 - q) / (1 + q)
        galaxy = sersic(
            SIDE, SCALE, amp=amplitude, R_sersic=r_eff, n_sersic=n,
            e1=e * np.cos(0.8), e2=e * np.sin(0.8), center_x=offset[0], center_y=offset[1],
        )  # fmt: skip
        parts = {"galaxy": gaussian_filter(galaxy, PSF / SCALE)}
        for name, light in dict(extra).items():
            parts[name] = gaussian_filter(light, PSF / SCALE)
        light = sum(parts.values())
        noise = np.sqrt(RMS**2 + light / 1000)
        image = SKY + light + noise * np.random.default_rng(seed).normal(size=light.shape)
        middle = (SIDE - 1) / 2
        centre = (middle + offset[1] / SCALE, middle + offset[0] / SCALE)
        return Raw(image, noise, centre, parts)

    return make
