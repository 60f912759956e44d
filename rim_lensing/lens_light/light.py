"""The light of a lens galaxy, as it was fitted."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.lensing.lens_parameters import axis_ratio_from_ellipticity
from rim_lensing.notebooks import as_html
from rim_lensing.observation.observation import Observation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LensLight:
    """What `fit_lens_light` returns; fluxes are in the image's unit, lengths in arcsec.

    Args:
        image: Light behind the PSF, without the sky, (y, x).
        error: What `image` is wrong by beyond its `light_templates`, rms, (y, x): where what these
            leave of the residuals scatters more than the noise, as a share of the light at that
            distance from the centre.
        sky: Level of the background.
        sky_error: Its standard deviation.
        centre: (x, y) from the middle of the image.
        e1: (1 - q) / (1 + q) cos 2 phi, phi the angle of the light's major axis, counter-clockwise
            from +x; the mean of the light inside of the half-light radius.
        e2: (1 - q) / (1 + q) sin 2 phi.
        twist: Radians by which the major axis turns, counter-clockwise, from inside of the
            half-light radius to outside of it.
        flux: Of the whole galaxy, beyond the frame, too, where the profile reaches so far.
        half_light_radius: Geometric mean of the axes.
        widths: Of the profiles: of Gaussians sigma, of a Sersic R_e, (n,).
        amplitudes: Their fluxes, (n,).
        ellipticities: Their (e1, e2), (n, 2).
        indices: Of Sersic profiles, (n,); empty for Gaussians.
        chi2: Per pixel that was fitted.
        fitted: Pixels that were used, bool, (y, x): not what is masked, nor arcs, nor neighbours.
        pixel_scale: arcsec.
    """

    image: np.ndarray
    error: np.ndarray
    sky: float
    sky_error: float
    centre: tuple[float, float]
    e1: float
    e2: float
    twist: float
    flux: float
    half_light_radius: float
    widths: np.ndarray
    amplitudes: np.ndarray
    ellipticities: np.ndarray
    indices: np.ndarray
    chi2: float
    fitted: np.ndarray
    pixel_scale: float

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the numbers; `plot` needs the observation."""
        facts = {
            "half-light radius": f"{self.half_light_radius:.3g} arcsec",
            "axis ratio": f"{self.axis_ratio:.3f}",
            "flux": f"{self.flux:.4g}",
            "sky": f"{self.sky:.3g} +- {self.sky_error:.2g}",
            "chi^2 per pixel": f"{self.chi2:.3f}",
        }
        return as_html("LensLight", facts)

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"LensLight(flux {self.flux:.4g}, half-light radius {self.half_light_radius:.3g} "
            f"arcsec, axis ratio {self.axis_ratio:.2f}, sky {self.sky:.3g}, "
            f"chi2 {self.chi2:.2f} per pixel)"
        )

    @property
    def axis_ratio(self) -> float:
        """Minor over major axis."""
        return float(axis_ratio_from_ellipticity(self.e1, self.e2)[0])

    @property
    def angle(self) -> float:
        """Of the major axis, radians counter-clockwise from +x."""
        return float(axis_ratio_from_ellipticity(self.e1, self.e2)[1])

    def subtract(self, observation: Observation) -> Observation:
        """Return the observation without light and sky, its noise with the light's error added.

        Raises:
            ValueError: The observation has other pixels than the light was fitted to.
        """
        if observation.image.shape != self.image.shape:
            raise ValueError(
                f"`observation` must have the pixels of the light, {self.image.shape}. "
                f"Received: shape {observation.image.shape}"
            )
        return replace(
            observation,
            image=observation.image - self.image - self.sky,
            noise=np.hypot(observation.noise, self.error),
        )

    def plot(self, observation: Observation) -> "Figure":
        """Draw data, light, and what is left of the data without it.

        Args:
            observation: What it was fitted to.
        """
        from rim_lensing.figures import lens_light
        from rim_lensing.files.sky_directions import described

        noise = np.where(observation.mask, observation.noise, np.inf)
        return lens_light(
            observation.image - self.sky,
            noise,
            self.image,
            self.fitted,
            self.pixel_scale,
            **described(observation.header, observation.image.shape),
        )
