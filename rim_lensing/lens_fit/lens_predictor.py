"""The lens CNN as a user meets it: an image in any unit in, lens parameters out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from rim_lensing.lens_fit.intervals import GAUSSIAN_FACTORS, LEVELS
from rim_lensing.lens_fit.rebinned_lens_model import RebinnedLensModel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import PARAMETER_NAMES
from rim_lensing.lensing.symmetries import SYMMETRIES
from rim_lensing.networks.lens_cnn import LensCNN
from rim_lensing.observation.checks import check_image
from rim_lensing.observation.leftover_light import warn_of_lens_light
from rim_lensing.plain_numbers import plain
from rim_lensing.reconstruction.training_range import warn_of_prediction, warn_outside_training
from rim_lensing.results.batched import Batched, in_chunks
from rim_lensing.simulation.priors import Priors

PASSES = 32
"""With other units dropped each, of a prediction: the calibration holds for this number."""

_BATCH = 64
_SAMPLING_SEED = 850


@dataclass(frozen=True, repr=False)
class LensPrediction(Batched):
    """The lens of one image or of a batch, with its uncertainty.

    Unpacks into lens and standard deviation: `lens, std = cnn.predict(...)`. The parameters are
    theta_E, e1, e2, x, y, gamma1, gamma2 (see `lens_parameters`), in arcsec where they are lengths.
    Without the batch axis if there was one image. Of a batch `prediction[3]` is the LensPrediction
    of its fourth image, `prediction[:2]` of the first two, `len(prediction)` the number of images;
    but because it unpacks, a loop over the prediction is one over lens and std.

    Args:
        lens: The mean over eight orientations of the image with nothing dropped, (batch, 7).
        std: Total standard deviation, (batch, 7): std^2 = aleatoric^2 + epistemic^2.
        aleatoric: What noise and resolution leave open, as the network has learned to tell,
            (batch, 7).
        epistemic: Scatter between networks with other units dropped, looking at the image in other
            orientations: what the network does not know, (batch, 7).
        samples: Lenses drawn from the posterior, (batch, passes, 7), one of each pass with dropout:
            a mixture of Gaussians around `lens`.
        interval_factors: Half-widths of the intervals of LEVELS over `std`, (2, 7).
    """

    ARRAYS: ClassVar = ("lens", "std", "aleatoric", "epistemic", "samples")
    _telling = "lens", 2
    _without_batch_axis = ("interval_factors",)
    _words = "prediction", "image"
    _instead = ". `lens, std = prediction`"

    lens: np.ndarray
    std: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    samples: np.ndarray
    interval_factors: Sequence[Sequence[float]] = GAUSSIAN_FACTORS

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield lens and std."""
        return iter((self.lens, self.std))

    def __repr__(self) -> str:
        """Return one line."""
        if self.is_batch:
            theta_E = self.lens[:, 0]
            ends = f"{theta_E.min():.4g} to {theta_E.max():.4g}"
            return f"LensPrediction({len(self)} images, theta_E {ends})"
        rows = zip(PARAMETER_NAMES, self.lens, self.std, strict=True)
        numbers = (f"{name} = {value:.4f} +- {std:.4f}" for name, value, std in rows)
        return f"LensPrediction({', '.join(numbers)})"

    def interval(self, level: float = LEVELS[0]) -> np.ndarray:
        """Return lower and upper end of the interval of a probability, (2, batch, 7) or (2, 7).

        Each parameter's alone, around `lens`, as wide as it took on development systems to hold the
        truth as often (split conformal prediction, Papadopoulos et al. 2002): the errors are not
        Gaussian, those of the lens centre least of all.

        Raises:
            ValueError: `level` is none of LEVELS.
        """
        # Not `in`: a float32 of 0.68 is another number.
        known = np.flatnonzero(np.isclose(LEVELS, level, rtol=1e-6))
        if not len(known):
            raise ValueError(f"`level` must be one of {LEVELS}. Received: {level}")
        half_width = np.asarray(self.interval_factors)[known[0]] * self.std
        return np.stack([self.lens - half_width, self.lens + half_width])

    def summary(self) -> dict[str, dict]:
        """Return the numbers of one image by parameter, as `LensChain.summary` has them, for JSON.

        Returns:
            mean, std, interval_68% and interval_95% of each.
        """
        columns = {
            "mean": self.lens,
            "std": self.std,
            **{f"interval_{level:.0%}": self.interval(level).T for level in LEVELS},
        }
        return {
            name: {key: np.round(value[i], 8).tolist() for key, value in columns.items()}
            for i, name in enumerate(PARAMETER_NAMES)
        }


class LensPredictor:
    """Predicts lens parameters with a trained CNN (Hezaveh et al. 2017; paper section 2.4).

    Args:
        network: The CNN, with its weights; its dropout rate is that of predictions.
        name: Of the model.
        priors: What it was trained on; systems outside are warned of.
        std_factors: What the seven standard deviations, aleatoric and epistemic, are multiplied by,
            see `lens_cnn_calibration`.
        interval_factors: Half-widths of the intervals of LEVELS over the standard deviations,
            (2, 7).

    Example:
        >>> cnn = rim_lensing.load_pretrained("lens_cnn_euclid64")
        >>> lens, std = cnn.predict(image, noise=0.01, psf=0.07)
    """

    def __init__(
        self,
        network: LensCNN,
        name: str,
        priors: Priors,
        std_factors: tuple[float, ...] = (1.0,) * 7,
        interval_factors: Sequence[Sequence[float]] = GAUSSIAN_FACTORS,
    ):
        """Keep the network."""
        self.network, self.name, self.priors = network, name, priors
        self.std_factors = tuple(plain(list(std_factors)))
        self.interval_factors = tuple(map(tuple, plain(list(interval_factors))))

    def __repr__(self) -> str:
        """Return one line."""
        return f"LensPredictor({self.name}, image {self.image_grid})"

    @property
    def image_grid(self) -> PixelGrid:
        """The pixels that images must have."""
        return self.network.config.image_grid

    @property
    def psf_side(self) -> int:
        """Pixels along a side of the PSF kernels that it was trained on."""
        return self.network.config.psf_side

    def with_image_grid(
        self, side: int, pixel_scale: float, noise_correlation: np.ndarray | None = None
    ) -> RebinnedLensModel:
        """Return a lens model for images of other pixels: `side` of them, `pixel_scale` arcsec.

        They are averaged to the pixels of `image_grid` before this network sees them; where they
        cover less of the sky, the rest is masked. Within 1% they are taken as they are, and lengths
        scaled.

        Args:
            side: Pixels along a side.
            pixel_scale: arcsec.
            noise_correlation: Of the noise of these pixels, (k, k), as `noise_correlation` measures
                it in blank sky; by default they are independent, as those of a drizzled image are
                not, and the noise of their mean comes out too small.

        Raises:
            ValueError: Pixels more than 1% larger than those of `image_grid`, no grid (see
                `PixelGrid`), or no correlation (see `check_noise_correlation`).
        """
        return RebinnedLensModel(self, PixelGrid(side, pixel_scale), noise_correlation)

    def predict(
        self, image, noise=None, psf=None, mask=None, pixel_scale=None, passes: int = PASSES
    ) -> LensPrediction:
        """Return the lens of an image, or the lenses of a batch, with standard deviations.

        The unit of the flux does not matter. The same input gives the same answer: the units that
        are dropped, and the samples, come from a fixed seed.

        Args:
            image: An `Observation` alone; or (m, m) or (batch, m, m), on `image_grid`, lens light
                and background subtracted, in any unit of surface brightness.
            noise: rms of the noise in the image's unit: a number, (batch,), a map (m, m) or maps
                (batch, m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec, or (batch,) of them; or
                normalised kernels on the image's pixels (not oversampled), (k, k) or
                (batch, k, k), of any odd side up to the image's.
            mask: True where a pixel is USED (lenstronomy's convention; PyAutoLens users give
                Mask(mask, marks="masked")), (m, m) or (batch, m, m). By default all are used.
            pixel_scale: The image's arcsec per pixel, if known, to be compared with `image_grid`.
            passes: How often the network looks at each image with other units dropped, in the next
                of eight orientations each time; before that it looks at all eight with nothing
                dropped. Other numbers than the default are not what was calibrated.

        Raises:
            ValueError: Bad input (see `check_image`), or less than 2 `passes`.

        Warns:
            UserWarning: The lens galaxy's light is left in the image (see `leftover_light`); noise
                or PSF, or the predicted lens by more than its error, lie outside of the training
                set's range; or the mask hides the arcs.
        """
        if int(passes) != passes or passes < 2:
            raise ValueError(f"`passes` must be an integer, at least 2. Received: {passes}")
        observation = check_image(
            image,
            noise,
            psf,
            mask,
            image_grid=self.image_grid,
            psf_side=self.psf_side,
            pixel_scale=pixel_scale,
        )
        warn_of_lens_light(observation, self.image_grid)
        warn_outside_training(observation, self.priors)
        inputs = observation.network_inputs()
        draws, parts = prediction_draws(self.network, int(passes)), []
        for chunk in in_chunks(len(observation), _BATCH):
            chosen = {name: value[chunk] for name, value in inputs.items()}
            parts.append(self.network.passes(chosen, draws))
        means, variances = (np.concatenate(values, axis=1) for values in zip(*parts, strict=True))
        combined = combine(means, variances, self.std_factors, observation.single)
        warn_of_prediction(*map(np.atleast_2d, combined), self.priors)
        return replace(combined, interval_factors=self.interval_factors)


def prediction_draws(network: LensCNN, passes: int = PASSES) -> np.ndarray:
    """Return what the passes of a prediction drop, (8 + passes, dropout_units): first nothing.

    What is kept is multiplied by 1 / (1 - rate), in the passes that drop nothing, too: the
    calibration chooses this gain along with the rate (of both published networks it lessens the
    error of theta_E by a tenth).
    """
    plain = np.ones((SYMMETRIES, network.config.dropout_units), "float32")
    return np.concatenate([plain, network.dropout_draws(passes)])


def combine(
    means: np.ndarray, variances: np.ndarray, std_factors=(1.0,) * 7, single: bool = False
) -> LensPrediction:
    """Return the prediction that passes through the network add up to.

    The variance is the mean of the predicted variances plus the variance of the predicted means,
    both over the passes with dropout (Perreault Levasseur et al. 2017). The mean is that of the
    passes without: a few dozen drops of units, the same for all systems, move all of them together.

    Args:
        means: Of the passes of `prediction_draws`, (8 + passes, batch, 7).
        variances: Aleatoric, (8 + passes, batch, 7).
        std_factors: Of the seven standard deviations.
        single: There is one image, and the answer has no batch axis.
    """
    means, variances = (np.asarray(array, "float64") for array in (means, variances))
    factors = np.asarray(std_factors)
    lens = means[:SYMMETRIES].mean(axis=0)
    means, variances = means[SYMMETRIES:], variances[SYMMETRIES:]
    aleatoric = factors * np.sqrt(variances.mean(axis=0))
    epistemic = factors * means.std(axis=0)
    draws = np.random.default_rng(_SAMPLING_SEED).standard_normal((len(means), 1, means.shape[-1]))
    samples = lens + factors * (means - means.mean(axis=0) + np.sqrt(variances) * draws)
    arrays = (
        lens,
        np.hypot(aleatoric, epistemic),
        aleatoric,
        epistemic,
        samples.transpose(1, 0, 2),
    )
    return LensPrediction(
        *(array[0] if single else array for array in (array.astype("float32") for array in arrays))
    )
