"""Two real lenses, HST and Euclid: lens and source from the image alone, beside other people's.

    python examples/real_lenses.py FOLDER --output DIR

FOLDER holds either of
- SDSS J1630+4520 (HST F555W, SLACS): image_, psf_ and result_SDSSJ1630+4520_F555W as Shajib et al.
  2021 give them; their power law + shear is what the fit is compared with;
- a lens of Euclid's Quick Release 1: one FITS file with VIS_BGSUB, VIS_RMS and VIS_PSF. We know of
  no published model to read, so that lenstronomy fits one to the same pixels: SIE + shear, Sersic
  profiles for lens galaxy and source.

The light of the lens galaxy is fitted and subtracted, the noise map is scaled to the scatter of the
blank sky, and the lens CNN, Algorithm 1 and, with --steps, a Markov chain do the rest; nothing of
the other model enters. Needs lenstronomy, for the light, too.
"""

import argparse
import json
import time
import warnings
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_linear_solve import ImageLinearFit
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import OptimizeResult, least_squares

import rim_lensing as rl
from rim_lensing.figures import lens_fit
from rim_lensing.inference.correlated_noise import noise_correlation
from rim_lensing.io import cutout, offset_in_cutout, read_image
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES

HST = "SDSSJ1630+4520_F555W"
CENTRE = (-0.2, 0.2)
"""arcsec: where the search may put the mass. The networks' own prior, 0.05, is the half pixel by
which a cutout can be off, and mass need not lie where the light does."""
SMOOTHING = 0.07
"""arcsec: arcs are looked for in an image smoothed by this."""
DRAWS = 4000


@dataclass(frozen=True)
class Exposure:
    """What a telescope saw.

    Args:
        name: Of the lens.
        image: Background subtracted, (m, m); the origin of all positions is the middle.
        noise: rms, (m, m); infinite where masked.
        psf: Normalised kernel.
        pixel_scale: arcsec.
        masked_centre: arcsec: within, the subtracted lens galaxy leaves residuals of its own.
        side: Pixels of the square around the lens galaxy that is modelled.
        published: Somebody's model of the lens, if there is one.
    """

    name: str
    image: np.ndarray
    noise: np.ndarray
    psf: np.ndarray
    pixel_scale: float
    masked_centre: float
    side: int
    published: rl.LensParameters | None = None


@dataclass(frozen=True)
class Estimate:
    """Seven lens parameters and what is known of their errors.

    Args:
        title: Who says so.
        lens: (7,) or (8,).
        draws: Lenses from the distribution of the errors, (k, 7 or 8); none if nothing is known.
    """

    title: str
    lens: np.ndarray
    draws: np.ndarray | None = None


def read_hst(folder: Path) -> Exposure:
    """Read SDSS J1630+4520, with +x along growing right ascension, as its model has it."""
    with h5py.File(folder / f"image_{HST}.h5") as file:
        data = {key: value[()] for key, value in file.items()}
    with h5py.File(folder / f"psf_{HST}.h5") as file:
        psf = file["kernel_point_source"][()]
    image = data["image_data"]
    noise = np.sqrt(data["background_rms"] ** 2 + np.clip(image, 0, None) / data["exposure_time"])
    matrix = data["transform_pix2angle"]
    middle = (len(image) - 1) / 2
    origin = [data["ra_at_xy_0"], data["dec_at_xy_0"]] + matrix @ [middle, middle]
    mass, shear = json.loads((folder / f"result_{HST}.json").read_text())["kwargs_result"][
        "kwargs_lens"
    ]
    return Exposure(
        name="slacs_j1630",
        # The first column has the largest right ascension: mirror.
        image=image[:, ::-1],
        noise=noise[:, ::-1],
        psf=psf[:, ::-1] / psf.sum(),
        pixel_scale=float(np.sqrt(abs(np.linalg.det(matrix)))),
        masked_centre=0.5,
        side=124,
        # lenstronomy's theta_E is ours, on the intermediate axis, and so are e1, e2. Its shear is
        # about another point, which shifts the source and nothing else.
        published=rl.LensParameters(
            theta_E=mass["theta_E"],
            e1=mass["e1"],
            e2=mass["e2"],
            x=mass["center_x"] - origin[0],
            y=mass["center_y"] - origin[1],
            gamma1=shear["gamma_ext"] * np.cos(2 * shear["psi_ext"]),
            gamma2=shear["gamma_ext"] * np.sin(2 * shear["psi_ext"]),
            slope=mass["gamma"] - 1,
        ),
    )


def euclid_files(folder: Path) -> list[Path]:
    """Return the FITS files of a folder that are no mask."""
    return sorted(file for file in folder.glob("*.fits") if not file.name.startswith("mask"))


def read_euclid(folder: Path) -> Exposure:
    """Read a lens of Euclid VIS; +x along the columns, which is west on the sky."""
    (path,) = euclid_files(folder)
    image, noise, psf = (read_image(path, f"VIS_{name}") for name in ("BGSUB", "RMS", "PSF"))
    # Pixels without data have an rms of 1e16; PyAutoLens's mask of other galaxies has 1 on them.
    bad = noise.array > 1e6 * np.median(noise.array)
    others = folder / "mask_extra_galaxies.fits"
    if others.exists():
        bad |= read_image(others, "MASK").array > 0
    return Exposure(
        name=f"euclid_{path.name.split('_')[0]}",
        image=image.array,
        noise=np.where(bad, np.inf, noise.array),
        psf=psf.array / psf.array.sum(),
        pixel_scale=image.pixel_scale,
        masked_centre=0.25,
        side=64,
    )


class SersicFit:
    """lenstronomy's model of an image: a lens galaxy of two Sersic profiles, and a constant sky.

    Args:
        exposure: The image.
        noise: rms; pixels where it is infinite do not count.
        lensed: Whether there are an SIE + shear, and a source with a Sersic profile behind it, too.
    """

    def __init__(self, exposure: Exposure, noise: np.ndarray, lensed: bool = False):
        """Set coordinates up: arcsec from the middle, along the pixels."""
        scale, used = exposure.pixel_scale, np.isfinite(noise)
        first = PixelGrid(len(exposure.image), scale).axis()[0]
        data = ImageData(
            exposure.image,
            noise_map=np.where(used, noise, 1),
            ra_at_xy_0=first,
            dec_at_xy_0=first,
            transform_pix2angle=scale * np.eye(2),
        )
        self._model = ImageLinearFit(
            data,
            PSF("PIXEL", kernel_point_source=np.clip(exposure.psf, 0, None)),
            LensModel(["SIE", "SHEAR"] if lensed else []),
            LightModel(["SERSIC_ELLIPSE"] if lensed else []),
            LightModel(["SERSIC_ELLIPSE", "SERSIC_ELLIPSE", "UNIFORM"]),
            kwargs_numerics={"supersampling_factor": 2, "supersampling_convolution": False},
            likelihood_mask=used,
        )
        self._image, self._noise, self._used = exposure.image, noise, used
        self._lensed = lensed

    def fit(self, start: np.ndarray) -> OptimizeResult:
        """Return the least-squares fit; amplitudes are solved for at every step."""
        profile = [(np.log(0.02), np.log(4)), (0.5, 6), (-0.6, 0.6), (-0.6, 0.6)]
        bounds = [(-1, 1)] * 2 + profile * 2
        if self._lensed:
            bounds += [(-1, 1)] * 2 + profile + [(0.3, 2.5)] + [(-0.5, 0.5)] * 6
        low, high = np.transpose(bounds)
        return least_squares(
            self._residuals,
            np.clip(start, low + 1e-3, high - 1e-3),
            bounds=(low, high),
            x_scale=0.2 * (high - low),
            diff_step=1e-4,
            max_nfev=60,
        )

    def light(self, point: np.ndarray) -> np.ndarray:
        """Return the lens galaxy and the sky, of all pixels."""
        arguments = self._arguments(point)
        # Puts the amplitudes into the arguments.
        self._model.image_linear_solve(**arguments)
        return self._model.image(**arguments, source_add=False)

    def _residuals(self, point: np.ndarray) -> np.ndarray:
        model = self._model.image_linear_solve(**self._arguments(point))[0]
        return ((self._image - model) / self._noise)[self._used]

    def _arguments(self, point: np.ndarray) -> dict:
        """Return the numbers as lenstronomy takes them."""

        def profile(centre, shape):
            names = ("center_x", "center_y", "R_sersic", "n_sersic", "e1", "e2")
            values = (*centre, np.exp(shape[0]), *shape[1:])
            return {"amp": 1.0, **dict(zip(names, values, strict=True))}

        centre, galaxy, rest = point[:2], np.reshape(point[2:10], (2, 4)), point[10:]
        found = {"kwargs_lens_light": [*(profile(centre, one) for one in galaxy), {"amp": 1.0}]}
        if self._lensed:
            names = ("theta_E", "e1", "e2", "center_x", "center_y")
            found["kwargs_source"] = [profile(rest[:2], rest[2:6])]
            found["kwargs_lens"] = [
                dict(zip(names, rest[6:11], strict=True)),
                {"gamma1": rest[11], "gamma2": rest[12], "ra_0": 0.0, "dec_0": 0.0},
            ]
        return found


def subtract_lens_light(exposure: Exposure) -> tuple[Exposure, np.ndarray, np.ndarray]:
    """Return the exposure without its lens galaxy, the galaxy's parameters, and noise correlations.

    What stands out of the fit, smoothed, is taken for arcs and left out of the next fit. The rest
    tells what the noise is like: the map is scaled so that it scatters by 1, for pipelines may give
    the rms before resampling; and the correlation of neighbouring pixels is measured.
    """
    kept, point = exposure.noise, np.array([0, 0, -1.5, 3, 0.01, 0.01, -0.2, 1, 0.01, 0.01])
    for _ in range(6):
        model = SersicFit(exposure, kept)
        point = model.fit(point).x
        image = exposure.image - model.light(point)
        normalised = image / exposure.noise
        smooth = gaussian_filter(normalised, SMOOTHING / exposure.pixel_scale)
        arcs = binary_dilation(smooth > 3.5 * scatter(smooth[np.isfinite(kept)]))
        kept = np.where(arcs, np.inf, exposure.noise)
    x, y = PixelGrid(len(image), exposure.pixel_scale).coordinates()
    blank = np.isfinite(kept) & (np.hypot(x - point[0], y - point[1]) > exposure.masked_centre)
    blank &= np.abs(normalised) < 4 * scatter(normalised[blank])
    factor, correlation = np.std(normalised[blank]), noise_correlation(normalised, blank)
    beside = correlation[len(correlation) // 2][len(correlation) // 2 + 1]
    print(f"noise map times {factor:.3f}; correlation of neighbours {beside:.2f}")
    return replace(exposure, image=image, noise=exposure.noise * factor), point, correlation


def scatter(values: np.ndarray) -> float:
    """Return the standard deviation of the Gaussian with the same median deviation."""
    return float(1.4826 * np.median(np.abs(values)))


def around(exposure: Exposure, x: float, y: float) -> tuple[Exposure, np.ndarray]:
    """Return the square around a position, and where its middle lies, (x, y)."""
    scale, middle = exposure.pixel_scale, (len(exposure.image) - 1) / 2
    centre = (middle + y / scale, middle + x / scale)
    off = offset_in_cutout(exposure.image.shape, exposure.side, centre)
    origin = np.array([x, y]) - scale * np.array(off[::-1])
    parts = {
        name: cutout(getattr(exposure, name), exposure.side, centre) for name in ("image", "noise")
    }
    published = exposure.published
    if published is not None:
        parts["published"] = replace(
            published, x=published.x - origin[0], y=published.y - origin[1]
        )
    return replace(exposure, **parts), origin


def fit_with_lenstronomy(
    exposure: Exposure, galaxy: np.ndarray, noise: np.ndarray, generator: np.random.Generator
) -> Estimate:
    """Fit light, SIE + shear and source at once, from several starts.

    Args:
        exposure: As it was read, with its lens galaxy.
        galaxy: The ten parameters of the galaxy's light, to start from.
        noise: rms, after scaling.
        generator: Of starts and of draws.

    Returns:
        The best of the fits; its errors are those of the fit made linear: the pseudo-inverse of
        J'J, which gives no error to what the image says nothing of.
    """
    model, best = SersicFit(exposure, noise, lensed=True), None
    for _ in range(8):
        source = [*(galaxy[:2] + 0.15 * generator.standard_normal(2)), np.log(0.15), 1, 0.01, 0.01]
        lens = [generator.uniform(0.6, 1.6), *(0.1 * generator.standard_normal(2)), *galaxy[:2]]
        start = [*galaxy, *source, *lens, *(0.05 * generator.standard_normal(2))]
        found = model.fit(np.array(start))
        print(f"lenstronomy: chi^2 {2 * found.cost:.1f}, theta_E {found.x[16]:.4f}")
        if best is None or found.cost < best.cost:
            best = found
    covariance = np.linalg.pinv(best.jac.T @ best.jac)[-7:, -7:]
    # In the order of PARAMETER_NAMES: theta_E, e1, e2, x, y, gamma1, gamma2.
    lens = best.x[-7:]
    draws = generator.multivariate_normal(lens, covariance, DRAWS)
    return Estimate("lenstronomy", lens, draws)


def table(estimates: list[Estimate]) -> str:
    """Return a table of the parameters, one estimate a column, as Markdown."""
    rows = ["| | " + " | ".join(one.title for one in estimates) + " |"]
    rows.append("| --- |" + " --- |" * len(estimates))
    values = [_quantities(one.lens[None]) for one in estimates]
    errors = [
        None if one.draws is None else {k: v.std() for k, v in _quantities(one.draws).items()}
        for one in estimates
    ]
    for name in values[0]:
        cells = [
            f"{value[name][0]:.3f}" + ("" if error is None else f" ± {error[name]:.3f}")
            for value, error in zip(values, errors, strict=True)
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _quantities(lenses: np.ndarray) -> dict[str, np.ndarray]:
    """Return the seven parameters of lenses (k, 7 or 8), axis ratio and modulus of the shear."""
    found = dict(zip(PARAMETER_NAMES, lenses.T, strict=False))
    modulus = np.hypot(found["e1"], found["e2"])
    return found | {
        "q": (1 - modulus) / (1 + modulus),
        "shear": np.hypot(found["gamma1"], found["gamma2"]),
    }


def draw_light(image: np.ndarray, light: np.ndarray, noise: np.ndarray, width: float) -> Figure:
    """Draw an image, the light of its lens galaxy, and the difference."""
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    panels = {"data": image, "lens galaxy": light, "data without lens galaxy": image - light}
    sigma = np.median(noise)
    for axis, (title, array) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        drawn = axis.imshow(
            array / sigma,
            origin="lower",
            extent=(-width / 2, width / 2) * 2,
            vmin=-3,
            vmax=12,
        )
        axis.set_title(title)
        axis.set_xlabel("x (arcsec)")
        figure.colorbar(drawn, ax=axis, label="sigma")
    return figure


def main():
    """Read, subtract, predict, fit, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4, help="of Algorithm 1, at most (default 4)")
    parser.add_argument("--steps", type=int, default=0, help="of a Markov chain (default: none)")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    is_hst = (options.folder / f"image_{HST}.h5").exists()
    if not is_hst and len(files := euclid_files(options.folder)) != 1:
        parser.error(
            f"FOLDER must hold image_{HST}.h5, or one FITS file that is no mask. Received: "
            f"{options.folder} with {[file.name for file in files] or 'neither'}"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)

    exposure = (read_hst if is_hst else read_euclid)(options.folder)
    clean, galaxy, correlation = subtract_lens_light(exposure)
    system, origin = around(clean, *galaxy[:2])
    galaxy[:2] -= origin
    seen = replace(system, image=around(exposure, *(galaxy[:2] + origin))[0].image)
    grid = PixelGrid(system.side, system.pixel_scale)
    x, y = grid.coordinates()
    radius = np.hypot(x - galaxy[0], y - galaxy[1])
    data = {
        "image": system.image,
        "noise": system.noise,
        "psf": system.psf,
        "mask": np.isfinite(system.noise) & (radius > system.masked_centre),
    }
    pixels = (grid.side, grid.pixel_scale)
    rim = rl.load_pretrained("rim_euclid64").with_image_grid(*pixels)
    cnn = rl.load_pretrained("lens_cnn_euclid64").with_image_grid(*pixels, correlation)
    priors = replace(rim.priors, centre=CENTRE)

    lens, std = cnn.predict(**data)
    began = time.perf_counter()
    fit = rl.automated_fit(
        **data,
        source_model=rim,
        lens_model=cnn,
        priors=priors,
        max_rounds=options.rounds,
        noise_correlation=correlation,
    )
    print(f"Algorithm 1, {time.perf_counter() - began:.0f} s: {fit.verdict}")
    estimates = [
        Estimate("CNN", lens, lens + std * generator.standard_normal((DRAWS, len(lens)))),
        Estimate("Algorithm 1", fit.lens),
    ]
    if options.steps:
        chain = sample(data, rim, fit.lens, priors, options, system.name)
        estimates.append(Estimate("chain", chain.mean, chain.samples))
    if system.published is None:
        other = fit_with_lenstronomy(seen, galaxy, system.noise, generator)
    else:
        other = Estimate("published", np.array(astuple(system.published)))
    estimates.append(other)
    print(table(estimates))

    rows = {f"round {number}": one.reconstruction for number, one in enumerate(fit.rounds)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        rows[f"lens: {other.title}"] = rim.reconstruct(**data, lens=other.lens)
    best = fit.reconstruction
    arcs = best.mask & (best.model_image > best.noise)
    for title, result in rows.items():
        if result is not None:
            print(
                f"{title}: chi^2 per pixel {result.chi2:.3f}, of the {arcs.sum()} of the arcs "
                f"{np.mean(result.residuals_in_sigma[arcs] ** 2):.3f}"
            )
    print(f"if pixels were independent: {rl.check_residuals(fit.reconstruction, rim)}")

    draw_light(seen.image, seen.image - system.image, system.noise, grid.width).savefig(
        options.output / f"{system.name}_light.png", dpi=90
    )
    lens_fit(
        [
            result.panels() | {"title": f"{title}\nchi^2 per pixel {result.chi2:.3f}"}
            for title, result in rows.items()
            if result is not None
        ]
    ).savefig(options.output / f"{system.name}_rounds.png", dpi=90)
    fit.reconstruction.plot().savefig(options.output / f"{system.name}.png", dpi=110)
    fit.reconstruction.to_fits(options.output / f"{system.name}.fits", overwrite=True)


def sample(data: dict, model, start: np.ndarray, priors, options, name: str) -> rl.LensChain:
    """Return a Markov chain around a lens, kept in NAME_chain.h5; say what it is worth."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="NOT converged")
        chain = rl.sample_lens_posterior(
            **data,
            source_model=model,
            start=start,
            priors=priors,
            max_steps=options.steps,
            path=options.output / f"{name}_chain.h5",
        )
    print(f"chain, {chain.seconds:.0f} s: {chain.verdict}")
    chain.corner().savefig(options.output / f"{name}_corner.png")
    return chain


if __name__ == "__main__":
    main()
