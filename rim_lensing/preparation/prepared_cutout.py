"""What is on a raw telescope cutout, found in one go: `prepare_cutout`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rim_lensing.forward_model.psf_kernels import gaussian_on_pixels
from rim_lensing.notebooks import as_html
from rim_lensing.observation.observation import Observation
from rim_lensing.observation.psf_forms import LARGEST_LOSS, on_image_pixels
from rim_lensing.preparation.artefacts import artefacts
from rim_lensing.preparation.cutout_arguments import cutout_arguments, settings_of_header
from rim_lensing.preparation.galaxy_centre import galaxy_centre, has_galaxy
from rim_lensing.preparation.neighbours import LENSED_WITHIN, find_neighbours
from rim_lensing.preparation.noise_level import (
    NoiseLevel,
    correct_noise,
    electrons_per_unit,
    noise_level,
    smooth_light,
)
from rim_lensing.preparation.sky_level import Sky, sky_level, sky_noise
from rim_lensing.preparation.smooth_galaxy import SmoothGalaxy, smooth_galaxy
from rim_lensing.preparation.unusable_pixels import has_no_data, is_saturated

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False, eq=False)
class PreparedCutout:
    """What `prepare_cutout` found on a cutout.

    Args:
        observation: The sky subtracted (its first value: a light model fits it again), the noise
            corrected, its correlation measured; the mask is True where a pixel is usable and shows
            the lens galaxy, arcs or sky.
        centre: (row, column) of the galaxy's light, from 0.
        offset: (x, y) of the centre from the cutout's middle, arcsec.
        axis_ratio: Of the galaxy's light, minor over major axis.
        angle: Of its major axis, radians counter-clockwise from +x.
        sky: What was subtracted, in the image's unit.
        sky_error: Its error, with what is unknown of the galaxy's wings.
        sky_rms: Robust standard deviation of blank sky, in the image's unit.
        noise_factor: What the noise map was multiplied by; None where none was given.
        no_data: True where nothing was measured or the user's mask says so, (y, x).
        neighbours: True in other objects, grown by the PSF, (y, x).
        artefacts: True in cosmic rays and bad pixels, (y, x).
        saturated: True where the detector was full, (y, x).
        arcs: True in what stands out of the smooth galaxy and may be lensed: never masked, (y, x).
        blank: True where there is sky and next to nothing else, (y, x).
        galaxy: The smooth galaxy that all of this was measured against.
        sky_fit: The fit that the sky is from.
        noise_level: What the blank sky says of the noise.
        said: What was found and done, in sentences.
    """

    observation: Observation
    centre: tuple[float, float]
    offset: tuple[float, float]
    axis_ratio: float
    angle: float
    sky: float
    sky_error: float
    sky_rms: float
    noise_factor: float | None
    no_data: np.ndarray
    neighbours: np.ndarray
    artefacts: np.ndarray
    saturated: np.ndarray
    arcs: np.ndarray
    blank: np.ndarray
    galaxy: SmoothGalaxy
    sky_fit: Sky
    noise_level: NoiseLevel
    said: tuple[str, ...]

    def __repr__(self) -> str:
        """Return one line."""
        return f"PreparedCutout({self.observation!r}, {len(self.said)} findings: see .said)"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: facts, the picture, and what was found, folded."""
        x, y = self.offset
        factor = "no map given" if self.noise_factor is None else f"{self.noise_factor:.3g}"
        facts = {
            "galaxy, x and y": f"{x:+.3f}, {y:+.3f} arcsec",
            "sky": f"{self.sky:.4g} +- {self.sky_error:.2g}",
            "noise map times": factor,
            "used": f"{self.observation.mask.mean():.1%}",
        }
        folded = {"What was found": self.said}
        return as_html("PreparedCutout", facts, figure=self.plot(), folded=folded)

    def plot(self) -> "Figure":
        """Draw the cutout with what was found, what is left of it, the sky's fit and the noise."""
        from rim_lensing.figures import raw_cutout

        seen, fit = self.observation, self.sky_fit
        galaxy = self.galaxy.model - self.sky
        found = {
            "no data": self.no_data,
            "saturated": self.saturated,
            "artefacts": self.artefacts,
            "neighbours": self.neighbours,
            "may be lensed, kept": self.arcs,
        }
        return raw_cutout(
            np.where(self.no_data, np.nan, seen.image),
            galaxy,
            seen.mask,
            found,
            seen.pixel_scale,
            self.offset,
            fit.rings,
            (fit.level, fit.error, fit.rms),
            ((seen.image - galaxy) / seen.noise)[self.blank],
            self.noise_factor,
            seen.noise_correlation,
        )


def prepare_cutout(
    image,
    noise=None,
    psf=None,
    mask=None,
    pixel_scale=None,
    *,
    keep=None,
    centre: tuple[float, float] | None = None,
    lensed_within: float = LENSED_WITHIN,
    exposure: float | None = None,
    gain: float | None = None,
    saturation: float | None = None,
) -> PreparedCutout:
    """Find what is on a raw cutout: galaxy, sky, neighbours, artefacts, and the noise.

    Args:
        image: An Observation of one lens, or its image (y, x), the lens light and the sky in it;
            rows and columns may differ.
        noise: rms, a number or a map. None, or NaN everywhere in an Observation: not known, it is
            measured on blank sky.
        psf: As `Observation` takes it; must be left out beside one, and so must `noise` and
            `pixel_scale`.
        mask: True where a pixel may be USED, or a `Mask`; beside an Observation, too, whose own
            holds as well.
        pixel_scale: arcsec.
        keep: True where a pixel is never masked for what is found here, (y, x).
        centre: (row, column) from 0, about where the lens galaxy is; by default in the middle.
        lensed_within: arcsec: what is nearer to the galaxy may be lensed, and is no neighbour.
        exposure: Seconds; by default the header's EXPTIME, if it has a BUNIT, too.
        gain: Electrons per count, where the image is in counts; by default the header's, as above.
        saturation: Level of a full pixel, in the image's unit; by default the header's SATURATE.

    Raises:
        ValueError: Arguments are not understood, or do not fit together; there are too few pixels,
            or less than a quarter of them are usable. All that is wrong is said at once.

    Example:
        >>> prepared = rim_lensing.prepare_cutout(image, noise=rms, psf=kernel, pixel_scale=0.05)
        >>> print(*prepared.said, sep="\\n")
        >>> prepared.plot().savefig("cutout.png")
    """
    observation, kept, settings, near = cutout_arguments(
        image,
        {"noise": noise, "psf": psf, "pixel_scale": pixel_scale},
        mask,
        keep,
        {
            "lensed_within": lensed_within,
            "exposure": exposure,
            "gain": gain,
            "saturation": saturation,
        },
        centre,
    )
    settings, said = settings_of_header(observation.header, observation.unit, settings)
    return _prepare(observation, kept, near, said, **settings)


def _prepare(
    observation: Observation,
    kept: np.ndarray,
    near: tuple[float, float] | None,
    said: list[str],
    lensed_within: float,
    exposure: float | None,
    gain: float | None,
    saturation: float | None,
) -> PreparedCutout:
    """Find everything; the arguments are checked."""
    observation, lost = observation.with_psf_within(min(observation.image.shape))
    pixels, scale = observation.image, observation.pixel_scale
    noise = None if np.isnan(observation.noise).all() else observation.noise
    kernel = _kernel(observation)
    psf_sigma = _sharpness(kernel) * scale
    no_data = has_no_data(pixels, observation.noise) | ~observation.mask
    saturated = is_saturated(pixels, saturation) & ~no_data & ~kept
    used = ~no_data & ~saturated
    if used.sum() < pixels.size / 4:
        raise ValueError(
            "`image` must have data in a quarter of its pixels at least. Received: "
            f"{used.mean():.0%} that are usable"
        )
    # Pixels may be of any unit, and their squares must neither underflow nor overflow.
    unit = _difference_rms(pixels, used)
    if not unit > 0:
        raise ValueError("`image` must have noise in it. Received: no scatter from pixel to pixel")
    image = np.where(used, pixels, 0) / unit
    level = _faint_end(image[used])
    rms = 1.0
    place = galaxy_centre(image - level, used, scale, psf_sigma, rms, near)
    galaxy = smooth_galaxy(image, used, place, rms)
    guess = np.hypot(galaxy.scatter, 0.02 * np.maximum(galaxy.model - level, 0))
    bad = artefacts(image - level, guess, used, kernel) & ~kept
    place = galaxy_centre(image - level, used & ~bad, scale, psf_sigma, rms, place)
    is_seen = has_galaxy(image - level, guess, used & ~bad, scale, psf_sigma, place)
    if not is_seen:
        place = near or tuple((length - 1) / 2 for length in pixels.shape)
    apart = np.zeros(image.shape, bool)
    for _ in range(2):
        free = used & ~bad & ~apart
        galaxy = smooth_galaxy(image, free, place, rms, start=galaxy)
        others = find_neighbours(
            image, used, galaxy, rms, scale, psf_sigma, lensed_within, sharp=bad
        )
        bad |= others.artefacts & used & ~kept
        apart = others.neighbours & ~kept
        sky = sky_level(image, used & ~bad & ~apart & ~others.arcs, galaxy, scale, rms)
        rms = sky.rms
    galaxy = replace(galaxy, model=galaxy.model * unit, scatter=galaxy.scatter * unit)
    sky = _in_unit(sky, unit)
    offset = tuple(float((place[axis] - (pixels.shape[axis] - 1) / 2) * scale) for axis in (1, 0))
    if lost > LARGEST_LOSS:
        said.append(
            f"The PSF is larger than the image, and {lost:.1%} of its flux lies beyond: it is "
            "cropped, and fluxes are what falls into the image."
        )
    said.append(_of_place(place, offset, galaxy.axis_ratio, is_seen))
    said.append(
        f"Sky: {sky.level:.4g} +- {sky.error:.2g} is subtracted; its scatter is {sky.rms:.4g} a "
        "pixel."
    )
    said += _of_pixels(no_data, saturated, bad, apart, others)
    given = np.ones(pixels.shape) if noise is None else np.where(used, noise, 1)
    blank = sky.blank & ~bad
    measured = noise_level(sky_noise(pixels, galaxy, blank), given, blank)
    electrons = electrons_per_unit(observation.unit, exposure, gain)
    light = smooth_light(pixels - sky.level, used & ~bad, kernel)
    settled, factor, more = correct_noise(noise, measured, light, electrons)
    said += more
    correlation = observation.noise_correlation
    if correlation is None and measured.correlation is not None:
        correlation = measured.correlation
        side = len(correlation) // 2
        said.append(
            "The noise of neighbouring pixels is correlated, by "
            f"{correlation[side, side + 1]:+.2f} along rows and {correlation[side + 1, side]:+.2f} "
            "along columns."
        )
    elif correlation is None:
        said.append("The noise of neighbouring pixels is not seen to be correlated.")
    usable = used & ~bad & ~apart
    cleaned = replace(
        observation,
        image=np.where(used, pixels - sky.level, np.where(np.isfinite(pixels), pixels, 0)),
        noise=settled,
        mask=usable,
        noise_correlation=correlation,
    )
    return PreparedCutout(
        observation=cleaned,
        centre=place,
        offset=offset,
        axis_ratio=galaxy.axis_ratio,
        angle=galaxy.angle,
        sky=sky.level,
        sky_error=sky.error,
        sky_rms=sky.rms,
        noise_factor=factor,
        no_data=no_data,
        neighbours=apart,
        artefacts=bad,
        saturated=saturated,
        arcs=others.arcs,
        blank=blank,
        galaxy=galaxy,
        sky_fit=sky,
        noise_level=measured,
        said=tuple(said),
    )


def _of_place(place, offset, axis_ratio: float, is_seen: bool) -> str:
    """Return what is to be said of the galaxy."""
    where = f"row {place[0]:.2f}, column {place[1]:.2f}"
    if not is_seen:
        return f"No galaxy's light is seen near the middle: the lens is taken to be at {where}."
    return (
        f"The lens galaxy's light is centred at {where}, "
        f'({offset[0]:+.3f}", {offset[1]:+.3f}") (x, y) from the middle; its axis ratio is '
        f"{axis_ratio:.2f}."
    )


def _of_pixels(no_data, saturated, bad, apart, others) -> list[str]:
    """Return what is to be said of masked pixels."""
    said = []
    for pixels, what in (
        (no_data, "have no data or are masked by the user"),
        (saturated, "are saturated"),
        (bad, "are cosmic rays or bad pixels, sharper than the PSF allows or darker than the sky"),
    ):
        if pixels.any():
            said.append(f"{pixels.sum()} pixels {what}: masked.")
    if apart.any():
        number = f"{others.number} neighbours" if others.number != 1 else "One neighbour"
        said.append(f"{number}, {apart.sum()} pixels with their outskirts: masked.")
    else:
        said.append("No neighbours are found.")
    return said


def _in_unit(sky: Sky, unit: float) -> Sky:
    """Return a sky in the image's unit."""
    scaled = {
        name: getattr(sky, name) * unit
        for name in ("level", "error", "rms", "profile", "profile_error", "fitted")
    }
    return replace(sky, **scaled)


def _kernel(observation: Observation) -> np.ndarray:
    """Return the PSF on the image's pixels, (k, k)."""
    psf, scale = observation.psf, observation.pixel_scale
    if psf.ndim < 2:
        sigma = float(np.atleast_1d(psf)[0]) / scale
        return gaussian_on_pixels(np.array([sigma]), 2 * int(np.ceil(4 * sigma)) + 3)[0]
    kernel, _ = on_image_pixels(
        psf if psf.ndim == 2 else psf[0],
        observation.oversampling_on(scale),
        min(observation.image.shape),
    )
    return kernel


def _sharpness(kernel: np.ndarray) -> float:
    """Return the width of the Gaussian of as large a core as a kernel has, in pixels."""
    half = (kernel >= kernel.max() / 2).sum()
    return float(np.sqrt(half / np.pi) / np.sqrt(2 * np.log(2)))


def _difference_rms(image: np.ndarray, used: np.ndarray) -> float:
    """Return a robust rms from pixel to pixel, of the faint half of an image."""
    faint = used & (image <= np.median(image[used]))
    pairs = faint[:, 1:] & faint[:, :-1]
    steps = np.diff(np.where(used, image, 0), axis=1)[pairs]
    return 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2) if steps.size else 0.0


def _faint_end(values: np.ndarray) -> float:
    """Return about where the sky is: the faint tenth's brightest."""
    return float(np.quantile(values, 0.1))
