"""The part of a cutout in which lens and source are modelled: a square around the lens galaxy."""

import math
from dataclasses import dataclass, replace

import numpy as np

from rim_lensing.files.cutouts import corner
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.mass_model import MassModel
from rim_lensing.observation.observation import Observation

REACH = 1.35, 0.8
"""A field reaches so many Einstein radii, and so many arcsec more, from the lens: arcs lie within
1.3 of them, and have a breadth."""


@dataclass(frozen=True)
class ModelledField:
    """A square of pixels of a cutout.

    Args:
        shape: Of the cutout, (rows, columns).
        grid: The field's pixels.
        centre: (row, column) of the cutout, from 0, around which the square is cut out.
    """

    shape: tuple[int, int]
    grid: PixelGrid
    centre: tuple[float, float]

    @classmethod
    def around(
        cls, observation: Observation, centre: tuple[float, float], theta_E: float
    ) -> "ModelledField":
        """Return the field that holds the images of a lens.

        Args:
            observation: The cutout.
            centre: (x, y) of the lens in arcsec from the cutout's middle.
            theta_E: Its Einstein radius in arcsec.
        """
        scale, shape = observation.pixel_scale, observation.image.shape
        side = 2 * math.ceil((REACH[0] * theta_E + REACH[1]) / scale)
        side = min(side, 2 * (max(shape) // 2))
        column, row = (
            position / scale + (length - 1) / 2
            for position, length in zip(centre, shape[::-1], strict=True)
        )
        return cls(shape, PixelGrid(side, scale), (row, column))

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the field's middle, the origin of its lens, from the cutout's, in arcsec."""
        first = corner(self.shape, self.grid.side, self.centre)
        y, x = (
            (start + (self.grid.side - 1) / 2 - (length - 1) / 2) * self.grid.pixel_scale
            for start, length in zip(first, self.shape, strict=True)
        )
        return x, y

    def holds(self, other: "ModelledField") -> bool:
        """Return whether another field, for a lens that is known better, is as good as this."""
        return abs(other.grid.side / self.grid.side - 1) < 0.1

    def cut(self, observation: Observation) -> Observation:
        """Return the field of an observation; beyond the circle that it holds all is masked."""
        field = observation.crop(self.grid.side, self.centre, beyond=True)
        # A galaxy's light is fitted with the whole PSF; see `psf_beyond`.
        field, _ = field.with_psf_within(self.grid.side)
        distance = np.hypot(*self.grid.coordinates())
        return replace(field, mask=field.mask & (distance <= self.grid.width / 2))

    def psf_beyond(self, observation: Observation) -> float:
        """Return the share of the PSF's flux that the field has no room for: arcs lose it."""
        return observation.with_psf_within(self.grid.side)[1]

    def cut_map(self, values: np.ndarray, beyond: float = 0.0) -> np.ndarray:
        """Return the field of a map of the cutout."""
        first, side = corner(self.shape, self.grid.side, self.centre), self.grid.side
        padded = np.pad(np.asarray(values, "float64"), side, constant_values=beyond)
        row, column = (start + side for start in first)
        return padded[row : row + side, column : column + side]

    def put_back(self, values: np.ndarray) -> np.ndarray:
        """Return a map of the field on the whole cutout, 0 elsewhere."""
        side = self.grid.side
        row, column = (start + side for start in corner(self.shape, side, self.centre))
        whole = np.zeros([length + 2 * side for length in self.shape])
        whole[row : row + side, column : column + side] = values
        return whole[side:-side, side:-side]

    def in_field(self, lens: MassModel) -> MassModel:
        """Return a lens whose x and y are from the cutout's middle with those from the field's."""
        x, y = self.middle
        return placed(lens, (-x, -y))

    def in_cutout(self, lens: MassModel) -> MassModel:
        """Return a lens whose x and y are from the field's middle with those from the cutout's."""
        return placed(lens, self.middle)

    def place(self, position: tuple[float, float]) -> tuple[float, float]:
        """Return (x, y) from the field's middle of a place that is given from the cutout's."""
        return tuple(z - middle for z, middle in zip(position, self.middle, strict=True))


def placed(lens: MassModel, offset: tuple[float, float]) -> MassModel:
    """Return a lens whose x and y are from another point.

    Args:
        lens: Of any components.
        offset: (x, y) of the old origin from the new one, in arcsec.
    """
    by_axis = dict(zip("xy", offset, strict=True))
    shifts = [by_axis.get(parameter.name, 0.0) for parameter in lens.parameters]
    return lens.with_values(lens.values + shifts)
