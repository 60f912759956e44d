"""The lens galaxy's light from an image that has arcs and sky in it, too."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from rim_lensing.blas_threads import on_one_blas_thread
from rim_lensing.lens_light.amplitudes import NormalEquations, sum_of
from rim_lensing.lens_light.arc_pixels import brighter_than_light
from rim_lensing.lens_light.isophote_shapes import light_templates
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lens_light.measures import describe, error_map
from rim_lensing.lens_light.patches import Patch, core_and_surroundings, whole_image
from rim_lensing.lens_light.profiles import MultiGaussian, Sersic
from rim_lensing.lens_light.shape_search import search_shapes
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_psf, one_image
from rim_lensing.observation.flux_checks import HUGE_NOISE
from rim_lensing.observation.observation import Observation

KINDS = ("multi-gaussian", "sersic", "double-sersic")

ROUNDS = 8
"""Most often that arcs are looked for in the residuals, and the light fitted without them."""

SEARCH_RADIUS = 0.5
"""arcsec from the middle within which the galaxy's centre is the brightest place."""

SAME_PIXELS = 2e-3
"""Share of the pixels: where fewer change, what is left out is settled."""

MODEL_ERROR = 0.01
"""Of the light, added to the noise in the fit: no core of high signal to noise, which no model of
a galaxy and no PSF describes that well, is to decide about the light under the arcs."""

_SEARCH_STEPS = 12
_CORE = 1.6
"""arcsec: half the side of what is compared pixel by pixel in the search of the shapes."""

_BIN = 0.2
"""arcsec: pixels around it are binned to about this."""


@on_one_blas_thread
def fit_lens_light(
    observation: Observation,
    centre: tuple[float, float] | None = None,
    without: np.ndarray | None = None,
    arcs: np.ndarray | None = None,
    kind: str = "multi-gaussian",
) -> LensLight:
    """Fit the lens galaxy's light and the sky.

    A sum of elliptical Gaussians of log-spaced widths (Emsellem et al. 1994; Cappellari 2002)
    behind the PSF. Their fluxes are those of non-negative least squares; centre and ellipticities
    are searched around them (variable projection). Where `arcs` are not known yet, pixels that are
    coherently brighter than the light are left out, and the light is fitted again, until these
    pixels are the same.

    Args:
        observation: One image, light and sky in.
        centre: (x, y) of the galaxy in arcsec from the middle of the image; by default its
            brightest place near the middle.
        without: True for pixels to leave out (neighbours, arcs), (y, x).
        arcs: Arcs as the telescope sees them, from a source model, (y, x): they are subtracted
            first, and no others are looked for.
        kind: One of KINDS: Gaussians, or one or two Sersic profiles.

    Raises:
        ValueError: A batch, no pixel scale or no noise, maps of another shape, or another kind.
    """
    observed = one_image(observation)
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: {kind!r}")
    shape = observed.image.shape
    for name, given in (("without", without), ("arcs", arcs)):
        if given is not None and np.shape(given) != shape:
            raise ValueError(
                f"`{name}` must have the image's shape, {shape}. Received: {np.shape(given)}"
            )
    whole, psf_sigma = pixels_of(observed, without)
    if arcs is not None:
        whole = replace(whole, data=np.where(whole.weight > 0, whole.data - arcs, 0))
    centre = _brightest(whole, psf_sigma) if centre is None else centre
    frame = min(shape) * whole.pixel_scale / 2
    if kind == "multi-gaussian":
        profile = MultiGaussian.around(centre, psf_sigma, frame)
    else:
        profile = Sersic(centre, psf_sigma, frame, count=1 + (kind == "double-sersic"))
    return _fit(whole, profile, psf_sigma, look_for_arcs=arcs is None)


def pixels_of(observation: Observation, without: np.ndarray | None = None) -> tuple[Patch, float]:
    """Return the pixels of one image, and the width of the Gaussian that is as sharp as the PSF.

    Args:
        observation: One image.
        without: True for pixels to leave out, (y, x).

    Raises:
        ValueError: A batch, no pixel scale, no noise, or no pixel that is used.
    """
    observed = one_image(observation)
    scale = observed.pixel_scale
    if scale is None:
        raise ValueError(
            "`observation` must tell its pixel scale in arcsec: pixel_scale=... Received: None"
        )
    used = observed.mask & np.isfinite(observed.image) & np.isfinite(observed.noise)
    if without is not None:
        used = used & ~np.asarray(without, bool)
    if not used.any():
        raise ValueError("`observation` must have pixels that are used. Received: none")
    if np.any(observed.noise[used] <= 0):
        raise ValueError(
            "`noise` must be positive in every used pixel: give the rms of the noise. Received: "
            f"{observed.noise[used].min():.6g}"
        )
    used = used & (observed.noise < HUGE_NOISE * np.median(observed.noise[used]))
    kernels, widths = check_psf(observed, PixelGrid(min(used.shape), scale), psf_side=1)
    whole = whole_image(observed.image, observed.noise, used, kernels[0].astype(float), scale)
    return whole, max(float(widths[0]), 0.3 * scale)


def _brightest(whole: Patch, psf_sigma: float) -> tuple[float, float]:
    """Return (x, y) of the brightest place near the middle."""
    blur = psf_sigma / whole.pixel_scale
    used = (whole.weight > 0).astype(float)
    seen = gaussian_filter(used, blur)
    smooth = gaussian_filter(whole.data * used, blur) / np.where(seen > 0.1, seen, np.inf)
    near = np.hypot(whole.x, whole.y[:, None]) <= max(SEARCH_RADIUS, whole.pixel_scale)
    row, column = np.unravel_index(np.argmax(np.where(near, smooth, -np.inf)), smooth.shape)
    return float(whole.x[column]), float(whole.y[row])


def _fit(whole: Patch, profile, psf_sigma: float, look_for_arcs: bool) -> LensLight:
    """Search the shapes, and leave out what turns out brighter than the light."""
    usable, vector = whole.weight > 0, profile.start
    left_out, light = np.zeros_like(usable), None
    for _ in range(ROUNDS if look_for_arcs else 2):
        softened = _softened(whole, usable & ~left_out, light)
        vector = _search(softened, profile, vector)
        columns = _with_sky(profile.columns(vector, whole))
        equations = NormalEquations.of(columns, softened.data, softened.weight)
        amplitudes = equations.solve(free=1)
        light = np.tensordot(amplitudes[:-1], columns[:-1], 1)
        if look_for_arcs:
            residuals = np.where(usable, whole.data - light - amplitudes[-1], 0)
            found = brighter_than_light(
                residuals, light, whole.weight, psf_sigma / whole.pixel_scale
            )
            found &= np.hypot(whole.x - vector[0], whole.y[:, None] - vector[1]) > 2 * psf_sigma
            changed = np.mean(found[usable] != left_out[usable])
            left_out = found
            if changed < SAME_PIXELS:
                break
    fitted = usable & ~left_out
    residuals = np.where(fitted, whole.data - light - amplitudes[-1], 0)
    covariance = equations.covariance(amplitudes, free=1)
    found = LensLight(
        image=light,
        error=np.zeros_like(light),
        sky=float(amplitudes[-1]),
        sky_error=float(np.sqrt(covariance[-1, -1])),
        chi2=float(np.sum(whole.weight * residuals**2) / fitted.sum()),
        fitted=fitted,
        pixel_scale=whole.pixel_scale,
        **describe(profile, vector, amplitudes[:-1]),
    )
    left = residuals - np.where(fitted, _isophote_shapes(found, whole, residuals), 0)
    return replace(found, error=error_map(whole, left, fitted, light, vector[:2]))


def _isophote_shapes(light: LensLight, whole: Patch, residuals: np.ndarray) -> np.ndarray:
    """Return what `light_templates` explain of the residuals most probably, (y, x)."""
    templates = light_templates(light)
    weight = np.where(light.fitted, whole.weight, 0)
    columns = templates.reshape(len(templates), -1)
    gram = np.eye(len(columns)) + (columns * weight.ravel()) @ columns.T
    amplitudes = np.linalg.solve(gram, columns @ (weight * residuals).ravel())
    return np.tensordot(amplitudes, templates, 1)


def _softened(whole: Patch, fitted: np.ndarray, light: np.ndarray | None) -> Patch:
    """Return the pixels to fit, with the model's error added to their noise."""
    if light is None:
        light = np.clip(whole.data - np.median(whole.data[fitted]), 0, None)
    variance = np.where(fitted, 1 / np.where(fitted, whole.weight, 1), np.inf)
    return replace(whole, weight=1 / (variance + (MODEL_ERROR * light) ** 2))


def _with_sky(columns: np.ndarray) -> np.ndarray:
    return np.concatenate([columns, np.ones((1, *columns.shape[1:]))])


def _search(whole: Patch, profile, start: np.ndarray) -> np.ndarray:
    """Return the shapes of least chi^2."""
    factor = max(1, round(_BIN / whole.pixel_scale))
    patches = core_and_surroundings(whole, profile.centre, _CORE, factor)
    roots = [np.sqrt(patch.weight) for patch in patches]

    def residuals(vector, chosen):
        columns = [_with_sky(profile.columns(vector, patch, chosen)) for patch in patches]
        equations = sum_of(
            NormalEquations.of(each, patch.data, patch.weight)
            for each, patch in zip(columns, patches, strict=True)
        )
        amplitudes = equations.solve(free=1)
        left = [
            (root * (patch.data - np.tensordot(amplitudes, each, 1))).ravel()
            for root, patch, each in zip(roots, patches, columns, strict=True)
        ]
        return np.concatenate(left), amplitudes[:-1] > 0

    return search_shapes(residuals, start, profile.steps, profile.bounds, _SEARCH_STEPS).x
