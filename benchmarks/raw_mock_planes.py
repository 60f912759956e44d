"""The lights of a raw mock, with lenstronomy's profiles and deflections, and its noise.

Nothing here is the package's forward model: rays are lenstronomy's, the source is interpolated by
cubic splines on pixels of its own, and the PSF is convolved on pixels a fifth of the image's.
"""

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve

FINE = 5
"""Points along a side of an image pixel."""

ARCS_WITHIN = 4.2
"""arcsec from the middle: rays are shot no further out."""

SOURCE_PIXEL, SOURCE_HALF = 0.01, 1.6
"""arcsec: the true source is kept on these pixels, so far around the lens."""

MASKED = 1e8
"""What a noise map has where a pixel is masked."""


class Planes:
    """Builds the lights of one mock, in units of the sky's rms.

    Args:
        truth: Of `raw_mock_recipe.draw_truth`.
        kernel: PSF on pixels of a fifth of the image's, (k, k), k odd, sum 1.
        stamp: The source galaxy, (m, m), not negative.
    """

    def __init__(self, truth: dict, kernel: np.ndarray, stamp: np.ndarray):
        """Lay out the fine pixels."""
        self.truth, self.kernel, self.stamp = truth, kernel, stamp
        side, scale = truth["side"], truth["pixel_scale"]
        axis = (np.arange(side * FINE) - (side * FINE - 1) / 2) * scale / FINE
        self.x, self.y = np.meshgrid(axis, axis)

    def seen(self, light: np.ndarray) -> np.ndarray:
        """Return fine light behind the PSF on image pixels: their mean, (side, side)."""
        side = self.truth["side"]
        blurred = fftconvolve(light, self.kernel, mode="same")
        return blurred.reshape(side, FINE, side, FINE).mean(axis=(1, 3))

    def lens_light(self) -> np.ndarray:
        """Return bulge and disc, scaled so that the ring at 2 arcsec has the brightness drawn."""
        light = self.truth["light"]
        place = {"x": light["x"], "y": light["y"]}
        radius = np.hypot(self.x - light["x"], self.y - light["y"])
        ring = np.abs(radius - 2) < 0.1
        whole = 0.0
        shares = {"bulge": 1 - light["disc_share_at_2"], "disc": light["disc_share_at_2"]}
        for name, share in shares.items():
            part = self._sersic({**light[name], **place})
            whole = whole + share * light["brightness_at_2_to_rms"] * part / part[ring].mean()
        return self.seen(whole)

    def arcs(self, light: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the lensed galaxy on image pixels, and the source's peak brightness.

        Args:
            light: Of the lens galaxy, (side, side): see `standing_out`.
        """
        source_x, source_y, near = self._rays()
        fine = np.zeros(self.x.shape)
        fine[near] = self.source_light(source_x, source_y)
        arcs = self.seen(fine)
        amplitude = self.standing_out(arcs, light)
        return amplitude * arcs, amplitude

    def standing_out(self, shape: np.ndarray, light: np.ndarray) -> float:
        """Return the amplitude that gives a light its `peak_signal_to_noise`.

        That is the largest ratio of its brightness to the whole noise of a pixel, photons of the
        lens galaxy among them.

        Args:
            shape: The light, (side, side).
            light: Of the lens galaxy, (side, side).
        """
        wanted, low, high = self.truth["source"]["peak_signal_to_noise"], 0.0, 1e6 / shape.max()
        for _ in range(60):
            middle = (low + high) / 2
            ratio = np.max(middle * shape / self.scatter(middle * shape + light))
            low, high = (low, middle) if ratio > wanted else (middle, high)
        return float(middle)

    def scatter(self, light: np.ndarray) -> np.ndarray:
        """Return the noise of pixels in sky rms: the sky's, and photons of the light's.

        Args:
            light: All of it, (side, side).
        """
        return np.sqrt(1 + light / (self.truth["rms"] * self.truth["exposure"]))

    def source_light(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the stamp's brightness at places in the source plane, in arcsec; peak about 1."""
        source = self.truth["source"]
        scale = source["half_light_radius"] / half_light_radius(self.stamp)
        x = x - self.source_place()[0]
        y = y - self.source_place()[1]
        turn, middle = source["turn"], (len(self.stamp) - 1) / 2
        along = (np.cos(turn) * x + np.sin(turn) * y) / scale + middle
        across = (-np.sin(turn) * x + np.cos(turn) * y) / scale + middle
        light = map_coordinates(self.stamp, [across, along], order=3, mode="constant")
        return np.maximum(light, 0)

    def source_place(self) -> tuple[float, float]:
        """Return the middle of the source's stamp, (x, y) in arcsec."""
        lens, source = self.truth["lens"], self.truth["source"]
        return (
            lens["x"] + source["radius"] * np.cos(source["direction"]),
            lens["y"] + source["radius"] * np.sin(source["direction"]),
        )

    def source_plane(self) -> np.ndarray:
        """Return the source on pixels of SOURCE_PIXEL around the lens, peak about 1."""
        number = 2 * round(SOURCE_HALF / SOURCE_PIXEL) + 1
        axis = (np.arange(number) - number // 2) * SOURCE_PIXEL
        lens = self.truth["lens"]
        return self.source_light(*np.meshgrid(axis + lens["x"], axis + lens["y"]))

    def ring(self, light: np.ndarray) -> np.ndarray:
        """Return a ring with knots around the galaxy: star formation, and no lens.

        Args:
            light: Of the galaxy, (side, side): see `standing_out`.
        """
        ring, galaxy = self.truth["ring"], self.truth["light"]
        angle = galaxy["disc"]["angle"]
        x, y = self.x - galaxy["x"], self.y - galaxy["y"]
        along = np.cos(angle) * x + np.sin(angle) * y
        across = (-np.sin(angle) * x + np.cos(angle) * y) / ring["axis_ratio"]
        theta = np.arctan2(across, along)
        fine = np.exp(-0.5 * ((np.hypot(along, across) - ring["radius"]) / ring["width"]) ** 2)
        fine *= 1 + ring["knots_share"] * np.cos(ring["knots"] * theta) * np.cos(theta / 2)
        seen = self.seen(fine)
        return self.standing_out(seen, light) * seen

    def quasar(self) -> tuple[np.ndarray, list[dict]]:
        """Return the images of a point source in the middle of the host, and where they are."""
        from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

        model, keywords = lens_model(self.truth["lens"])
        x, y = LensEquationSolver(model).image_position_from_source(
            *self.source_place(), keywords, min_distance=0.05, search_window=6
        )
        strength = np.abs(model.magnification(x, y, keywords))
        fine = np.zeros(self.x.shape)
        for at_x, at_y, weight in zip(x, y, strength, strict=True):
            _add_point(fine, at_x, at_y, weight, self.truth["pixel_scale"] / FINE)
        seen = self.seen(fine)
        images = [
            {"x": float(a), "y": float(b), "magnification": float(c)}
            for a, b, c in zip(x, y, strength, strict=True)
        ]
        return self.truth["quasar_to_rms"] * seen / seen.max(), images

    def neighbours(self) -> np.ndarray:
        """Return other galaxies and stars."""
        whole = np.zeros((self.truth["side"],) * 2)
        for one in self.truth["neighbours"]:
            whole += _peaked(self.seen(self._sersic(one)), one["peak_to_rms"])
        for one in self.truth["stars"]:
            fine = np.zeros(self.x.shape)
            _add_point(fine, one["x"], one["y"], 1.0, self.truth["pixel_scale"] / FINE)
            whole += _peaked(self.seen(fine), one["peak_to_rms"])
        return whole

    def _sersic(self, parameters: dict) -> np.ndarray:
        """Return lenstronomy's Sersic ellipse on fine pixels."""
        from lenstronomy.LightModel.Profiles.sersic import SersicElliptic

        ratio = parameters["axis_ratio"]
        size, angle = (1 - ratio) / (1 + ratio), parameters["angle"]
        return SersicElliptic().function(
            self.x,
            self.y,
            amp=1.0,
            R_sersic=parameters["R_sersic"],
            n_sersic=parameters["n_sersic"],
            e1=size * np.cos(2 * angle),
            e2=size * np.sin(2 * angle),
            center_x=parameters["x"],
            center_y=parameters["y"],
        )

    def _rays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where rays of fine pixels near the lens hit the source plane, and which."""
        near = (np.abs(self.x) < ARCS_WITHIN) & (np.abs(self.y) < ARCS_WITHIN)
        model, keywords = lens_model(self.truth["lens"])
        return *model.ray_shooting(self.x[near], self.y[near], keywords), near


def lens_model(lens: dict) -> tuple:
    """Return lenstronomy's model of a power law with shear, and its keywords.

    Args:
        lens: By the package's names; its slope t is lenstronomy's gamma - 1.
    """
    from lenstronomy.LensModel.lens_model import LensModel

    power_law = {
        "theta_E": lens["theta_E"],
        "gamma": lens["slope"] + 1,
        "e1": lens["e1"],
        "e2": lens["e2"],
        "center_x": lens["x"],
        "center_y": lens["y"],
    }
    shear = {"gamma1": lens["gamma1"], "gamma2": lens["gamma2"], "ra_0": 0, "dec_0": 0}
    return LensModel(["EPL", "SHEAR"]), [power_law, shear]


def half_light_radius(stamp: np.ndarray) -> float:
    """Return the radius in pixels around a stamp's centroid that holds half of its light.

    Args:
        stamp: (m, m), not negative.
    """
    rows, columns = np.indices(stamp.shape)
    total = stamp.sum()
    radius = np.hypot(
        rows - (stamp * rows).sum() / total, columns - (stamp * columns).sum() / total
    ).ravel()
    order = np.argsort(radius)
    within = np.cumsum(stamp.ravel()[order])
    return float(max(radius[order][np.searchsorted(within, total / 2)], 1.0))


def moffat(fwhm: float, beta: float, fine_pixel: float) -> np.ndarray:
    """Return a Moffat PSF on fine pixels, out to ten times its width, (k, k), sum 1.

    Args:
        fwhm: arcsec.
        beta: Exponent.
        fine_pixel: arcsec.
    """
    reach = int(np.ceil(5 * fwhm / fine_pixel / FINE)) * FINE + FINE // 2
    axis = np.arange(-reach, reach + 1) * fine_pixel
    core = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    kernel = (1 + (axis[:, None] ** 2 + axis**2) / core**2) ** -beta
    return kernel / kernel.sum()


def on_pixels(kernel: np.ndarray) -> np.ndarray:
    """Return what image pixels have of a point in the middle of one: a fine kernel summed.

    Args:
        kernel: On fine pixels, (k, k), k odd.
    """
    reach = len(kernel) // 2
    blocks = int(np.ceil((reach - FINE // 2) / FINE))
    margin = blocks * FINE + FINE // 2 - reach
    side = 2 * blocks + 1
    return np.pad(kernel, margin).reshape(side, FINE, side, FINE).sum(axis=(1, 3))


def drizzled_noise(draw: np.random.Generator, side: int, share: float) -> np.ndarray:
    """Return noise of variance 1 of which neighbours share: white noise behind a small kernel.

    Args:
        draw: Generator.
        side: Pixels.
        share: a of the kernel (a, 1, a) along rows and columns.
    """
    line = np.array([share, 1.0, share]) / np.sqrt(1 + 2 * share**2)
    white = draw.normal(size=(side + 2, side + 2))
    rows = line[0] * white[:-2] + line[1] * white[1:-1] + line[2] * white[2:]
    return line[0] * rows[:, :-2] + line[1] * rows[:, 1:-1] + line[2] * rows[:, 2:]


def drizzle_correlation(share: float, reach: int = 3) -> np.ndarray:
    """Return the correlation of `drizzled_noise`, (2 reach + 1, 2 reach + 1).

    Args:
        share: a of its kernel (a, 1, a).
        reach: Largest distance in pixels.
    """
    line = np.zeros(2 * reach + 1)
    for distance, value in ((0, 1 + 2 * share**2), (1, 2 * share), (2, share**2)):
        line[[reach - distance, reach + distance]] = value / (1 + 2 * share**2)
    return np.outer(line, line)


def cosmic_rays(draw: np.random.Generator, side: int, number: int) -> np.ndarray:
    """Return tracks of cosmic rays, in sky rms, (side, side).

    Args:
        draw: Generator.
        side: Pixels.
        number: Of tracks.
    """
    hits = np.zeros((side, side))
    for _ in range(number):
        row, column = draw.uniform(0, side, 2)
        angle, length = draw.uniform(0, np.pi), draw.uniform(1, 8)
        strength = np.exp(draw.uniform(np.log(15), np.log(300)))
        steps = np.arange(0, length, 0.5)
        rows = np.floor(row + steps * np.sin(angle)).astype(int)
        columns = np.floor(column + steps * np.cos(angle)).astype(int)
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        hits[rows[inside], columns[inside]] = strength
    return hits


def _peaked(light: np.ndarray, peak: float) -> np.ndarray:
    return peak * light / max(light.max(), 1e-30)


def _add_point(fine: np.ndarray, x: float, y: float, weight: float, pixel: float) -> None:
    """Add a point to fine pixels, shared by the four around it."""
    middle = (len(fine) - 1) / 2
    row, column = y / pixel + middle, x / pixel + middle
    for at_row in (int(np.floor(row)), int(np.floor(row)) + 1):
        for at_column in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= at_row < len(fine) and 0 <= at_column < len(fine):
                shares = (1 - abs(row - at_row)) * (1 - abs(column - at_column))
                fine[at_row, at_column] += weight * shares
