"""What a reconstruction gives back, whichever method made it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.forward_model.dirty_image import DirtyImage
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lensing.given_deflections import Deflections
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import Form, MassModel, form_of
from rim_lensing.observation.normalised import NormalisedObservation, as_objects
from rim_lensing.results import shown
from rim_lensing.results.batched import Batched
from rim_lensing.results.in_words import as_range, named_lens
from rim_lensing.results.prediction import predict

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from matplotlib.figure import Figure

REFINED = ", refined"
"""How the name of a refined RIM ends."""

SIGNIFICANT = 3.0
"""A flux of fewer standard deviations than that is none to divide by."""


@dataclass(frozen=True, repr=False)
class Reconstruction(Batched):
    """A source, or a batch of them, and how well it explains the data.

    Shapes are those of one system; for a batch every array has a leading batch axis, and
    `result[3]` is the Reconstruction of its fourth system, `result[:2]` of the first two. Arrays of
    flux are float64, in the unit of the image that was given: surface brightness in flux per image
    pixel, in the source too.

    Args:
        source: (n, n).
        history: Source after every step of the method, (T, n, n); the last is `source`.
        model_image: The source lensed and blurred, (m, m).
        image: The data, (m, m); NaN where masked.
        noise: rms, (m, m); infinite where masked.
        mask: True where a pixel is used, (m, m).
        lens: The lens's parameters, (p,), by the names of `mass_model`: of the short forms 7 or 8
            numbers, see `lens_parameters`; of given deflections the maps, (2, rows, columns); NaN
            if a lensing matrix was given instead.
        psf: Kernel on the image's pixels, (k, k).
        chi2: chi^2 per used pixel, a number; with `noise_correlation` r'C_N^-1 r of the residuals.
        chi2_history: That of every step, (T,).
        image_pixel_scale: arcsec.
        source_pixel_scale: arcsec.
        model: Name of the model or method.
        constrained: True where the used image pixels see a source pixel, (n, n), see
            `constrained.seen_pixels`. What the source has elsewhere is no result: it is hatched in
            the figure, and left out of flux and magnification. By default, everywhere.
        pixel_magnification: Flux of the images of a source pixel in the frame over its own, (n, n);
            needed where not all pixels are constrained.
        form: Which reads `lens`; by default that of 7 or 8 numbers.
        source_centre: (x, y) of the middle of the source grid, in arcsec.
        ray_oversampling: Rays per pixel along each axis, o, see `Observation`.
        fine_psf: The kernel that they were blurred by, on their own pixels, (k, k); None if o is 1:
            that is `psf`.
        noise_correlation: Of the noise of neighbouring pixels, (k, k), that the likelihood has
            taken into account, see `forward_model.whitening`; None, they are independent.
        visibilities: Of an interferometer, see `DirtyImage`: image and model_image are dirty images
            then, over the area of the beam, and chi2 is per number measured, two a visibility.
        sky: The lensed source without the beam, (m, m); None of images, where it is model_image.
        templates: Light of unknown amount that the likelihood has integrated over, in the image's
            unit, (k, m, m), see `Observation`; None, there was none.
        template_amplitudes: How much of each there is most probably, (k,); None likewise.
    """

    _telling = "source", 3

    source: np.ndarray
    history: np.ndarray
    model_image: np.ndarray
    image: np.ndarray
    noise: np.ndarray
    mask: np.ndarray
    lens: np.ndarray
    psf: np.ndarray
    chi2: float | np.ndarray
    chi2_history: np.ndarray
    image_pixel_scale: float
    source_pixel_scale: float
    model: str
    constrained: np.ndarray = field(default=None, kw_only=True)
    pixel_magnification: np.ndarray = field(default=None, kw_only=True)
    form: Form | None = field(default=None, kw_only=True)
    source_centre: tuple[float, float] = field(default=(0.0, 0.0), kw_only=True)
    ray_oversampling: int = field(default=1, kw_only=True)
    fine_psf: np.ndarray | None = field(default=None, kw_only=True)
    noise_correlation: np.ndarray | None = field(default=None, kw_only=True)
    visibilities: DirtyImage | np.ndarray | None = field(default=None, kw_only=True)
    sky: np.ndarray | None = field(default=None, kw_only=True)
    templates: np.ndarray | None = field(default=None, kw_only=True)
    template_amplitudes: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self):
        """Take all pixels for constrained, and the form of 7 or 8 numbers, if nothing is said."""
        object.__setattr__(self, "form", form_of(self.lens, self.form))
        if self.constrained is None:
            object.__setattr__(self, "constrained", np.ones(np.shape(self.source), bool))
        if self.pixel_magnification is None:
            unknown = np.where(self.constrained, 0.0, np.nan)
            object.__setattr__(self, "pixel_magnification", unknown)

    @classmethod
    def from_history(
        cls, observation: NormalisedObservation, history: np.ndarray, geometry: Geometry, model: str
    ) -> "Reconstruction":
        """Lens, blur and compare with the data what a method found.

        Args:
            observation: What was reconstructed.
            history: (batch, T, n, n), in units of the observation's `flux_unit`.
            geometry: Grids and supersampling of the forward model.
            model: Name of the method.
        """
        predicted, sky, chi2, constrained, magnification = predict(observation, history, geometry)
        return cls._in_units(
            observation,
            history,
            predicted,
            chi2,
            geometry,
            model,
            constrained=constrained,
            pixel_magnification=magnification,
            sky=sky,
        )

    @classmethod
    def _in_units(
        cls, observation, history, predicted, chi2, geometry: Geometry, model: str, **more
    ) -> "Reconstruction":
        """Bring what a method found to the unit of the image.

        Args:
            observation: What was reconstructed.
            history: (batch, T, n, n), in units of the observation's `flux_unit`.
            predicted: Noiseless images of the last step, (batch, m, m), likewise.
            chi2: Per used pixel, (batch, T).
            geometry: Pixel scales.
            model: Name of the method.
            more: Other fields, with a batch axis; sky in units of the observation's `flux_unit`.
        """
        unit = observation.flux_unit[:, None, None]
        if observation.visibilities is not None:
            more["sky"] = more["sky"] * unit
            pairs = zip(observation.visibilities, observation.flux_unit, strict=True)
            more["visibilities"] = as_objects([each.scaled(1 / one) for each, one in pairs])
        history = history * unit[:, None]
        correlation = observation.noise_correlation
        if correlation is not None:
            correlation = np.broadcast_to(correlation, (len(observation), *correlation.shape))
        if observation.templates is not None:
            left = np.where(observation.mask, observation.image - predicted, 0) / observation.noise
            more["templates"] = observation.templates * unit[:, None]
            more["template_amplitudes"] = observation.template_amplitudes(left)
        result = cls(
            source=history[:, -1],
            history=history,
            model_image=predicted * unit,
            image=np.where(observation.mask, observation.image * unit, np.nan),
            noise=observation.noise * unit,
            mask=observation.mask,
            lens=observation.lens,
            psf=observation.psf,
            chi2=chi2[:, -1],
            chi2_history=chi2,
            image_pixel_scale=geometry.image_pixel_scale,
            source_pixel_scale=geometry.source_pixel_scale,
            source_centre=geometry.source_centre,
            model=model,
            form=observation.form,
            ray_oversampling=observation.ray_oversampling,
            fine_psf=observation.fine_psf,
            noise_correlation=correlation,
            **more,
        )
        return result[0] if observation.single else result

    def __repr__(self) -> str:
        """Return one line."""
        return f"{type(self).__name__}({', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: numbers and, of one system, the picture."""
        return shown.html(self)

    def _facts(self) -> list[str]:
        """Return what the repr says."""
        side = self.image.shape[-1]
        facts = [
            f"{self.model}: {len(self)} systems" if self.is_batch else self.model,
            f"image {side} x {side} of {self.image_pixel_scale:.4g} arcsec",
            f"source {self.source_grid}",
            f"chi^2 per {self.counted} {as_range(self.chi2)}",
        ]
        return facts + ([] if self.is_batch else [f"lens {named_lens(self.lens, self.form)}"])

    @property
    def counted(self) -> str:
        """What chi2 is per: "pixel", or "visibility", of its real and of its imaginary part."""
        return "pixel" if self.visibilities is None else "visibility"

    @property
    def n_data(self) -> int | np.ndarray:
        """Numbers that were measured: used pixels, or two for each visibility."""
        if self.visibilities is None:
            return self.mask.sum(axis=(-2, -1))
        return np.vectorize(lambda dirty: dirty.n_data)(self.visibilities)

    @property
    def mass_model(self) -> MassModel | Deflections | None:
        """The lens as an object; None if a lensing matrix was given instead.

        Raises:
            TypeError: This is a batch: take result[0].mass_model and so on.
        """
        if self.is_batch:
            raise TypeError("This is a batch: take the mass model of result[0], result[1], ...")
        if isinstance(self.form, MassModel):
            known = np.all(np.isfinite(self.lens))
            return self.form.with_values(self.lens) if known else None
        return Deflections(*self.lens)

    @property
    def source_grid(self) -> PixelGrid:
        """Where the source's pixels lie."""
        return PixelGrid(self.source.shape[-1], self.source_pixel_scale, self.source_centre)

    @property
    def refined(self) -> bool:
        """Whether the last step is that of `RIMReconstructor.refined`; of a batch, of any system.

        Not where it failed: what the network found is the last step then.
        """
        return self.model.endswith(REFINED)

    @property
    def residuals(self) -> np.ndarray:
        """Data minus model, and minus what templates explain, (m, m); NaN where masked."""
        return self.image - self.model_image - self.template_image

    @property
    def template_image(self) -> np.ndarray:
        """What templates explain of the data most probably, (m, m): 0 where there are none."""
        if self.templates is None:
            return np.zeros(np.shape(self.image))
        amplitudes = self.template_amplitudes[..., None, None]
        return np.sum(amplitudes * self.templates, axis=-3)

    @property
    def residuals_in_sigma(self) -> np.ndarray:
        """Residuals over the noise, (m, m), of correlated noise too; NaN where masked."""
        return self.residuals / self.noise

    @property
    def log_likelihood(self) -> float | np.ndarray:
        """log P(image | lens), up to a constant of the image: -chi^2 / 2 of the source."""
        return -0.5 * self.chi2 * self.n_data

    def metrics(self) -> dict[str, float | int | np.ndarray]:
        """Numbers about the reconstruction; for a batch, one of each per system.

        Unconstrained pixels do not count. A magnification is NaN, "not constrained", where it would
        be a division by nothing: where the source's flux is negative, or, of a method that knows
        its standard deviation, not SIGNIFICANT (3) of these above 0. A RIM does not know it, and
        gives no uncertainties.

        Returns:
            chi2_per_pixel and used_pixels; chi2_per_pixel_noise_std, of noise alone, sqrt(2 / used
            pixels); of an interferometer chi2_per_visibility, used_visibilities and
            chi2_per_visibility_noise_std; constrained_pixels, of the source; source_peak, in the
            image's unit; source_flux and model_flux, sums over the sky in the image's unit times
            image pixels; unconstrained_flux, what the source has in other pixels;
            total_magnification, model_flux over source_flux (what the PSF or the lens carries out
            of the frame is not in it), 0 of a black source.
        """
        area, axes = (self.source_pixel_scale / self.image_pixel_scale) ** 2, (-2, -1)
        seen = np.where(self.constrained, self.source, 0.0)
        source_flux = seen.sum(axis=axes) * area
        hidden = np.where(self.constrained, 0.0, self.source) * area
        hidden_model = np.where(self.constrained, 0.0, hidden * self.pixel_magnification)
        sky = self.model_image if self.visibilities is None else self.sky
        model_flux = sky.sum(axis=axes) - hidden_model.sum(axis=axes)
        peak = np.where(self.constrained, self.source, -np.inf).max(axis=axes)
        chi2, n_data = f"chi2_per_{self.counted}", self.n_data
        pixels = self.visibilities is None
        used = {"used_pixels": n_data} if pixels else {"used_visibilities": n_data // 2}
        numbers = {
            chi2: self.chi2,
            f"{chi2}_noise_std": np.sqrt(2 / n_data),
            **used,
            "constrained_pixels": self.constrained.sum(axis=axes),
            "source_peak": np.where(np.isfinite(peak), peak, np.nan),
            "source_flux": source_flux,
            "unconstrained_flux": hidden.sum(axis=axes),
            "model_flux": model_flux,
            "total_magnification": self._ratio(model_flux, source_flux),
        }
        if self.is_batch:
            return numbers
        return {name: np.asarray(value).item() for name, value in numbers.items()}

    def _ratio(self, model_flux: np.ndarray, source_flux: np.ndarray) -> np.ndarray:
        """Return the total magnification where the source's flux tells one."""
        known = source_flux > SIGNIFICANT * np.nan_to_num(self._source_flux_std())
        ratio = model_flux / np.where(known, source_flux, 1.0)
        black = ~np.any(self.source, axis=(-2, -1))
        return np.where(known, ratio, np.where(black, 0.0, np.nan))

    def _source_flux_std(self) -> float | np.ndarray:
        """Return the standard deviation of the source's flux, 0 where the method does not know."""
        return 0.0

    @property
    def caveats(self) -> tuple[str, ...]:
        """Of one system: what its numbers do not tell, in words.

        Raises:
            TypeError: This is a batch: ask `result[i].caveats`.
        """
        if self.is_batch:
            raise TypeError("These are the caveats of one system: ask result[i].caveats")
        numbers, said = self.metrics(), []
        if np.isnan(numbers["total_magnification"]):
            flux, std = numbers["source_flux"], float(np.nan_to_num(self._source_flux_std()))
            error = f" +- {std:.3g}" if std else ""
            said.append(
                "the total magnification is not constrained: it would be the image's flux, "
                f"{numbers['model_flux']:.4g}, over the source's, {flux:.3g}{error}"
            )
        if numbers["constrained_pixels"] < self.source.size:
            hidden = self.source.size - numbers["constrained_pixels"]
            said.append(
                f"no used image pixel sees {hidden} of the {self.source.size} source pixels, which "
                "are left out of flux and magnification"
            )
        return tuple(said)

    def plot(
        self, index: int | None = None, stretch: str = "linear", header: "Header | None" = None
    ) -> "Figure":
        """Draw data, model, residuals, source, critical curves and caustics, chi^2 of the steps.

        Args:
            index: Which system of a batch.
            stretch: Of data, model and source: "linear", or "asinh", which shows faint wings.
            header: The image's own cards (`Observation.header`): they tell north and the unit.

        Returns:
            A matplotlib Figure: `.savefig(path)` writes it.

        Raises:
            ValueError: This is a batch and `index` is not given, or the other way round; or there
                is no such stretch.
        """
        if (index is not None) != self.is_batch:
            raise ValueError(
                f"`index` must be given for a batch, and only for a batch. Received: index={index}"
            )
        if index is not None:
            return self[index].plot(stretch=stretch, header=header)
        from rim_lensing.figures import summary

        drawn = self.panels(header) | self._quality()
        return summary(**drawn, stretch=stretch, title=self.model)

    def _quality(self) -> dict[str, np.ndarray | None]:
        """Return what the picture says of how good the source is."""
        return {"chi2_history": self.chi2_history}

    def panels(self, header: "Header | None" = None) -> dict:
        """Return what `figures` draws of one system: arrays, pixel scales, critical curves.

        Args:
            header: The image's own cards: they tell north and the unit.
        """
        return shown.panels(self, header)

    def to_fits(
        self,
        path: str | PathLike,
        overwrite: bool = False,
        header: "Header | None" = None,
        planes: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write one system's reconstruction to a FITS file, see `results.result_files`.

        Args:
            path: Where to.
            overwrite: Replace a file that exists.
            header: The image's own header cards (`FitsImage.header`): WCS and unit.
            planes: More maps of the image's pixels, by the names of their extensions.

        Raises:
            FileExistsError: The file exists and `overwrite` is False.
            ValueError: This is a batch.
        """
        if self.is_batch:
            raise ValueError(
                "A file holds one system: write result[0], result[1], ... to a file each. "
                f"Received: a batch of {len(self)}"
            )
        from rim_lensing.results.result_files import write_reconstruction

        write_reconstruction(self, path, overwrite, header, planes)
