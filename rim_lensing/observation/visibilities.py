"""What an interferometer measured: visibilities, their weights, and where they were pointed at."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rim_lensing.forward_model.dirty_image import CHUNK, DirtyImage, dirty_image
from rim_lensing.forward_model.uv_plane import ARCSEC, UVPlane
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.arguments import numbers
from rim_lensing.problems import Problems

CONVENTIONS = ("image", "casa")

SPEED_OF_LIGHT = 299792458.0
"""m/s."""

PRIMARY_BEAM_WIDTH = 1.13
"""FWHM of the beam of one of ALMA's antennas, over wavelength / diameter (ALMA Technical Handbook,
section 3.2)."""


def alma_primary_beam(frequency: float, diameter: float = 12.0) -> float:
    """Return the FWHM in arcsec of the primary beam of one of ALMA's antennas.

    Args:
        frequency: Hz.
        diameter: m; 7 of the compact array.
    """
    return PRIMARY_BEAM_WIDTH * SPEED_OF_LIGHT / frequency / diameter / ARCSEC


@dataclass(frozen=True, repr=False, eq=False)
class VisibilityObservation:
    """Visibilities of a lens, of one continuum image: several channels are one set.

    Models take one as their first argument, `model.reconstruct(seen, lens=...)`, in the place of an
    image, noise and PSF. Their image pixels then are the pixels of the model alone: fluxes are in
    flux per image pixel, in the unit of the visibilities.

    Args:
        u: Wavelengths, (k,), or (channels, k).
        v: Wavelengths, likewise.
        visibilities: Complex, likewise; in a unit of flux, such as Jy.
        weights: One over the variance of the real part, and of the imaginary part, likewise, or a
            number. Where it is 0 a visibility is not used, and may be NaN.
        phase_centre: (x, y) in arcsec, where the phase centre lies in the model's frame, whose
            origin is the middle of the image.
        primary_beam: FWHM in arcsec of a Gaussian around the phase centre, see `alma_primary_beam`;
            None, the antennas see everything alike.
        convention: "image", V = sum I exp(-2 pi i (u x + v y)) with x to the right and y upwards on
            the image, as PyAutoLens has it. "casa", V = sum I exp(+2 pi i (u l + v m)) with l to
            the East and m to the North, as measurement sets and UVFITS files have it: East is left
            on the image then. Afterwards `u` and `v` are those of "image".
        time: Seconds of each visibility, as `u`: `reweighted` needs it.
        antennas: Numbers of the two antennas, (2, k) or (2, channels, k), likewise.
        unit: Of the flux.

    Raises:
        ValueError: Arguments that break a rule; all are named.

    Example:
        >>> seen = rim_lensing.read_visibilities("lens.uvfits")
        >>> model.reconstruct(seen, lens=LensParameters(1.2))
    """

    u: Any
    v: Any
    visibilities: Any
    weights: Any
    phase_centre: tuple[float, float] = (0.0, 0.0)
    primary_beam: float | None = None
    convention: str = "image"
    time: Any = None
    antennas: Any = None
    unit: str | None = "Jy"
    _grids: dict = field(default_factory=dict, init=False)

    def __post_init__(self):
        """Bring all to arrays (k,), and to the convention "image"."""
        problems, arrays = Problems(), {}
        with problems.noted():
            if self.convention not in CONVENTIONS:
                raise ValueError(
                    f"`convention` must be one of {CONVENTIONS}. Received: {self.convention!r}"
                )
        for name in ("u", "v"):
            with problems.noted():
                arrays[name] = numbers(name, getattr(self, name))
        with problems.noted():
            arrays["visibilities"] = _complex(self.visibilities)
        problems.raise_all()
        shape = arrays["visibilities"].shape
        for name in ("weights", "time"):
            with problems.noted():
                given = getattr(self, name)
                if given is not None:
                    arrays[name] = np.broadcast_to(numbers(name, given), shape)
        with problems.noted():
            if self.antennas is not None:
                arrays["antennas"] = _antennas(self.antennas, shape)
        with problems.noted():
            self._check(arrays, shape)
        with problems.noted():
            centre = numbers("phase_centre", self.phase_centre)
            if centre.shape != (2,) or not np.isfinite(centre).all():
                raise ValueError(
                    f"`phase_centre` must be (x, y) in arcsec. Received: {self.phase_centre}"
                )
        with problems.noted():
            _check_primary_beam(self.primary_beam)
        problems.raise_all()
        if self.convention == "casa":
            arrays["v"] = -arrays["v"]
        for name, array in arrays.items():
            flat = array.reshape((2, -1) if name == "antennas" else -1)
            object.__setattr__(self, name, flat)
        object.__setattr__(self, "convention", "image")
        object.__setattr__(self, "phase_centre", tuple(centre.tolist()))

    @staticmethod
    def _check(arrays: dict, shape: tuple[int, ...]) -> None:
        wrong = {name: arrays[name].shape for name in ("u", "v") if arrays[name].shape != shape}
        if wrong or len(shape) not in (1, 2) or not np.prod(shape):
            raise ValueError(
                "`u`, `v` and `visibilities` must have one shape, (k,) or (channels, k). "
                f"Received: shapes {arrays['u'].shape}, {arrays['v'].shape} and {shape}"
            )
        weights = arrays.get("weights")
        if weights is None:
            return
        if not np.isfinite(weights).all() or np.any(weights < 0) or not weights.any():
            raise ValueError(
                "`weights` must be finite, 0 where a visibility is not used and positive "
                f"otherwise. Received: {np.nanmin(weights):g} to {np.nanmax(weights):g}, "
                f"{np.sum(~np.isfinite(weights))} of them NaN or infinite"
            )
        used = weights > 0
        for name in ("u", "v", "visibilities"):
            bad = int(np.sum(~np.isfinite(arrays[name][used])))
            if bad:
                raise ValueError(
                    f"`{name}` must be finite: give what is flagged a weight of 0. "
                    f"Received: {bad} that are not"
                )

    def __len__(self) -> int:
        """Number of visibilities, flagged ones too."""
        return len(self.u)

    def __repr__(self) -> str:
        """Return one line."""
        longest = self.longest_baseline
        facts = [
            f"{len(self)} visibilities",
            f"baselines to {longest / 1e3:.4g} kilowavelengths",
            f'details of {0.5 / longest / ARCSEC:.2g}"',
        ]
        facts += [] if self.unit is None else [f"in {self.unit}"]
        return f"VisibilityObservation({', '.join(facts)})"

    @property
    def longest_baseline(self) -> float:
        """Wavelengths, of what has a weight."""
        return float(np.hypot(self.u, self.v)[self.weights > 0].max())

    @property
    def largest_pixel_scale(self) -> float:
        """Width in arcsec of the largest pixels that hold all details: 1 / (2 longest baseline)."""
        return 0.5 / self.longest_baseline / ARCSEC

    def on_grid(self, grid: PixelGrid) -> DirtyImage:
        """Return all that a likelihood needs of them, on the pixels of a model.

        It takes about a second per million; it is kept, and asked for again costs nothing.

        Args:
            grid: The image's pixels.
        """
        if grid not in self._grids:
            beam = None
            if self.primary_beam is not None:
                beam = self._beam_at(*grid.coordinates())
            # One at a time: it is large.
            self._grids.clear()
            self._grids[grid] = dirty_image(self._chunks(), self._from_phase_centre(grid), beam)
        return self._grids[grid]

    def predict(self, sky: np.ndarray, grid: PixelGrid) -> np.ndarray:
        """Return the visibilities, (k,), that a sky would have.

        Args:
            sky: Flux per pixel, (m, m).
            grid: Its pixels.
        """
        if self.primary_beam is not None:
            sky = sky * self._beam_at(*grid.coordinates())
        plane = self._from_phase_centre(grid)
        parts = [UVPlane(u, v, plane).apply(sky) for u, v, *_ in self._chunks()]
        return np.concatenate(parts)

    def reweighted(self) -> "VisibilityObservation":
        """Return the same with weights that are right by the scatter of neighbours in time.

        All weights are multiplied by one number: so that the differences of visibilities of one
        baseline (and channel) that follow each other have the variance that the weights say, 1/w_1
        + 1/w_2. Sources, which change little between them, do not enter.

        Raises:
            ValueError: `time` or `antennas` were not given, or no two visibilities follow.
        """
        return replace(self, weights=self.weights * self.weight_factor()[0])

    def weight_factor(self) -> tuple[float, float]:
        """Return what `reweighted` multiplies weights by, and its standard error; raises so."""
        if self.time is None or self.antennas is None:
            raise ValueError(
                "`time` and `antennas` must be given: neighbours in time are visibilities of one "
                "pair of antennas. Received: None"
            )
        # Channels of one integration differ in (u, v) by their frequency: kept apart by the order.
        first, second = self.antennas
        order = np.lexsort((np.hypot(self.u, self.v), self.time, second, first))
        order = order[self.weights[order] > 0]
        one, other = _neighbours(self.time[order], first[order], second[order])
        if not len(one):
            raise ValueError(
                "`antennas` must have visibilities that follow in time. Received: none"
            )
        one, other = order[one], order[other]
        square = np.abs(self.visibilities[one] - self.visibilities[other]) ** 2
        chi2 = 0.5 * square / (1 / self.weights[one] + 1 / self.weights[other])
        # Of a complex number, whose chi^2 / 2 has a variance of 1; neighbours share one of theirs.
        return float(1 / chi2.mean()), float(np.sqrt(1.5 / len(chi2)) / chi2.mean())

    def _beam_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        radius = np.hypot(x - self.phase_centre[0], y - self.phase_centre[1])
        return 0.5 ** (2 * radius / self.primary_beam) ** 2

    def _from_phase_centre(self, grid: PixelGrid) -> PixelGrid:
        (x, y), (x0, y0) = grid.centre, self.phase_centre
        return replace(grid, centre=(x - x0, y - y0))

    def _chunks(self) -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, len(self), CHUNK):
            part = slice(start, start + CHUNK)
            yield self.u[part], self.v[part], self.visibilities[part], self.weights[part]


def _neighbours(time, first, second) -> tuple[np.ndarray, np.ndarray]:
    """Return which visibilities, sorted by pair and time, are one integration apart.

    Those of one integration (several channels) are numbered, and compared with their like.
    """
    new_pair = np.r_[True, (np.diff(first) != 0) | (np.diff(second) != 0)]
    new_time = new_pair | np.r_[True, np.diff(time) != 0]
    pair, integration = np.cumsum(new_pair), np.cumsum(new_time)
    starts = np.flatnonzero(new_time)
    channel = np.arange(len(time)) - starts[integration - 1]
    by_channel = np.lexsort((integration, channel, pair))
    one, other = by_channel[:-1], by_channel[1:]
    follows = (
        (pair[one] == pair[other])
        & (channel[one] == channel[other])
        & (integration[other] == integration[one] + 1)
    )
    return one[follows], other[follows]


def _complex(given) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind not in "cfiu":
        raise ValueError(f"`visibilities` must be complex numbers. Received: dtype {array.dtype}")
    return array.astype("complex128", copy=False)


def _antennas(given, shape: tuple[int, ...]) -> np.ndarray:
    antennas = np.asarray(given)
    if antennas.shape[:1] != (2,):
        raise ValueError(
            f"`antennas` must be two numbers of each visibility, (2, ...). "
            f"Received: shape {antennas.shape}"
        )
    return np.broadcast_to(antennas, (2, *shape))


def _check_primary_beam(width) -> None:
    if width is not None and not (np.isfinite(width) and width > 0):
        raise ValueError(f"`primary_beam` must be a FWHM in arcsec, or None. Received: {width}")
