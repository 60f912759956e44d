"""What was observed: image, noise, PSF, mask, and what their headers say, in one object."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rim_lensing.files.cutouts import corner, cutout
from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.notebooks import as_html
from rim_lensing.observation.arguments import (
    Given,
    arcsecond,
    numbers,
    understand,
)
from rim_lensing.observation.given_arrays import (
    check_oversampling,
    check_rays,
    given_psf,
    mask_maps,
    noise_maps,
)
from rim_lensing.observation.psf_forms import SAME_SCALE, rays_for, within
from rim_lensing.observation.rebinning import rebin, rebinned_correlation
from rim_lensing.problems import Problems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rim_lensing.files.pixel_scales import SkyPixels


@dataclass(frozen=True, repr=False, eq=False)
class Observation:
    """An image or a batch of them, and what is needed to explain them.

    Every public function takes one as its first argument, `model.reconstruct(observation,
    lens=...)`; numbers and arrays are its short form. What is given may be numbers, arrays, numpy's
    and astropy's masked arrays, quantities, NDData and CCDData (with mask, unit, WCS, uncertainty),
    astropy's uncertainties, or what `read_image` returns: see `arguments`. Types, shapes and units
    are checked here, and all problems are reported together; what pixels hold is checked where an
    observation is used, for a crop of it may do.

    Args:
        image: (y, x) or (batch, y, x), lens light and background subtracted, in any unit.
        noise: rms in the image's unit, or one that can be converted to it: a number, one per system
            (batch,), a map or maps. By default the uncertainty of a CCDData that is the image.
        psf: Width (standard deviation) of a Gaussian in arcsec, or (batch,) of them; or kernels
            (k, k) or (batch, k, k), see `on_image_pixels` for what is brought to form. By default
            the `psf` of a CCDData that is the image.
        mask: True (or 1) where a pixel is USED; or a `Mask`, which says what its marks mean. What
            image and noise have masked is masked, too.
        pixel_scale: arcsec; by default that of the image's header, if it tells.
        noise_correlation: Of the noise of neighbouring pixels, (k, k), see `noise_correlation`.
        templates: Light that may be left in the one image, known in shape and not in amount, in the
            image's unit, (k, y, x): of each map a Gaussian number of times, of mean 0 and standard
            deviation 1, which likelihoods integrate over, see `forward_model.noise_templates`.
        psf_oversampling: Image pixels over kernel pixels; by default told by the headers, or 1.
        psf_pixel_scale: arcsec, of a kernel's pixels; by default that of its header, if it tells.
        ray_oversampling: Rays per pixel along each axis: they are blurred by the PSF on as fine
            pixels, and averaged over the image's, see `forward_model.psf.Blur`. By default as many
            as the PSF's oversampling, if it is a whole number, see `psf_forms.rays_for`; 1, and an
            oversampled PSF is averaged over the image's pixels.
        unit: Of image and noise.
        header: The image's cards: WCS and BUNIT.
        sky: Where its pixels lie on the sky, if that tells the pixel scale: a crop measures it
            anew. By default of the image's own WCS.
        allow_hidden_arcs: The mask may hide most of what is bright, see `Mask`.

    Raises:
        ValueError: Arguments that are not understood, or do not fit together.

    Attributes:
        image: float64, as given.
        noise: float64 with the image's shape; infinite where it came masked.
        psf: float64, as given: widths in arcsec or kernels.
        mask: True where a pixel is used, with the image's shape; infinite noise masks, too.

    Example:
        >>> seen = rim_lensing.Observation(image, noise=0.01, psf=0.07, pixel_scale=0.1)
        >>> seen.crop(64, centre=(101.5, 98.0)).plot()
    """

    image: Any
    noise: Any = None
    psf: Any = None
    mask: Any = None
    pixel_scale: Any = None
    noise_correlation: Any = None
    templates: Any = None
    psf_oversampling: float | None = None
    psf_pixel_scale: Any = None
    ray_oversampling: int | None = None
    unit: Any = None
    header: Any = None
    sky: "SkyPixels | None" = None
    allow_hidden_arcs: bool = False

    def __post_init__(self):
        """Bring all arguments to plain arrays."""
        problems, parts = Problems(), {}
        with problems.noted():
            parts["image"] = understand("image", self.image)
            _check_image_axes(parts["image"].array)
        image = parts.get("image")
        noise, psf = self.noise, self.psf
        if image is not None:
            noise = image.uncertainty if noise is None else noise
            psf = getattr(self.image, "psf", None) if psf is None else psf
        if image is not None and self.unit is not None:
            image = parts["image"] = replace(image, unit=self.unit)
        with problems.noted():
            parts["scale"] = self._scale(image)
        with problems.noted():
            parts["noise"] = noise_maps(noise, image, parts.get("scale"))
        with problems.noted():
            parts["mask"] = self._mask(image, parts.get("scale"))
        with problems.noted():
            if psf is None:
                raise ValueError(
                    "`psf` must be given: a width in arcsec (0 for none), or a kernel image"
                )
            parts["psf"] = given_psf(psf, self.psf_pixel_scale)
        with problems.noted():
            if self.noise_correlation is not None:
                parts["correlation"] = numbers("noise_correlation", self.noise_correlation)
        with problems.noted():
            if self.templates is not None and image is not None:
                parts["templates"] = _check_templates(self.templates, image.array.shape)
        if parts.keys() >= {"scale", "psf"} and image is not None:
            with problems.noted():
                parts["oversampling"] = self._oversampling(parts["psf"], parts["scale"])
        with problems.noted():
            parts["rays"] = check_rays(self.ray_oversampling)
        problems.raise_all()
        used = parts["mask"] & ~np.isposinf(parts["noise"])
        settled = {
            "image": image.array,
            "noise": parts["noise"],
            "psf": parts["psf"].array,
            "mask": used,
            "pixel_scale": parts["scale"],
            "noise_correlation": parts.get("correlation"),
            "templates": parts.get("templates"),
            "psf_oversampling": parts["oversampling"],
            "psf_pixel_scale": parts["psf"].pixel_scale,
            "ray_oversampling": parts["rays"],
            "unit": image.unit,
            "header": image.header if self.header is None else self.header,
            "allow_hidden_arcs": self.allow_hidden_arcs
            or getattr(self.mask, "allow_hidden_arcs", False),
            "sky": image.sky if self.pixel_scale is None else self.sky,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def _scale(self, image: Given | None) -> float | None:
        """Return the pixel scale that was given, or else the header's."""
        if self.pixel_scale is not None:
            return arcsecond("pixel_scale", self.pixel_scale)
        return None if image is None else image.pixel_scale

    def _mask(self, image: Given | None, pixel_scale: float | None) -> np.ndarray:
        """Return which pixels are used, with the image's shape."""
        mask = mask_maps(self.mask, image, pixel_scale)
        if image is not None and image.used is not None:
            mask = mask & image.used
        return mask

    def _oversampling(self, psf: Given, pixel_scale: float | None) -> float | None:
        """Return image pixels over kernel pixels, None if nothing tells."""
        told = self.psf_oversampling
        if psf.array.ndim < 2:
            if told is not None:
                raise ValueError(
                    f"`psf_oversampling` must be left out where `psf` is a width. Received: {told}"
                )
            return None
        if told is not None:
            told = check_oversampling(told)
        if psf.pixel_scale is None or pixel_scale is None:
            return told
        ratio = pixel_scale / psf.pixel_scale
        if told is not None and abs(ratio / told - 1) > SAME_SCALE:
            raise ValueError(
                "`psf_oversampling` must be what the headers say, or the header be left out "
                f'(psf.array). Received: {told:g}, pixel scales of {pixel_scale:g}" and '
                f'{psf.pixel_scale:g}"'
            )
        return ratio

    def __repr__(self) -> str:
        """Return one line."""
        shape = " x ".join(str(length) for length in self.image.shape)
        facts = [f"image {shape}"]
        if self.pixel_scale is not None:
            facts.append(f"pixels of {self.pixel_scale:.4g} arcsec")
        facts.append(f"{self.mask.mean():.0%} of them used")
        facts += [] if self.unit is None else [f"in {self.unit}"]
        if self.psf.ndim >= 2:
            facts.append(f"PSF {self.psf.shape[-2]} x {self.psf.shape[-1]}")
            if self.psf_oversampling is not None and self.psf_oversampling > 1 + SAME_SCALE:
                facts.append(f"{self.psf_oversampling:.4g} times as fine")
        if self.noise_correlation is not None:
            facts.append("correlated noise")
        if self.templates is not None:
            facts.append(f"{len(self.templates)} templates of light")
        return f"Observation({', '.join(facts)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts and, of one image, the picture."""
        facts = {"pixels": " x ".join(map(str, self.image.shape))}
        if self.pixel_scale is not None:
            facts["pixel scale"] = f"{self.pixel_scale:.4g} arcsec"
        facts["used"] = f"{self.mask.mean():.1%}"
        facts["unit"] = "not known" if self.unit is None else self.unit
        facts["noise"] = "independent" if self.noise_correlation is None else "correlated"
        known = np.isfinite(self.noise).any() and not self.is_batch
        return as_html("Observation", facts, figure=self.plot() if known else None)

    @property
    def is_batch(self) -> bool:
        """Whether there is a batch axis."""
        return self.image.ndim == 3

    def crop(
        self, side: int, centre: tuple[float, float] | None = None, beyond: bool = False
    ) -> "Observation":
        """Return a square of side x side pixels around a point.

        Args:
            side: Pixels.
            centre: (row, column) from 0, see `cutout`; by default the middle.
            beyond: Whether it may reach beyond the image: what lies there is masked.

        Raises:
            ValueError: The square reaches beyond the image and may not, or this is a batch.
        """
        if self.is_batch:
            raise ValueError(
                "`crop` is for one image: crop the systems of a batch one by one. "
                f"Received: a batch of {len(self.image)}"
            )
        fills = {"image": np.nan, "noise": np.inf, "mask": False} if beyond else {}
        maps = {
            name: cutout(getattr(self, name), side, centre, fills.get(name))
            for name in ("image", "noise", "mask")
        }
        if self.templates is not None:
            fill = 0.0 if beyond else None
            maps["templates"] = np.stack(
                [cutout(each, side, centre, fill) for each in self.templates]
            )
        header = self.header
        if header is not None:
            row, column = corner(self.image.shape, side, centre)
            header = header.copy()
            for keyword, shift in (("CRPIX1", column), ("CRPIX2", row)):
                if keyword in header:
                    header[keyword] -= shift
        sky, scale = self.sky, self.pixel_scale
        if sky is not None:
            row, column = corner(self.image.shape, side, centre)
            sky = sky.shifted(row, column)
            scale = sky.scale_at((side - 1) / 2, (side - 1) / 2)
        return replace(self, **maps, header=header, sky=sky, pixel_scale=scale)

    def mask_missing(self) -> "Observation":
        """Return the observation with those pixels masked, too, that are NaN in image or noise."""
        return replace(self, mask=self.mask & np.isfinite(self.image) & np.isfinite(self.noise))

    def rebin(self, factor: int) -> "Observation":
        """Return the image on pixels of factor x factor, with noise, its correlation, and PSF.

        A new pixel is the mean of the used ones in it, so that the flux is still per old pixel; see
        `rebinning.rebin`. A kernel stays as it is, and counts as so much finer than the image.

        Args:
            factor: Pixels along a side of a new one; must divide the sides of the image.

        Raises:
            ValueError: It does not, or the image is not square, or this is a batch.
        """
        sides = self.image.shape
        factor = numbers("factor", factor).item()
        if self.is_batch or sides[0] != sides[1] or factor < 1 or factor % 1 or sides[0] % factor:
            raise ValueError(
                "`factor` must be a positive integer that divides the sides of one square image. "
                f"Received: {factor:g}, and an image of shape {sides}"
            )
        factor, scale = int(factor), self.pixel_scale or 1.0
        (image, noise), *templates = (
            rebin(
                each,
                np.where(self.mask, self.noise, np.inf),
                np.ones((1, 1)),
                PixelGrid(sides[0], scale),
                PixelGrid(sides[0] // factor, scale * factor),
                self.noise_correlation,
            )[:2]
            for each in [self.image, *(() if self.templates is None else self.templates)]
        )
        correlation = self.noise_correlation
        return replace(
            self,
            image=image,
            noise=noise,
            mask=np.isfinite(noise),
            templates=np.stack([each for each, _ in templates]) if templates else None,
            pixel_scale=None if self.pixel_scale is None else scale * factor,
            noise_correlation=None
            if correlation is None
            else rebinned_correlation(correlation, factor),
            psf_oversampling=None if self.psf.ndim < 2 else (self.psf_oversampling or 1) * factor,
            header=None if self.header is None else _rebinned_header(self.header, factor),
            sky=None,
        )

    def with_psf_within(self, side: int) -> tuple["Observation", float]:
        """Return the observation with as much of its PSF as an image has room for.

        Wings that reach further than a small image carry their light out of it: of a source's flux
        a model finds what falls into the image.

        Args:
            side: Pixels along a side of the image.

        Returns:
            The observation, and the share of the PSF's flux that is left out: 0 of a width.
        """
        if self.psf.ndim != 2:
            return self, 0.0
        oversampling = self.oversampling_on(self.pixel_scale) if self.pixel_scale else None
        part, lost = within(self.psf, oversampling, side)
        return (replace(self, psf=part), lost) if part.shape != self.psf.shape else (self, 0.0)

    def oversampling_on(self, pixel_scale: float) -> float | None:
        """Return pixels of this scale, in arcsec, over kernel pixels; None if nothing tells."""
        if self.psf_oversampling is None and self.psf_pixel_scale is not None:
            return pixel_scale / self.psf_pixel_scale
        return self.psf_oversampling

    def rays_on(self, pixel_scale: float) -> int:
        """Return rays per pixel of this scale, in arcsec, along each axis."""
        if self.ray_oversampling is not None:
            return self.ray_oversampling
        return rays_for(self.psf, self.oversampling_on(pixel_scale)) if self.psf.ndim >= 2 else 1

    def plot(self, index: int | None = None, stretch: str = "linear") -> "Figure":
        """Draw image, noise, signal to noise and PSF; masked pixels are grey.

        Args:
            index: Which system of a batch.
            stretch: Of the image: "linear", or "asinh", which shows faint wings.

        Raises:
            ValueError: This is a batch and `index` is not given, or the other way round; or there
                is no such stretch.
        """
        if (index is not None) != self.is_batch:
            raise ValueError(
                f"`index` must be given for a batch, and only for a batch. Received: index={index}"
            )
        from rim_lensing.figures import observation
        from rim_lensing.files.sky_directions import north_and_east

        chosen = () if index is None else (index,)
        psf = self.psf
        if psf.ndim == 3 or psf.ndim == 1:
            psf = psf[min(index or 0, len(psf) - 1)]
        if psf.ndim < 2:
            pixels = np.atleast_1d(psf) / (self.pixel_scale or 1.0)
            psf = gaussian_on_pixels(pixels, 2 * int(np.ceil(4 * pixels[0])) + 3)[0]
        noise = np.where(self.mask, self.noise, np.inf)
        return observation(
            self.image[chosen],
            noise[chosen],
            psf,
            self.pixel_scale,
            unit=None if self.unit is None else str(self.unit),
            north=north_and_east(self.header, self.image.shape[-2:]),
            stretch=stretch,
        )


def as_observation(image, noise=None, psf=None, mask=None, pixel_scale=None) -> Observation:
    """Return what a public function was given as an Observation: one, or its arrays.

    Raises:
        ValueError: Arguments beside an Observation, which has its own; see `Observation`.
    """
    if not isinstance(image, Observation):
        return Observation(image, noise, psf, mask, pixel_scale)
    check_alone({"noise": noise, "psf": psf, "mask": mask, "pixel_scale": pixel_scale})
    return image


def check_alone(beside: dict) -> None:
    """Raise ValueError if there are arguments beside an Observation, which has its own.

    Args:
        beside: By their names; None, not given.
    """
    twice = [name for name, value in beside.items() if value is not None]
    if twice:
        raise ValueError(
            f"`{'`, `'.join(twice)}` must be left out beside an Observation, which has its own; "
            "name the arguments that follow it, such as lens=..."
        )


def _check_templates(templates, shape: tuple[int, ...]) -> np.ndarray:
    """Return templates (k, y, x) as float64.

    Raises:
        ValueError: They are no finite maps of the one image's pixels.
    """
    templates = numbers("templates", templates)
    if len(shape) != 2 or templates.shape[1:] != shape or not np.all(np.isfinite(templates)):
        raise ValueError(
            f"`templates` must be finite maps (k, y, x) of the pixels of one image (y, x). "
            f"Received: shape {templates.shape} for an image of shape {shape}, "
            f"{np.sum(~np.isfinite(templates))} values that are not finite"
        )
    return templates


def _check_image_axes(image: np.ndarray) -> None:
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"`image` must be (y, x) or (batch, y, x). Received: shape {image.shape}")


def _rebinned_header(header, factor: int):
    """Return the cards of a header for larger pixels; a distorted WCS is left out."""
    header = header.copy()
    if any(re.match(r"(A|B|AP|BP)_(ORDER|\d)|CPDIS|D2IM", keyword) for keyword in header):
        for keyword in set(header) - {"BUNIT"}:
            del header[keyword]
        return header
    for keyword in header:
        if re.fullmatch(r"CRPIX[12]", keyword):
            header[keyword] = (header[keyword] - 0.5) / factor + 0.5
        elif re.fullmatch(r"CDELT[12]|CD[12]_[12]", keyword):
            header[keyword] *= factor
    return header
