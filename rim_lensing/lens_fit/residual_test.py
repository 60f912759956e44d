"""Are the residuals noise? A parametric bootstrap (Efron & Tibshirani 1993, chapter 16).

chi^2 alone cannot say. Its expectation is not the number of pixels: a source with hundreds of free
pixels takes up part of the noise, a RIM leaves a little of the signal at low noise, and how much
depends on lens, PSF, mask and noise. So the null distribution is simulated for the system at hand:
the model image, with fresh noise, is reconstructed again with the same lens by the same method, a
few times, and gives residuals that are noise and the method's own doing, and nothing else.

A wrong lens leaves residuals on the arcs that are correlated over the width of the arcs, noise
does not. Two statistics are compared with their simulated values: chi^2 of the arcs, and that of
the residuals smoothed over one pixel. Both are taken beside the arcs, too, where neither lens nor
source has a part in them: a telescope's image has texture there that no noise map knows of, faint
sources and what a galaxy's model leaves.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import t as student

from rim_lensing.forward_model.whitening import whitening
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.symmetries import restore_image, standard_orientation
from rim_lensing.observation.correlated_noise import correlate_noise
from rim_lensing.observation.normalised import NormalisedObservation, as_objects
from rim_lensing.reconstruction.source_model import SourceModel, check_source_model
from rim_lensing.results.result import Reconstruction

FALSE_ALARM = 0.001
"""p-value below which residuals are not called noise.

The copies are made from the source that was found. A RIM's is smoother than the truth, and smooth
sources leave less: with the true lens the p-value falls below 0.001 in 2.5% +- 1.0% of systems, and
below 0.01 in 4% (240 development systems of rim_euclid64; in 13% and 13% at less than 1% of noise,
in 0% and 1% at 3% and more).
"""

STATISTICS = ("arcs", "smoothed")
_SMOOTHING = 1.0
_MIN_COPIES = 3


@dataclass(frozen=True)
class ResidualTest:
    """What the test says about one system.

    Args:
        consistent: Whether the residuals are consistent with noise.
        p_value: Probability of residuals as large or larger if they were noise.
        excess: Of each of STATISTICS, over its simulated mean: 1 is what noise leaves, (2,).
        significance: Of each, in sigma of the simulated values of its logarithm, (2,).
        false_alarm: Below this p-value the residuals are not called noise.
        beside: `excess` of the pixels beside the arcs, (2,).
    """

    consistent: bool
    p_value: float
    excess: np.ndarray
    significance: np.ndarray
    false_alarm: float
    beside: np.ndarray

    def __str__(self) -> str:
        """Return one line."""
        verdict = "consistent with noise" if self.consistent else "not noise"
        return (
            f"residuals {verdict}: p = {self.p_value:.2g}, chi^2 of the arcs "
            f"{self.excess[0]:.3g} and smoothed {self.excess[1]:.3g} times what noise leaves"
        )


def residual_statistics(
    residuals: np.ndarray, model_image: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Weighted sums of squares of residuals, as they are and smoothed: (batch, 2, 2).

    The weights S^2 / (S^2 + 1), S the model image over the noise, pick out the arcs, first; 1 less
    these what is beside them, second.

    Args:
        residuals: In units of the noise, (batch, m, m), 0 where masked; of correlated noise made
            white, as chi^2 has them.
        model_image: Noiseless model of the arcs, (batch, m, m).
        noise: rms, (m, m) or (batch, m, m); infinite where masked.
    """
    signal = (model_image / noise) ** 2
    weights = signal / (signal + 1), 1 / (signal + 1)
    smooth = gaussian_filter(residuals, (0, _SMOOTHING, _SMOOTHING), mode="constant")
    sums = [
        [np.sum(weight * values**2, axis=(1, 2)) for values in (residuals, smooth)]
        for weight in weights
    ]
    return np.moveaxis(np.array(sums), 2, 0)


def check_residuals(
    result: Reconstruction,
    source_model: SourceModel,
    false_alarm: float = FALSE_ALARM,
    copies: int = 16,
    seed: int = 0,
    noise_correlation: np.ndarray | None = None,
    texture: float = 1.0,
) -> ResidualTest:
    """Test whether the residuals of a reconstruction are consistent with noise.

    The logarithms of the statistics are nearly Gaussian; that of the data is compared with the
    simulated ones by Student's t, which knows that mean and spread come from a few copies. Of a
    refined result all copies are refined: those that cannot be are left out, and not warned of.

    Args:
        result: Of one system.
        source_model: What made it: a RIM, a linear inversion, or another `SourceModel`.
        false_alarm: Between 0 and 1, see FALSE_ALARM; each statistic gets half.
        copies: Simulations, 3 or more. Each costs a reconstruction.
        seed: Of their noise: the same seed gives the same answer.
        noise_correlation: Of the copies' noise by the pixels' distance, (k, k), as
            `noise_correlation` measures it in blank sky; by default what the likelihood of the
            result has taken into account. Without either the noise of the copies is independent,
            and the correlated noise of a drizzled image is told from it, whatever the lens.
        texture: As many times what noise leaves as the statistics are beside the arcs they may be
            on them, and up to so many times. By default noise is the noise map's.

    Raises:
        ValueError: A batch, a result without lens or of another source model, an argument out of
            range, or no correlation (see `check_noise_correlation`).
        RuntimeError: Less than 3 copies of a refined result can be refined.
        TypeError: `source_model` is no `SourceModel`.
    """
    check_source_model(source_model)
    if result.is_batch:
        raise ValueError(
            "`result` must be that of one system: test result[0], result[1], ... Received: a "
            f"batch of {len(result)}"
        )
    if np.isnan(result.lens).any():
        raise ValueError(
            "`result` must have been made with a `lens`: the copies are reconstructed behind it. "
            "Received: one made with a `lensing_matrix`"
        )
    if not _made_by(source_model, result):
        raise ValueError(
            "`source_model` must be what made `result`: the copies show what it leaves of pure "
            f"noise. Received: a result of {result.model!r}, and {source_model!r}"
        )
    if int(copies) != copies or copies < _MIN_COPIES:
        raise ValueError(f"`copies` must be an integer, {_MIN_COPIES} or more. Received: {copies}")
    if not texture >= 1:
        raise ValueError(f"`texture` must be 1 or more. Received: {texture}")
    if not 0 < false_alarm < 1:
        raise ValueError(f"`false_alarm` must lie between 0 and 1. Received: {false_alarm}")
    used, noise = result.mask, result.noise
    generator = np.random.default_rng(seed)
    draws = generator.standard_normal((int(copies), *noise.shape))
    # Turned as the image lies: the answer for a mirrored system is the same.
    seen = np.where(used, result.image, 0) / noise
    draws = restore_image(draws, standard_orientation(seen))
    if noise_correlation is None:
        noise_correlation = result.noise_correlation
    if noise_correlation is not None:
        draws = correlate_noise(draws, noise_correlation)
    if result.visibilities is not None:
        dirty = result.visibilities
        draws = np.stack([dirty.noise * dirty.noise_of(white) for white in draws])
    images = np.where(used, result.model_image + np.where(used, noise, 0) * draws, 0)
    models, others, failures = _reconstruct(images, result, source_model)
    kept = np.delete(np.arange(len(images)), list(failures))
    if len(kept) < _MIN_COPIES:
        raise RuntimeError(
            f"{_MIN_COPIES} of {copies} simulated copies must be refined like the source. "
            f"Received: {len(kept)}, and {next(iter(failures.values()))}"
        )
    images, models, others = images[kept], models[kept], others[kept]

    def logarithms(images, models, others):
        residuals = np.where(used, images - models - others, 0) / noise
        if result.noise_correlation is not None:
            residuals = whitening(result.noise_correlation, used).whiten(residuals)
        return np.log(np.maximum(residual_statistics(residuals, models, noise), 1e-300))

    explained = result.model_image[None], result.template_image[None]
    data = logarithms(np.where(used, result.image, 0)[None], *explained)[0]
    null = logarithms(images, models, others)
    excess = data - null.mean(axis=0)
    spread = null.std(axis=0, ddof=1)
    level = np.clip(excess[1], 0, np.log(texture))
    spread = np.where(level > 0, np.hypot(*spread), spread[0])
    significance = (excess[0] - level) / (spread * np.sqrt(1 + 1 / len(null)))
    # NaN stays NaN, which is not consistent with anything.
    p_value = float(np.minimum(1.0, 2 * student.sf(significance.max(), len(null) - 1)))
    return ResidualTest(
        consistent=p_value >= false_alarm,
        p_value=p_value,
        excess=np.exp(excess[0]),
        significance=significance,
        false_alarm=false_alarm,
        beside=np.exp(excess[1]),
    )


def _made_by(source_model: SourceModel, result: Reconstruction) -> bool:
    """Return whether a source model of this kind, on these grids, has made a result."""
    grids = [
        PixelGrid(result.image.shape[-1], result.image_pixel_scale),
        result.source_grid,
    ]
    made = [source_model.image_grid, source_model.source_grid]
    return result.model == source_model.name and grids == made


def _reconstruct(
    images, result: Reconstruction, source_model: SourceModel
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Return the model images (copies, m, m) of simulated images, reconstructed as the result was.

    And what templates explain of them, (copies, m, m), and which of them could not be refined, see
    `refine`. Not by `reconstruct`: it would refuse copies of a faint image whose noise hides the
    arcs.
    """
    unit, copies = float(np.nanmax(result.image)), len(images)

    def repeated(array):
        return np.repeat(np.asarray(array, "float32")[None], copies, axis=0)

    observation = NormalisedObservation(
        image=(images / unit).astype("float32"),
        noise=repeated(result.noise / unit),
        psf=repeated(result.psf),
        lens=repeated(result.lens),
        flux_unit=np.full(copies, unit),
        psf_sigma=np.full(copies, np.nan),
        single=False,
        form=result.form,
        ray_oversampling=result.ray_oversampling,
        fine_psf=None if result.fine_psf is None else repeated(result.fine_psf),
        noise_correlation=result.noise_correlation,
        templates=None if result.templates is None else repeated(result.templates / unit),
    )
    if result.visibilities is not None:
        seen = [each.scaled(unit) for each in result.visibilities.copies(images, result.sky)]
        observation = replace(observation, visibilities=as_objects(seen))
    again, failures = source_model.reconstruct_copies(observation, result)
    return again.model_image, again.template_image, failures
