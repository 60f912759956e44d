"""An observation in the form that networks and inversions take. No Keras: errors come fast."""

from dataclasses import dataclass, replace

import numpy as np

from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.noise_templates import TemplateModes, template_modes
from rim_lensing.forward_model.whitening import whitening
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import Form, form_of

_OPTIONAL = ("lens", "fine_psf", "visibilities", "templates")


@dataclass(frozen=True)
class NormalisedObservation:
    """A batch of images with all that is needed to explain them.

    `checks.check_observation` makes one, and `checks.check_image` one whose lens is not known.

    Args:
        image: (batch, m, m) float32, in units of `flux_unit`; 0 where masked.
        noise: rms, (batch, m, m) float32, in the same units; infinite where masked.
        psf: Kernels, (batch, k, k) float32, each with the sum 1.
        lens: (batch, p) float32, see `mass_model`; None if it is not known.
        flux_unit: (batch,) float64: each system's brightest pixel, in the user's unit.
        psf_sigma: (batch,): width in arcsec of the Gaussian that is as sharp as the kernel.
        single: The user gave one image (m, m), and gets one source (n, n).
        form: Which reads `lens`; by default that of 7 or 8 numbers.
        ray_oversampling: Rays per pixel along each axis, o.
        fine_psf: Kernels on pixels o times as fine as the image's, (batch, k, k), each with the sum
            1: what rays are blurred by. None if o is 1: that is `psf`.
        visibilities: What images and noise are the dirty images of, in units of `flux_unit`:
            (batch,) of `DirtyImage`; None, they are images.
        noise_correlation: Of the noise of neighbouring pixels in all images, (k, k), see
            `noise_correlation`; None, they are independent.
        templates: Light of unknown amount, in units of `flux_unit`, (batch, k, m, m), see
            `noise_templates`; None, there is none.
    """

    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    lens: np.ndarray | None
    flux_unit: np.ndarray
    psf_sigma: np.ndarray
    single: bool
    form: Form | None = None
    ray_oversampling: int = 1
    fine_psf: np.ndarray | None = None
    noise_correlation: np.ndarray | None = None
    visibilities: np.ndarray | None = None
    templates: np.ndarray | None = None

    def __post_init__(self):
        """Find the form of 7 or 8 numbers."""
        if self.lens is not None:
            object.__setattr__(self, "form", form_of(self.lens, self.form))

    def __len__(self) -> int:
        """Number of systems."""
        return len(self.image)

    def __getitem__(self, systems: slice | np.ndarray) -> "NormalisedObservation":
        """Return some of the systems."""
        arrays = ["image", "noise", "psf", "flux_unit", "psf_sigma"]
        arrays += [name for name in _OPTIONAL if getattr(self, name) is not None]
        return replace(self, **{name: getattr(self, name)[systems] for name in arrays})

    def with_noise(self, factor: float) -> "NormalisedObservation":
        """Return the same data if their noise were larger by a factor."""
        noisier = replace(self, noise=self.noise * factor)
        if self.visibilities is None:
            return noisier
        return replace(
            noisier, visibilities=as_objects([each.noisier(factor) for each in self.visibilities])
        )

    @property
    def n_data(self) -> np.ndarray:
        """Numbers that were measured, (batch,): used pixels, or two for each visibility."""
        if self.visibilities is None:
            return self.mask.sum(axis=(1, 2))
        return np.array([each.n_data for each in self.visibilities])

    @property
    def mask(self) -> np.ndarray:
        """True where a pixel is used, (batch, m, m)."""
        return np.isfinite(self.noise)

    @property
    def whitening(self) -> dict[str, np.ndarray] | None:
        """What makes noise and templates white, as `PixelNoise` takes it; None, nothing is needed.

        One for all systems where it is the same.
        """
        found = {}
        if self.noise_correlation is not None:
            masks = _distinct(self.mask)
            found["weights"] = np.stack(
                [whitening(self.noise_correlation, mask).weights for mask in masks]
            )
        if self.templates is not None:
            found["modes"] = np.stack([each.modes for each in self._modes()]).astype("float32")
        return found or None

    def whitened(self, residuals: np.ndarray) -> np.ndarray:
        """Return residuals over the noise (batch, m, m), 0 where masked, as independent numbers.

        chi^2 is the sum of their squares. They are what was given where pixels are independent, and
        there are no templates.
        """
        white = self._white(residuals)
        if self.templates is None:
            return white
        modes = self._modes()
        if len(modes) == 1:
            return modes[0].apply(white)
        return np.stack([each.apply(x) for each, x in zip(modes, white, strict=True)])

    def template_amplitudes(self, residuals: np.ndarray) -> np.ndarray:
        """Return the most probable amplitudes of the templates, (batch, k).

        Args:
            residuals: Data without the arcs over the noise, (batch, m, m), 0 where masked.
        """
        white, modes = self._white(residuals), self._modes()
        modes = modes if len(modes) == len(white) else modes * len(white)
        return np.stack([each.amplitudes(x) for each, x in zip(modes, white, strict=True)])

    def _modes(self) -> list[TemplateModes]:
        """Return the templates' modes of every system, or one for all where it is the same."""
        same = all(len(_distinct(each)) == 1 for each in (self.noise, self.templates))
        return [
            template_modes(self.templates[i], self.noise[i], self.noise_correlation)
            for i in ([0] if same else range(len(self)))
        ]

    def _white(self, residuals: np.ndarray) -> np.ndarray:
        """Return residuals over the noise with the correlation of pixels taken out."""
        if self.noise_correlation is None:
            return residuals
        pairs = zip(self.mask, residuals, strict=True)
        return np.stack([whitening(self.noise_correlation, mask).whiten(x) for mask, x in pairs])

    @property
    def noise_level(self) -> np.ndarray:
        """Median rms of the used pixels over the brightest pixel, (batch,)."""
        return np.nanmedian(np.where(self.mask, self.noise, np.nan), axis=(1, 2))

    def user_arrays(self) -> dict[str, np.ndarray]:
        """Return image, noise, psf and mask of one system, (m, m) and (k, k), in the user's unit.

        For what takes the place of a lens CNN, and may know no NormalisedObservation.
        """
        unit = self.flux_unit[0]
        return {
            "image": self.image[0] * unit,
            "noise": self.noise[0] * unit,
            "psf": self.psf[0],
            "mask": self.mask[0],
        }

    def deflections(self, grid: PixelGrid, supersampling: int = 1):
        """Return the deflections of rays, (batch, 2, m s, m s), see `MassModel.on_rays`."""
        return self.form.on_rays(self.lens, grid, supersampling)

    @property
    def beams(self) -> np.ndarray:
        """Dirty beams in flux per pixel, (batch, 2 m - 1, 2 m - 1), see `VisibilityModel`."""
        beams = [each.per_pixel(each.kernel) for each in self.visibilities]
        return np.stack(beams).astype("float32")

    @property
    def primary_beams(self) -> np.ndarray | None:
        """Of the antennas, (batch, m, m); None if no system has one."""
        found = [each.primary_beam for each in self.visibilities]
        if all(each is None for each in found):
            return None
        ones = np.ones(self.image.shape[1:])
        return np.stack([ones if each is None else each for each in found]).astype("float32")

    @property
    def blur(self) -> np.ndarray:
        """The kernels that rays are blurred by, on their own pixels: (batch, k, k)."""
        return self.psf if self.fine_psf is None else self.fine_psf

    def rays(self, geometry: Geometry):
        """Return the deflections of all rays of a model, (batch, 2, m o s, m o s)."""
        supersampling = geometry.supersampling * self.ray_oversampling
        return self.deflections(geometry.image_grid, supersampling)

    def forward_model(self, geometry: Geometry, rays=None):
        """Return the `ForwardModel` of lens and PSF; `rays`, if they are known already.

        Of visibilities the `VisibilityModel`.
        """
        from rim_lensing.forward_model.forward_model import ForwardModel
        from rim_lensing.forward_model.visibility_model import VisibilityModel

        grids = geometry.image_grid, geometry.source_grid, geometry.supersampling
        rays = self.rays(geometry) if rays is None else rays
        if self.visibilities is not None:
            return VisibilityModel(rays, self.beams, *grids, primary_beam=self.primary_beams)
        return ForwardModel(rays, self.blur, *grids, oversampling=self.ray_oversampling)

    def lensing_matrices(self, geometry: Geometry) -> list:
        """Return L of every system, (m^2 o^2, n^2), see `ray_tracing.lensing_matrices`."""
        from rim_lensing.forward_model.ray_tracing import lensing_matrices

        if self.ray_oversampling > 1:
            rays = geometry.image_grid.finer(self.ray_oversampling)
            geometry = geometry.on_image_grid(rays.side, rays.pixel_scale)
        return lensing_matrices(self.lens, geometry, form=self.form)

    def network_inputs(self) -> dict[str, np.ndarray]:
        """Return what a RIM takes, or, if the lens is not known, what a lens CNN takes."""
        inputs = {"image": self.image, "noise": self.noise, "psf": self.psf}
        if self.lens is None:
            return inputs
        if self.visibilities is not None:
            inputs["beam"] = self.beams
            primary_beams = self.primary_beams
            if primary_beams is not None:
                inputs["primary_beam"] = primary_beams
        if self.fine_psf is not None:
            inputs["fine_psf"] = self.fine_psf
        whitening = self.whitening
        if whitening is not None:
            inputs["whitening"] = whitening
        return inputs | {"lens": self.lens}


def as_objects(values: list) -> np.ndarray:
    """Return values that are no numbers as an array of them, (batch,)."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _distinct(maps: np.ndarray) -> np.ndarray:
    """Return maps of every system, (batch, ...), or the first one, where all are the same."""
    return maps[:1] if np.all(maps == maps[:1]) else maps
