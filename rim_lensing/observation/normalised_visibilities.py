"""Visibilities in the form that networks and inversions take. No Keras: errors come fast."""

import warnings

import numpy as np

from rim_lensing.forward_model.psf_kernels import gaussian_as_sharp, largest_side
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.normalised import NormalisedObservation, as_objects
from rim_lensing.observation.visibilities import VisibilityObservation


def normalised_visibilities(seen: VisibilityObservation, grid: PixelGrid) -> NormalisedObservation:
    """Return visibilities as one dirty image on a model's pixels, whose lens is not known.

    Image and noise are the dirty image and its rms in flux per pixel (`DirtyImage.per_pixel`), psf
    the main lobe of the dirty beam.

    Args:
        seen: What was measured.
        grid: The model's image pixels.

    Raises:
        ValueError: The visibilities have no signal to find a scale by: the dirty image is nowhere
            positive.

    Warns:
        UserWarning: The pixels are wider than the details that the longest baselines see.
    """
    if grid.pixel_scale > seen.largest_pixel_scale:
        warnings.warn(
            f'The image pixels, {grid.pixel_scale:.3g}" wide, are coarser than what the longest '
            f'baselines see, {seen.largest_pixel_scale:.3g}": structure between these is not in '
            "the model. Choose smaller pixels, or leave out these baselines (a weight of 0).",
            UserWarning,
            stacklevel=5,
        )
    dirty = seen.on_grid(grid)
    brightest = float(dirty.per_pixel(dirty.projection).max())
    if not brightest > 0:
        raise ValueError(
            "`visibilities` must have a source: their dirty image must be positive somewhere. "
            f"Received: a largest value of {brightest:.3g} in flux per pixel"
        )
    dirty = dirty.scaled(brightest)
    image = dirty.per_pixel(dirty.projection)[None].astype("float32")
    lobe = dirty.main_lobe(largest_side(grid.side))[None].astype("float32")
    return NormalisedObservation(
        image=image,
        noise=np.full(image.shape, dirty.noise / dirty.beam_area, "float32"),
        psf=lobe,
        lens=None,
        flux_unit=np.array([brightest]),
        psf_sigma=grid.pixel_scale * gaussian_as_sharp(lobe),
        single=True,
        visibilities=as_objects([dirty]),
    )
