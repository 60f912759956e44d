"""The RIM as a user meets it: data in any unit in, source in that unit out."""

import copy
import hashlib
import warnings
from dataclasses import replace

import numpy as np
from keras import ops

from rim_lensing.forward_model.geometry import Geometry, OnGeometry
from rim_lensing.networks.flux_scale import estimate_flux_scale
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.leftover_light import warn_of_lens_light
from rim_lensing.observation.normalised import NormalisedObservation, as_objects
from rim_lensing.reconstruction.chi2_warning import warn_of_chi2
from rim_lensing.reconstruction.compiled_rim import CompiledRIM
from rim_lensing.reconstruction.lens_likelihood import LensLikelihood
from rim_lensing.reconstruction.linear_systems import linear_system
from rim_lensing.reconstruction.refinement import best_strength, refine
from rim_lensing.reconstruction.rim_likelihood import RefinedLikelihood, RIMLikelihood
from rim_lensing.reconstruction.source_coverage import check_source_coverage
from rim_lensing.reconstruction.source_model import COPY, SourceModel
from rim_lensing.reconstruction.training_range import warn_outside_training
from rim_lensing.results.batched import in_chunks
from rim_lensing.results.constrained import warn_of_unconstrained
from rim_lensing.results.result import REFINED, Reconstruction
from rim_lensing.simulation.priors import Priors

CUT_OFF_FRACTION = 0.97
"""Of the largest brightness that a network can make, above which a source counts as cut off: a
sigmoid reaches 1 nowhere."""


class RIMReconstructor(OnGeometry, SourceModel):
    """Reconstructs sources with a trained RIM.

    Args:
        network: The RIM, with its weights.
        name: Of the model; results carry it.
        priors: What it was trained on; systems outside are warned of.

    Attributes:
        refines: Whether reconstructions end with `refine`: see `refined`.

    Example:
        >>> model = rim_lensing.load_pretrained("rim_euclid64")
        >>> result = model.reconstruct(image, noise=0.01, psf=0.07, lens=LensParameters(1.2))
        >>> result.source, result.chi2
    """

    def __init__(self, network: RIM, name: str, priors: Priors):
        """Keep the network; it is compiled at its first run, for every batch size anew."""
        if not network.built:
            network.build()
        self.network, self.priors = network, priors
        self._name, self.refines = name, False
        self._compiled = CompiledRIM(network, network.config)

    def __repr__(self) -> str:
        """Return one line."""
        grids = f"image {self.image_grid}, source {self.source_grid}"
        return f"RIMReconstructor({self.name}, {grids})"

    @property
    def name(self) -> str:
        """Of the model, and whether it is refined."""
        return self._name + REFINED if self.refines else self._name

    @property
    def geometry(self) -> Geometry:
        """Grids and supersampling: those of the network, see `with_source_grid`."""
        return self._compiled.geometry

    def with_image_grid(self, side: int, pixel_scale: float) -> "RIMReconstructor":
        """Return this model for images of other pixels: `side` of them, `pixel_scale` arcsec wide.

        The weights and the source grid stay. The network was trained on images with the pixels
        of `image_grid`; see `RIM.on_image_grid` for why it serves others. How well:
        `python train/evaluate.py NAME --image-grid SIDE SCALE`.
        """
        network = self.network.on_image_grid(side, pixel_scale)
        other = RIMReconstructor(network, self._name, self.priors)
        other._compiled.geometry = self.geometry.on_image_grid(side, pixel_scale)
        other.refines = self.refines
        return other

    def with_source_grid(
        self, pixel_scale: float, centre: tuple[float, float] = (0.0, 0.0)
    ) -> "RIMReconstructor":
        """Return this model for sources of another pixel scale, or elsewhere.

        The network sees source-plane maps alone, in which arcsec do not occur: to it an image on
        pixels half as wide of a source on pixels half as wide, lens and PSF shrunk alike, is the
        same system. So with both grids shrunk by a factor it does what it was trained for, on
        lengths that are smaller by that factor (`priors` are). With the image's pixels as they were
        a source pixel has less signal, or more, than in training.

        Args:
            pixel_scale: Of the source, in arcsec.
            centre: (x, y) of the middle of the source grid, in arcsec: where the source is.

        Raises:
            ValueError: No pixel scale, or no point.
        """
        shrinks = pixel_scale / self.source_grid.pixel_scale
        priors = self.priors.on_field(shrinks)
        other = copy.copy(self)
        other._compiled = self._compiled.on_source_grid(pixel_scale, centre)
        other.priors = replace(priors, psf_sigma=tuple(shrinks * end for end in priors.psf_sigma))
        return other

    def refined(self, refines: bool = True) -> "RIMReconstructor":
        """Return this model with a linear inversion of its residuals as its last step, or without.

        For little noise, and for sources unlike those that it was trained on: there a RIM leaves
        signal in the residuals, and this takes it up (`reconstruction.refinement`). Where the
        residuals are noise the source stays as it is, to some hundredths of its error. It costs
        some tenths of a second on 64 x 64 pixels, seconds on 192 x 192.

        Searches (`optimise_lens`, `automated_fit`) take the likelihood of the RIM's own source,
        which has a gradient, and refine what they end with; `sample_lens_posterior` integrates over
        the source's error, see `RefinedLikelihood`.
        """
        other = copy.copy(self)
        other.refines = refines
        return other

    def reconstruct(
        self,
        image,
        noise=None,
        psf=None,
        lens=None,
        mask=None,
        pixel_scale=None,
        batch_size: int = 16,
    ) -> Reconstruction:
        """Return the source behind a lens, or the sources behind a batch of lenses.

        The flux scale does not matter: image and noise times any number give the source times that
        number. A network with flux_scale="image" (all of the zoo's) finds the scale of the source
        itself: no pixel of it is brighter than four times the mean of the image's brightest 3x3
        pixels, at which a point-like source is cut off. One with flux_scale="unit" (the paper's)
        knows only sources of peak 1: it is run twice, first as if the source's peak were twice the
        image's brightest pixel, then with the peak that fits the data best after the first run. A
        peak of more than twice that pixel (a source that pixels and PSF dilute that much) comes out
        too low; above four times, it is cut off.

        Args:
            image: An `Observation`, without arguments up to `psf`; or (m, m) or (batch, m, m), on
                `image_grid`, lens light and background subtracted, in any unit of surface
                brightness.
            noise: rms of the noise in the image's unit: a number, (batch,), a map (m, m) or maps
                (batch, m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec, or (batch,) of them; or
                normalised kernels on the image's pixels (not oversampled), (k, k) or
                (batch, k, k), of any odd side up to the image's.
            lens: LensParameters, a dictionary of them, 7 or 8 numbers, or (batch, 7 or 8); a
                MassModel, or a sequence of them; or Deflections of any other package.
            mask: True where a pixel is USED (lenstronomy's convention; PyAutoLens users give
                Mask(mask, marks="masked")), (m, m) or (batch, m, m). By default all are used.
            pixel_scale: The image's arcsec per pixel, if known, to be compared with `image_grid`.
            batch_size: Systems that are reconstructed at a time; a larger batch takes more memory
                and shows a progress bar.

        Returns:
            A Reconstruction; without batch axis if the image had none. `Reconstruction.refined`
            says whether a refined model could refine it.

        Raises:
            ValueError: Bad input (see `check_observation`), a `batch_size` below 1, or a source
                grid that the arcs miss (see `check_source_coverage`).

        Warns:
            UserWarning: The lens galaxy's light is left in the image (see `leftover_light`); the
                lens, noise or PSF lie outside of the training set's range; the mask hides the arcs;
                part of their flux comes from outside of the source grid; the source is cut off, or
                cannot be refined; much of its light lies where no used pixel sees it; or chi^2 is
                not that of noise.
        """
        if int(batch_size) != batch_size or batch_size < 1:
            raise ValueError(f"`batch_size` must be a positive integer. Received: {batch_size}")
        observation = check_observation(
            image,
            noise,
            psf,
            lens,
            mask,
            image_grid=self.image_grid,
            psf_side=self.psf_side,
            pixel_scale=pixel_scale,
        )
        warn_of_lens_light(observation, self.image_grid)
        warn_outside_training(observation, self.priors)
        check_source_coverage(observation, self.image_grid, self.source_grid)
        result = self.reconstruct_checked(observation, int(batch_size))
        self.warn_of_cut_off(observation, result)
        warn_of_unconstrained(result.source, result.constrained)
        warn_of_chi2(result.chi2)
        return result

    def reconstruct_checked(
        self, observation: NormalisedObservation, batch_size: int = 16
    ) -> Reconstruction:
        """Do what `reconstruct` does after its checks; warns of sources that cannot be refined."""
        result, failures = self.reconstruct_silently(observation, batch_size)
        if failures:
            bad = np.isin(np.arange(len(observation)), list(failures))
            warnings.warn(
                SystemsWarning(
                    f"The source could not be refined{which_systems(bad)}, and stays the "
                    f"network's: {next(iter(failures.values()))}",
                    bad,
                ),
                stacklevel=3,
            )
        return result

    def reconstruct_silently(
        self,
        observation: NormalisedObservation,
        batch_size: int = 16,
        counted: str = "system",
        strength: float | None = None,
    ) -> tuple[Reconstruction, dict[int, str]]:
        """Do what `reconstruct` does between its checks and its warnings.

        Where none of the systems can be refined the result is that of the model that does not
        refine, in its name and its steps, too.

        Args:
            observation: The systems.
            batch_size: Of them, at a time.
            counted: What the progress bar calls them.
            strength: Of the refinement, see `refine`.

        Returns:
            The reconstruction; and why systems could not be refined, see `refine`.
        """
        history = self._run_in_chunks(observation, batch_size, counted)
        name, failures = self._name, {}
        if self.refines:
            last, failures = refine(observation, history[:, -1], self.geometry, counted, strength)
            if len(failures) < len(last):
                history, name = np.concatenate([history, last[:, None]], axis=1), self.name
        result = Reconstruction.from_history(observation, history, self.geometry, model=name)
        return result, failures

    @property
    def search_model(self) -> "RIMReconstructor":
        """This model without its refinement: the RIM's own likelihood has a gradient."""
        return self.refined(False) if self.refines else self

    def lens_likelihood(self, observation: NormalisedObservation) -> LensLikelihood:
        """See `SourceModel.lens_likelihood`; that of a refined RIM integrates over its error."""
        kind = RefinedLikelihood if self.refines else RIMLikelihood
        return kind(self._compiled, observation)

    def reconstruct_copies(
        self, copies: NormalisedObservation, result: Reconstruction
    ) -> tuple[Reconstruction, dict[int, str]]:
        """See `SourceModel.reconstruct_copies`: refined at the strength of the result's own."""
        strength = self._strength_of(copies[:1], result) if result.refined else None
        return self.reconstruct_silently(copies, counted=COPY, strength=strength)

    def _strength_of(self, copy: NormalisedObservation, result: Reconstruction) -> float:
        """Return the e^-2 at which a result was refined, of which this is a simulated copy."""
        unit = copy.flux_unit[:, None, None]
        seen = replace(copy, image=np.where(result.mask, result.image, 0)[None] / unit)
        if result.visibilities is not None:
            dirty = result.visibilities.scaled(copy.flux_unit[0])
            seen = replace(seen, visibilities=as_objects([dirty]))
        system = linear_system(seen, copy.lensing_matrices(self.geometry)[0])
        return best_strength(system, result.history[-2] / unit[0])

    def description(self) -> dict:
        """See `SourceModel.description`."""
        digest = hashlib.sha256()
        for weights in (*self.network.trainable_variables, *self.network.non_trainable_variables):
            digest.update(np.ascontiguousarray(ops.convert_to_numpy(weights)).tobytes())
        return {
            "name": self.name,
            "weights_sha256": digest.hexdigest(),
            "network": self.network.config.to_dict() | self.geometry.to_dict(),
        }

    def warn_of_result(self, observation: NormalisedObservation, result: Reconstruction) -> None:
        """Warn (UserWarning) of sources that are cut off, and of a chi^2 that is not noise's."""
        self.warn_of_cut_off(observation, result)
        warn_of_chi2(result.chi2)

    def warn_of_cut_off(self, observation: NormalisedObservation, result: Reconstruction) -> None:
        """Warn (UserWarning) of sources as bright as a network with flux_scale="image" can do.

        Where no used pixel sees the source its brightness says nothing: `warn_of_unconstrained`.

        Args:
            observation: The systems.
            result: Of this model, refined or not: the network's own sources count.
        """
        if self.network.config.flux_scale != "image":
            return
        limit = ops.convert_to_numpy(estimate_flux_scale(observation.image, observation.noise))
        networks_own = result.history[..., -2 if result.refined else -1, :, :]
        networks_own = np.where(result.constrained, networks_own, 0.0)
        found = np.atleast_1d(networks_own.max(axis=(-2, -1))) / observation.flux_unit
        cut_off = found > CUT_OFF_FRACTION * limit[:, 0, 0]
        if cut_off.any():
            others = "model.refined() (on the command line --refine), or a linear inversion, is"
            if self.refines:
                others = "The refinement starts from there; a linear inversion is"
            warnings.warn(
                SystemsWarning(
                    f"The source is as bright as the network can make it{which_systems(cut_off)}, "
                    "four times the image's brightest 3x3 pixels: a point-like source is cut off "
                    f"there. {others} not.",
                    cut_off,
                ),
                stacklevel=3,
            )

    def run(self, observation: NormalisedObservation) -> np.ndarray:
        """Return the sources after every step, (batch, T, n, n), in the observation's units.

        What `reconstruct` does, without its checks, and all systems at once: the network is
        compiled for every size of the batch anew.
        """
        return self._compiled.run(observation)

    def _run_in_chunks(
        self, observation: NormalisedObservation, batch_size: int, counted: str
    ) -> np.ndarray:
        """Do what `run` does, `batch_size` systems at a time."""
        total, histories = len(observation), []
        size = min(batch_size, total)
        for chunk in in_chunks(total, size, counted):
            # The last chunk is filled up, so that one compiled graph serves all.
            indices = np.minimum(np.arange(chunk.start, chunk.start + size), total - 1)
            histories.append(self.run(observation[indices])[: chunk.stop - chunk.start])
        return np.concatenate(histories)
