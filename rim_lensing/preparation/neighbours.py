"""Other objects around a lens galaxy, told from what may be its lensed images."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from rim_lensing.preparation.smooth_galaxy import SmoothGalaxy

LENSED_WITHIN = 2.5
"""arcsec from the galaxy's centre: hardly a galaxy has an Einstein radius as large (SLACS: 0.7 to
1.8), and what is nearer is kept, whatever it looks like."""

ARC_WITHIN = 1.5
"""Times LENSED_WITHIN: as far an elongated object that lies along a circle may be an arc."""

ARC_AXIS_RATIO, ARC_TILT = 0.45, 30.0
"""Largest minor over major axis of such an arc, and largest angle to the circle, in degrees."""

STRAIGHT = 0.5
"""Curvature of an arc's ridge: 0 along a circle around the galaxy, 1 for a straight disc. Above,
and by more than its error, it is a disc."""

TRACK_AXIS_RATIO, TRACK_WIDTH = 0.25, 1.3
"""Minor over major axis, and width over the PSF's, of what is a cosmic ray although it is no
sharper than the PSF, as resampling leaves them: thinner than any galaxy, and not along a circle."""

ATTACHED_WITHIN = 1.3
"""Times LENSED_WITHIN: an object within two pixels of one that is kept is kept as well."""

SHARP_REACH = 2
"""Pixels around those too sharp for the PSF: brightness there says nothing of other objects."""

DETECTED = 3.0
"""In sigma, per pixel of the smoothed image."""

MIN_PIXELS = 6

SURE = 8.0
"""In sigma, of an object's whole flux, as if pixels were independent."""

EDGE = 1.0
"""In sigma of the smoothed image: how far down an object's outskirts are followed."""

NEVER_WITHIN = 0.8
"""Times LENSED_WITHIN: the outskirts of a neighbour are masked no nearer to the galaxy."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What is on top of the galaxy's smooth light.

    Args:
        neighbours: True in other objects, grown, (y, x).
        arcs: True in what may be lensed images, and is kept, (y, x).
        artefacts: True in objects that are cosmic rays as a whole, (y, x).
        number: Of neighbours.
    """

    neighbours: np.ndarray
    arcs: np.ndarray
    artefacts: np.ndarray
    number: int


def find_neighbours(
    image: np.ndarray,
    used: np.ndarray,
    galaxy: SmoothGalaxy,
    rms: float,
    pixel_scale: float,
    psf_sigma: float,
    lensed_within: float = LENSED_WITHIN,
    sharp: np.ndarray | None = None,
) -> Neighbours:
    """Detect and deblend what is brighter than the smooth galaxy, and tell neighbours from arcs.

    Detection is sep's (Barbary 2016; Bertin & Arnouts 1996), on the image minus the smooth galaxy
    over the scatter that its rings show. An object whose peak is within `lensed_within` of the
    centre is kept, and so is a part of its blend a little further out. So is, beyond, what is
    elongated and bent along the circle around the centre, as arcs are. The rest are neighbours.
    They are masked down to EDGE, and one PSF further.

    Args:
        image: (y, x); anything where it is not used.
        used: True where a pixel is, (y, x).
        galaxy: The smooth galaxy, the sky in it.
        rms: Of the sky.
        pixel_scale: arcsec.
        psf_sigma: Width of the Gaussian as sharp as the PSF, arcsec.
        lensed_within: arcsec.
        sharp: True where a pixel is too sharp for the PSF, (y, x), see `artefacts`.
    """
    sharp = np.zeros(image.shape, bool) if sharp is None else sharp
    scatter = np.maximum(galaxy.scatter, rms)
    excess = np.where(used, (image - galaxy.model) / scatter, 0)
    blur = max(psf_sigma / pixel_scale, 0.8)
    number_of_objects, segments = _detect(excess, used, blur)
    rows, columns = np.indices(image.shape)
    distance = np.hypot(rows - galaxy.centre[0], columns - galaxy.centre[1]) * pixel_scale
    limit = lensed_within + psf_sigma
    kept, apart = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    around = _grown_by(sharp, 1)
    beside, rays = _grown_by(sharp, SHARP_REACH), sharp.copy()
    attached, number = [], 0
    for label in range(1, number_of_objects + 1):
        pixels = segments == label
        flux = np.where(pixels & ~beside, np.maximum(excess, 0), 0)
        rays |= pixels & around
        rest = pixels & ~beside
        if _is_track(flux, galaxy.centre, psf_sigma / pixel_scale):
            rays |= _grown_by(pixels, 1)
            continue
        if excess[rest].sum() < SURE * np.sqrt(max(rest.sum(), 1)):
            # Nothing is left of it without the cosmic ray, or it is noise.
            rays |= pixels & (pixels & sharp).any()
            continue
        peak = distance[np.unravel_index(np.argmax(np.where(rest, excess, -np.inf)), image.shape)]
        if peak <= limit or _like_an_arc(flux, galaxy.centre, pixel_scale, limit):
            kept |= pixels
        else:
            apart |= pixels
            number += 1
            if peak <= ATTACHED_WITHIN * limit:
                attached.append(pixels)
    for pixels in attached:
        if (_grown_by(pixels, 2) & kept).any():
            apart &= ~pixels
            kept |= pixels
            number -= 1
    apart_grown = _grown(apart, excess, blur, kept)
    apart_grown &= (distance > NEVER_WITHIN * lensed_within) | apart
    return Neighbours(apart_grown, kept & ~rays, rays, number)


def _grown_by(found: np.ndarray, pixels: int) -> np.ndarray:
    """Return a map grown by so many pixels to all sides."""
    side = 2 * pixels + 1
    return binary_dilation(found, np.ones((side, side), bool))


def _detect(excess: np.ndarray, used: np.ndarray, blur: float):
    """Return how many objects sep finds, and its map of their numbers, from 1."""
    import sep

    size = 2 * int(np.ceil(2.5 * blur)) + 1
    at = np.arange(size) - size // 2
    line = np.exp(-0.5 * (at / blur) ** 2)
    objects, segments = sep.extract(
        np.ascontiguousarray(excess),
        DETECTED,
        mask=~used,
        minarea=MIN_PIXELS,
        filter_kernel=np.outer(line, line),
        filter_type="conv",
        deblend_nthresh=32,
        deblend_cont=0.005,
        segmentation_map=True,
    )
    return len(objects), segments


def _grown(apart: np.ndarray, excess: np.ndarray, blur: float, kept: np.ndarray) -> np.ndarray:
    """Return objects with their outskirts down to EDGE, and a PSF around."""
    if not apart.any():
        return apart
    smooth = gaussian_filter(excess, 1.5 * blur)
    reach = int(np.ceil(2 * blur))
    disc = np.hypot(*(np.indices((2 * reach + 1, 2 * reach + 1)) - reach)) <= reach + 0.5
    # The noise of the smoothed image is less by 2 sqrt(pi) times its width.
    outskirts = (smooth > EDGE / (2 * blur)) & binary_dilation(apart, disc, iterations=3) & ~kept
    # Outskirts are followed from pixel to pixel, so that they hang together with the object.
    grown = binary_dilation(apart, np.ones((3, 3), bool), iterations=0, mask=outskirts | apart)
    return binary_dilation(grown, disc) & ~kept


def _is_track(flux: np.ndarray, centre: tuple[float, float], psf_sigma: float) -> bool:
    """Whether an object is a line, as thin as the PSF, that does not lie along a circle."""
    if np.count_nonzero(flux) < MIN_PIXELS:
        return False
    ratio, minor, tilt = _shape(flux, centre)
    thin = ratio < TRACK_AXIS_RATIO and minor < TRACK_WIDTH * psf_sigma
    return thin and tilt > ARC_TILT


def _like_an_arc(
    flux: np.ndarray, centre: tuple[float, float], pixel_scale: float, limit: float
) -> bool:
    """Whether an object is near, elongated, and bent along a circle around the centre."""
    weight = flux / flux.sum()
    y, x = (
        (weight * each).sum() - middle
        for each, middle in zip(np.indices(flux.shape), centre, strict=True)
    )
    if np.hypot(x, y) * pixel_scale > ARC_WITHIN * limit:
        return False
    ratio, _, tilt = _shape(flux, centre)
    if ratio > ARC_AXIS_RATIO or tilt > ARC_TILT:
        return False
    bend, error = _straightness(flux, centre)
    return bend - error < STRAIGHT


def _shape(flux: np.ndarray, centre: tuple[float, float]) -> tuple[float, float, float]:
    """Return an object's axis ratio, minor width in pixels, and angle to the circle in degrees.

    By the second moments of its light; the circle is that around the centre through its middle.
    """
    rows, columns = np.nonzero(flux)
    weight = flux[rows, columns]
    y, x = rows - np.average(rows, weights=weight), columns - np.average(columns, weights=weight)
    covariance = np.cov(np.stack([x, y]), aweights=weight, bias=True)
    (minor, major), axes = np.linalg.eigh(covariance)
    direction = np.arctan2(axes[1, 1], axes[0, 1])
    tangent = (
        np.arctan2(
            np.average(rows, weights=weight) - centre[0],
            np.average(columns, weights=weight) - centre[1],
        )
        + np.pi / 2
    )
    tilt = np.abs((direction - tangent + np.pi / 2) % np.pi - np.pi / 2)
    minor = np.sqrt(max(minor, 0))
    return float(minor / np.sqrt(major)), float(minor), float(np.degrees(tilt))


def _straightness(flux: np.ndarray, centre: tuple[float, float]) -> tuple[float, float]:
    """Return c in r = r0 + slope t + c t^2 / (2 r0) of an object's ridge, and its error.

    r is the distance from the centre and t that along the circle; a circle has c = 0, and a
    straight line, r^2 = r0^2 + t^2, has c = 1.
    """
    rows, columns = np.nonzero(flux)
    weight = flux[rows, columns]
    y, x = rows - centre[0], columns - centre[1]
    middle = np.arctan2((weight * y).sum(), (weight * x).sum())
    angle = (np.arctan2(y, x) - middle + np.pi) % (2 * np.pi) - np.pi
    radius = np.hypot(x, y)
    usual = np.average(radius, weights=weight)
    along = usual * np.tan(np.clip(angle, -1, 1))
    columns = np.stack([np.ones_like(along), along, along**2 / (2 * usual)], axis=1)
    root = np.sqrt(weight)[:, None]
    solution = np.linalg.lstsq(columns * root, radius * root[:, 0], rcond=None)[0]
    spread = np.average((radius - columns @ solution) ** 2, weights=weight)
    # About every fourth pixel of a smoothed object is on its own.
    covariance = np.linalg.pinv(columns.T @ columns) * 4
    return float(solution[2]), float(np.sqrt(spread * covariance[2, 2]))
