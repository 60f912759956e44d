"""The forward model of what a network is given: of an image, or of visibilities."""

from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.forward_model.visibility_model import VisibilityModel
from rim_lensing.lensing.grids import PixelGrid


def model_of(inputs: dict, geometry: Geometry) -> ForwardModel | VisibilityModel:
    """Return the forward model of a batch of systems.

    Args:
        inputs: What a RIM takes, see `networks.rim.RIM`.
        geometry: Grids and supersampling. Images may have any number of its pixels.
    """
    side = inputs["image"].shape[1] or geometry.image_side
    grids = PixelGrid(side, geometry.image_pixel_scale), geometry.source_grid
    lens, frame = inputs["lens"], inputs.get("source_frame")
    if "beam" in inputs:
        return VisibilityModel(
            lens,
            inputs["beam"],
            *grids,
            geometry.supersampling,
            frame,
            primary_beam=inputs.get("primary_beam"),
        )
    fine = inputs.get("fine_psf")
    oversampling = 1 if fine is None else lens.shape[-1] // (side * geometry.supersampling)
    kernel = inputs["psf"] if fine is None else fine
    return ForwardModel(
        lens, kernel, *grids, geometry.supersampling, frame, oversampling=oversampling
    )
