"""What a user hands in, checked once and brought to one form. No Keras: errors come fast."""

import warnings
from dataclasses import replace

import numpy as np

from rim_lensing.forward_model.psf_kernels import (
    check_kernel,
    gaussian_as_sharp,
    gaussian_on_pixels,
    largest_side,
)
from rim_lensing.lensing.given_deflections import GIVEN
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import OTHER_SLOPES
from rim_lensing.lensing.mass_model import Form, as_lens
from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems
from rim_lensing.observation.correlated_noise import check_noise_correlation
from rim_lensing.observation.flux_checks import check_flux
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.observation.normalised_visibilities import normalised_visibilities
from rim_lensing.observation.observation import Observation, as_observation, check_alone
from rim_lensing.observation.psf_forms import on_image_pixels
from rim_lensing.observation.visibilities import VisibilityObservation
from rim_lensing.problems import Problems

PIXEL_SCALE_TOLERANCE = 1e-3
"""An image's pixel scale may differ from the model's by this fraction. Lengths then come out wrong
by as much: less than any network knows them."""

_GAUSSIAN_REACH = 4
LARGEST_COMMON_SLOPE = 1.5


def check_observation(
    image,
    noise=None,
    psf=None,
    lens=None,
    mask=None,
    *,
    image_grid: PixelGrid,
    psf_side: int = 1,
    pixel_scale=None,
) -> NormalisedObservation:
    """Check an observation and its lens, and bring them to the form of networks and inversions.

    All that is wrong with any of the arguments is said at once.

    Args:
        image: As `check_image` takes it, and so are noise, psf, mask and the rest.
        noise: rms.
        psf: Widths or kernels.
        lens: What `as_lens` takes: one lens for all systems, or one for each.
        mask: True where a pixel is USED.
        image_grid: The pixels that the image must have.
        psf_side: Smallest side of Gaussian kernels.
        pixel_scale: The image's arcsec per pixel where it is known.

    Raises:
        ValueError: An argument breaks a rule; the message names the argument and the rule, what
            was received and what would be right.

    Warns:
        UserWarning: As `check_image`; or the slope looks like another package's.
    """
    problems, observation, found = Problems(), None, None
    with problems.noted():
        observation = check_image(
            image,
            noise,
            psf,
            mask,
            image_grid=image_grid,
            psf_side=psf_side,
            pixel_scale=pixel_scale,
            with_rays=True,
        )
    with problems.noted():
        if lens is None:
            raise ValueError(
                "`lens` must be given: a MassModel, LensParameters, a dictionary, or 7 or 8 numbers"
            )
        found = as_lens(lens, None if observation is None else len(observation))
        if observation is not None and observation.ray_oversampling > 1:
            _check_maps(*found, image_grid.side, observation.ray_oversampling)
    problems.raise_all()
    lenses, form = found
    _warn_of_another_slope(lenses, form)
    return replace(observation, lens=lenses, form=form)


def check_image(
    image,
    noise=None,
    psf=None,
    mask=None,
    *,
    image_grid: PixelGrid,
    psf_side: int = 1,
    pixel_scale=None,
    with_rays: bool = False,
) -> NormalisedObservation:
    """Check an observation whose lens is not known, and bring it to its form.

    The flux is divided by the brightest pixel in double precision, so that 1 / noise^2 neither
    under- nor overflows in float32, whatever the unit.

    Args:
        image: An `Observation` or a `VisibilityObservation`, and nothing up to `mask`; or (m, m) or
            (batch, m, m), lens light and background subtracted, any unit. May hold anything, NaN
            too, where `mask` is False.
        noise: rms of the noise in the image's unit: a number, one per system (batch,), a map
            (m, m) or maps (batch, m, m). A pixel of infinite noise is masked, and so is one of
            HUGE_NOISE that drowns all flux: so PyAutoLens marks pixels that are not to be used.
        psf: Width (standard deviation) of a Gaussian in arcsec, a number or (batch,); or kernels
            (k, k) or (batch, k, k), brought to form by `on_image_pixels`.
        mask: True (or 1) where a pixel is USED, (m, m) or (batch, m, m). This is lenstronomy's
            convention. PyAutoLens marks the masked pixels: give `Mask(mask, marks="masked")`.
        image_grid: The pixels that the image must have.
        psf_side: Gaussian kernels have at least this many pixels a side (odd), and as many more
            as four sigma need.
        pixel_scale: The image's arcsec per pixel where it is known (a FITS header), to be compared
            with `image_grid`; None skips the comparison.
        with_rays: Whether rays are to be shot: o x o a pixel, as the observation asks for. A lens
            CNN shoots none.

    Raises:
        ValueError: An argument breaks a rule; the message names the argument and the rule, what
            was received and what would be right. A mask that hides most of what is bright breaks
            one, see `check_hidden_arcs`.

    Warns:
        UserWarning: The mask hides most of the flux, in few pixels; or the PSF was brought to form.
    """
    if isinstance(image, VisibilityObservation):
        check_alone({"noise": noise, "psf": psf, "mask": mask, "pixel_scale": pixel_scale})
        return normalised_visibilities(image, image_grid)
    observed = as_observation(image, noise, psf, mask, pixel_scale)
    problems, kernels, flux, correlation = Problems(), None, None, observed.noise_correlation
    rays = observed.rays_on(image_grid.pixel_scale) if with_rays else 1
    with problems.noted():
        check_pixel_scale(observed.pixel_scale, image_grid)
    with problems.noted():
        kernels = _kernels(observed, image_grid, psf_side, rays)
    with problems.noted():
        images = _check_image_shape(observed.image, image_grid.side)
        flux = check_flux(images, *_as_batch(observed, images), observed.allow_hidden_arcs)
    with problems.noted():
        if correlation is not None:
            correlation = check_noise_correlation(correlation, (image_grid.side,) * 2)
    problems.raise_all()
    (image, noise, unit), (kernel, sigma, fine) = flux, kernels
    return NormalisedObservation(
        image=image.astype("float32"),
        noise=noise.astype("float32"),
        psf=kernel,
        lens=None,
        flux_unit=unit,
        psf_sigma=sigma,
        single=not observed.is_batch,
        ray_oversampling=rays,
        fine_psf=fine,
        noise_correlation=correlation,
        templates=_in_unit(observed.templates, unit),
    )


def _in_unit(templates: np.ndarray | None, unit: np.ndarray) -> np.ndarray | None:
    """Return templates of one image (k, m, m) as `NormalisedObservation` has them."""
    return None if templates is None else (templates[None] / unit[0]).astype("float32")


def one_image(
    image, noise=None, psf=None, mask=None, pixel_scale=None
) -> Observation | VisibilityObservation:
    """Return what was given as an Observation of one image, see `as_observation`.

    Visibilities stay what they are.

    Raises:
        ValueError: It is a batch, or as `as_observation`.
    """
    if isinstance(image, VisibilityObservation):
        check_alone({"noise": noise, "psf": psf, "mask": mask, "pixel_scale": pixel_scale})
        return image
    observed = as_observation(image, noise, psf, mask, pixel_scale)
    if observed.is_batch:
        raise ValueError(
            "`image` must be one image (y, x): give the systems of a batch one by one. "
            f"Received: shape {observed.image.shape}"
        )
    return observed


def _as_batch(observed: Observation, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return noise and mask, (batch, m, m)."""
    return observed.noise.reshape(images.shape), observed.mask.reshape(images.shape)


def check_pixel_scale(pixel_scale: float | None, grid: PixelGrid) -> None:
    """Raise ValueError unless a pixel scale, in arcsec, is that of a grid; None is not compared."""
    if pixel_scale is None:
        return
    if not (np.isfinite(pixel_scale) and pixel_scale > 0):
        raise ValueError(
            f"`pixel_scale` must be a positive number of arcsec. Received: {pixel_scale}"
        )
    ratio = pixel_scale / grid.pixel_scale
    if not abs(ratio - 1) <= PIXEL_SCALE_TOLERANCE:
        raise ValueError(
            f"`pixel_scale` must be the model's, {grid.pixel_scale:g}\", to within 0.1%. Received: "
            f'{pixel_scale:g}". Choose a model with that scale (rim_lensing.list_pretrained()), or '
            f"have one take these pixels: model.with_image_grid(side, {pixel_scale:g}), on the "
            "command line --own-pixels; the linear inversion takes its geometry, "
            "SemilinearInversion(geometry=model.network.config)"
        )


def _check_image_shape(image: np.ndarray, side: int) -> np.ndarray:
    shape = image.shape
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"`image` must be (y, x) or (batch, y, x). Received: shape {shape}")
    if image.ndim == 2:
        image = image[None]
    rows, columns = image.shape[1:]
    if rows == columns == side:
        return image
    advice = []
    if max(rows, columns) > side:
        advice.append(
            f"crop it around the lens: rim_lensing.files.cutouts's cutout(image, {side}, centre)"
        )
    if min(rows, columns) < side:
        advice.append(
            "pad it around the lens, and set the mask to False there: cutout with `fill`, on the "
            "command line --mask-missing"
        )
    raise ValueError(
        f"`image` must have the model's size, {side} x {side} pixels, with the lens near the "
        f"centre: {'; '.join(advice)} (and noise map and mask likewise); or have the model take "
        "other pixels, model.with_image_grid(side, pixel_scale), on the command line --own-pixels; "
        "the linear inversion takes its geometry, SemilinearInversion(geometry="
        "model.network.config). "
        f"Received: shape {shape}"
    )


def _warn_of_another_slope(lens: np.ndarray, form: Form) -> None:
    """Warn of slopes that galaxies do not have, and other packages' numbers for theirs are."""
    slopes = lens[:, [i for i, name in enumerate(form.names) if name.endswith(".slope")]]
    steep = (
        np.any(slopes > LARGEST_COMMON_SLOPE, axis=1) if slopes.size else np.zeros(len(lens), bool)
    )
    if steep.any():
        warnings.warn(
            SystemsWarning(
                f"The slope of the lens is steeper than galaxies' are{which_systems(steep)}: 1 is "
                f"isothermal, and {OTHER_SLOPES}. Received: {slopes[steep].max():.4g}",
                steep,
            ),
            stacklevel=4,
        )


def _check_maps(lens: np.ndarray, form: Form, side: int, parts: int) -> None:
    """Refuse given deflections that are not on the rays through the parts of every pixel."""
    if form == GIVEN and lens.shape[-1] % (side * parts):
        rays, given = side * parts, lens.shape[-1]
        raise ValueError(
            f"`lens` must be Deflections of all rays, {parts} x {parts} a pixel as the PSF is "
            f"oversampled: {rays} x {rays}. Received: {given} x {given}. "
            "Observation(..., ray_oversampling=1) takes one ray a pixel, and averages the PSF"
        )


def _kernels(observed: Observation, grid: PixelGrid, psf_side: int, rays: int) -> tuple:
    """Return what `check_psf` does, and the kernels on the rays' pixels; None: the same."""
    if rays == 1:
        return *check_psf(observed, grid, psf_side), None
    fine, _ = check_psf(observed, grid, psf_side, rays)
    with warnings.catch_warnings():
        # The same again: what there is to say of it has been said.
        warnings.simplefilter("ignore")
        return *check_psf(observed, grid, psf_side), fine


def check_psf(
    observed: Observation, grid: PixelGrid, psf_side: int, rays: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernels (batch, k, k) and the widths (batch,) of Gaussians that are as sharp.

    Args:
        observed: As given.
        grid: The image's pixels.
        psf_side: Of Gaussian kernels, at least.
        rays: The kernels' pixels are so many times as fine.

    Warns:
        UserWarning: A kernel was brought to form.
    """
    psf, fine = observed.psf, grid.finer(rays)
    batch = len(observed.image) if observed.is_batch else 1
    if psf.ndim < 2:
        sigma = np.atleast_1d(psf)
        if not np.all(np.isfinite(sigma)) or np.any(sigma < 0):
            raise ValueError(
                "`psf` must be a width in arcsec, 0 or positive (or a kernel image). "
                f"Received: {psf.tolist()}"
            )
        if np.any(sigma > grid.width / 2):
            raise ValueError(
                f"`psf` must be a width in arcsec of at most half the image's, {grid.width / 2:g}: "
                f"nothing could be seen through a wider one. Received: {sigma.max():g}"
            )
        pixels = sigma / fine.pixel_scale
        needed = 2 * int(np.ceil(_GAUSSIAN_REACH * pixels.max(initial=0))) + 1
        kernel = gaussian_on_pixels(
            pixels, min(max(psf_side, needed), largest_side(fine.side))
        ).astype("float32")
    else:
        oversampling = observed.oversampling_on(grid.pixel_scale)
        formed, done = on_image_pixels(psf, oversampling, grid.side, rays)
        if done:
            whose = "the rays'" if rays > 1 else "the image's"
            warnings.warn(
                f"`psf` was brought onto {whose} pixels: {'; '.join(done)}.",
                UserWarning,
                stacklevel=7,
            )
        kernel = check_kernel(formed, fine.side)
        sigma = fine.pixel_scale * gaussian_as_sharp(kernel)
    if len(kernel) not in (1, batch):
        raise ValueError(
            f"`psf` must be one for all or one for each of the {batch} systems. "
            f"Received: {len(kernel)}"
        )
    kernel = np.broadcast_to(kernel, (batch, *kernel.shape[1:]))
    return kernel, np.broadcast_to(sigma, (batch,))
