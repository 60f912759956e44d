"""Lens light and a source of Gaussians in competition for the flux, as a function of the lens."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from rim_lensing.cutout_fit.gaussian_source import EXTENDED, NAMES, LensedGaussians
from rim_lensing.lens_light.amplitudes import NormalEquations
from rim_lensing.lens_light.gaussian_columns import gaussian_columns
from rim_lensing.lens_light.light import LensLight
from rim_lensing.lens_light.patches import Patch, binned, square_around
from rim_lensing.lens_light.shape_search import search_shapes

STEPS = np.array([4e-3, 4e-3, 4e-3, 2e-3, 2e-3, 2e-3, 2e-3, 4e-3, 4e-3, 1e-2, 1e-2])
"""Of differences, in the order of NAMES."""

PRIOR_WIDTHS = np.array([np.inf, 0.1, 0.1, 0.02, 0.02, 0.04, 0.04, np.inf, np.inf, 0.15, 0.15])
"""Standard deviations of what is expected, in the order of NAMES: mass follows light loosely, and
its centre closely; shear is small (Keeton et al. 1997); sources are not needles."""

MASS_OVER_LIGHT = 0.8
"""Ellipticity of the mass over that of the light (Bolton et al. 2008)."""

COARSE_PIXEL = 0.1
"""arcsec."""

REACH = np.array([0.25, 0.25, 0.1, 0.1, 0.15, 0.15, 3.0, 3.0, 0.5, 0.5])
"""Of all but theta_E: farthest from what is expected."""

LIGHT_ERROR, SOURCE_ERROR = 0.01, 0.2
"""Of the light, and of what is brighter than it: what ellipses and a few concentric Gaussians are
wrong by, added to the noise. Else the lens is bent until it makes clumps of a smooth source."""


HARMONICS = (1, 2)
HARMONIC_WIDTHS = (1.0, 2.0)
"""arcsec. Galaxies are lopsided and twisted by a few percent, on scales wider than arcs. Else the
lens is bent until a faint glow of its source is as lopsided."""


def _no_ellipse(patch: Patch, centre: tuple[float, float]) -> np.ndarray:
    """Return smooth columns of either sign, G(r) r^m cos and sin(m phi), (n, rows, columns)."""
    z = patch.x - centre[0] + 1j * (patch.y[:, None] - centre[1])
    waves = [
        np.exp(-0.5 * np.abs(z / width) ** 2) * (z / width) ** m
        for width in HARMONIC_WIDTHS
        for m in HARMONICS
    ]
    return np.concatenate([[w.real, -w.real, w.imag, -w.imag] for w in waves])


@dataclass(frozen=True, eq=False)
class JointProblem:
    """Least squares in the lens; amplitudes of source and light are solved for.

    Args:
        patch: What was seen.
        light: Columns of light, of what is no ellipse of it, and of the sky, which is the last,
            (n, rows, columns).
        source: Of the same patch.
        expected: In the order of NAMES: where the priors are centred.
        bounds: Lowest and highest, in the order of NAMES.
    """

    patch: Patch
    light: np.ndarray
    source: LensedGaussians
    expected: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(
        cls, whole: Patch, light: LensLight, psf_sigma: float, radius: float, coarse: bool
    ) -> "JointProblem":
        """Return the problem on the pixels around a galaxy.

        Args:
            whole: The image, light and sky in.
            light: Its fit: shapes stay as they are.
            psf_sigma: arcsec.
            radius: Half the side of what is compared, arcsec.
            coarse: Bin the pixels to COARSE_PIXEL, with one ray for each: fast. Else all pixels,
                with 2 x 2 rays each.
        """
        used = whole.weight > 0
        residuals = np.where(used, whole.data - light.image - light.sky, 0)
        blur = max(psf_sigma / whole.pixel_scale, 1.0)
        seen = np.maximum(gaussian_filter(used.astype(float), blur), 0.1)
        excess = np.clip(gaussian_filter(residuals, blur) / seen, 0, None)
        variance = np.where(used, 1 / np.where(used, whole.weight, 1), np.inf)
        variance = variance + (LIGHT_ERROR * light.image) ** 2 + (SOURCE_ERROR * excess) ** 2
        softened = replace(whole, weight=1 / (variance + light.error**2))
        patch = square_around(softened, light.centre, radius)
        if coarse:
            factor = max(1, round(COARSE_PIXEL / whole.pixel_scale))
            source = LensedGaussians(binned(patch, factor), 1)
        else:
            source = LensedGaussians(patch, 2)
        patch = source.patch
        columns = np.concatenate(
            [
                gaussian_columns(patch, light.widths, light.ellipticities, light.centre),
                _no_ellipse(patch, light.centre),
                np.ones((1, *patch.data.shape)),
            ]
        )
        e = MASS_OVER_LIGHT * np.array([light.e1, light.e2])
        expected = np.array([0, *e, *light.centre, 0, 0, *light.centre, 0, 0])
        smallest = max(2.5 * psf_sigma, 0.25)
        bounds = tuple(
            np.concatenate([[theta_E], (expected[1:] + sign * REACH)])
            for theta_E, sign in ((smallest, -1), (0.95 * radius, 1))
        )
        return cls(patch, columns, source, expected, bounds)

    def tempered(self, factor: float) -> "JointProblem":
        """Return the problem with chi^2 divided by a factor, so that the priors count for more."""
        patch = replace(self.patch, weight=self.patch.weight / factor)
        return replace(self, patch=patch, source=replace(self.source, patch=patch))

    def with_wings(self) -> "JointProblem":
        """Return the problem with a source that may have wings."""
        return replace(self, source=replace(self.source, widest=EXTENDED))

    def __post_init__(self):
        """Keep what does not depend on the lens."""
        own = NormalEquations.of(self.light, self.patch.data, self.patch.weight)
        object.__setattr__(self, "_own", own)
        object.__setattr__(self, "_root", np.sqrt(self.patch.weight))

    @property
    def pixels(self) -> int:
        """Number of pixels that are compared."""
        return int(np.sum(self.patch.weight > 0))

    @property
    def without_source(self) -> float:
        """Chi^2 of the light alone."""
        return self._own.chi2(self._own.solve(free=1))

    def solve(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return amplitudes of source and light, columns of the source, residuals over sigma."""
        columns = self.source.columns(vector)
        weighted = (columns * self.patch.weight).reshape(len(columns), -1)
        across = weighted @ self.light.reshape(len(self.light), -1).T
        matrix = np.block(
            [[weighted @ columns.reshape(len(columns), -1).T, across], [across.T, self._own.matrix]]
        )
        right = np.concatenate([weighted @ self.patch.data.ravel(), self._own.right])
        amplitudes = NormalEquations(matrix, right, self._own.data).solve(free=1)
        n = len(columns)
        model = np.tensordot(amplitudes[:n], columns, 1)
        model += np.tensordot(amplitudes[n:], self.light, 1)
        return amplitudes, columns, (self._root * (self.patch.data - model)).ravel()

    def residuals(self, vector: np.ndarray) -> np.ndarray:
        """Return residuals over sigma, and by how much a vector is not what is expected."""
        priors = (vector - self.expected) / PRIOR_WIDTHS
        return np.concatenate([self.solve(vector)[2], priors])

    def cost(self, vector: np.ndarray, with_priors: bool = True) -> float:
        """Return chi^2 and priors, or chi^2."""
        residuals = self.residuals(vector) if with_priors else self.solve(vector)[2]
        return float(np.sum(residuals**2))

    def search(
        self, start: np.ndarray, most_steps: int, tolerance: float, held: tuple[str, ...] = ()
    ) -> tuple[float, np.ndarray]:
        """Return chi^2 and priors, and the vector, at the optimum near a start.

        Args:
            start: In the order of NAMES.
            most_steps: See `search_shapes`.
            tolerance: Likewise.
            held: Names of what is not searched.
        """
        free = np.array([name not in held for name in NAMES])

        def residuals(part, chosen):
            vector = start.copy()
            vector[free] = part
            return self.residuals(vector), None

        bounds = self.bounds[0][free], self.bounds[1][free]
        found = search_shapes(residuals, start[free], STEPS[free], bounds, most_steps, tolerance)
        vector = start.copy()
        vector[free] = found.x
        return 2 * float(found.cost), vector
