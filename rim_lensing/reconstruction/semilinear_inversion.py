"""Semilinear inversion as a user meets it: call and result are those of a RIM (section 3)."""

from dataclasses import replace

import numpy as np
from scipy.sparse import issparse
from tqdm.auto import tqdm

from rim_lensing.forward_model.geometry import Geometry, OnGeometry
from rim_lensing.inversion.evidence import Engine, log_evidence, maximise_evidence
from rim_lensing.inversion.exact import ExactEngine
from rim_lensing.inversion.linear_system import LinearSystem
from rim_lensing.inversion.matrix_free import MatrixFreeEngine
from rim_lensing.inversion.regularization import check_regularization
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.leftover_light import warn_of_lens_light
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.plain_numbers import plain
from rim_lensing.program import is_crash
from rim_lensing.reconstruction.chi2_warning import warn_of_chi2
from rim_lensing.reconstruction.lens_likelihood import LensLikelihood
from rim_lensing.reconstruction.linear_likelihood import LinearLikelihood
from rim_lensing.reconstruction.linear_systems import linear_system
from rim_lensing.reconstruction.source_coverage import check_source_coverage
from rim_lensing.reconstruction.source_model import COPY, SourceModel
from rim_lensing.results.constrained import seen_pixels, warn_of_unconstrained
from rim_lensing.results.linear_result import LinearReconstruction
from rim_lensing.results.result import Reconstruction

EUCLID64 = Geometry(64, 0.1, 64, 0.05, psf_side=25)
"""The grids of rim_euclid64."""

ENGINES = {"exact": ExactEngine, "matrix-free": MatrixFreeEngine}
"""By name; see there."""

LARGEST_EXACT_SIDE = 64
"""Sources with more pixels a side go to the matrix-free engine if the user does not choose.

An exact determinant is worth the second that it takes at 64, not the 8 s at 96 or 43 s at 128
(0.4 s and 1.0 s without it: benchmarks/README.md, Speed).
"""

_ROUGH_EVIDENCE = (
    "The log evidence of the matrix-free engine is known to some units, at little noise to tens, "
    "and the posterior of a lens is about one unit wide: expect rough optima, and no trustworthy "
    "chain. engine='exact' is right to the last digit, and takes seconds a lens from 96 source "
    "pixels a side on."
)


class SemilinearInversion(OnGeometry, SourceModel):
    """Reconstructs sources by regularised least squares (Warren & Dye 2003; Suyu et al. 2006).

    The source maximises log likelihood - strength s'Rs / 2. It may be negative: nothing clips it.

    Args:
        regularization: Form of the prior: "zeroth", "gradient" (the paper's) or "curvature", see
            `inversion.regularization`.
        strength: lambda, in the image's unit to the power of -2; None finds, for every system, the
            one with the largest Bayesian evidence.
        engine: "exact" (sparse Cholesky factors), "matrix-free" (conjugate gradients and a
            stochastic log determinant), or None: exact up to 64 source pixels a side.
        geometry: Grids and supersampling; a RIM's `network.config` is one. By default that of
            rim_euclid64.

    Raises:
        ValueError: A regularization or an engine that does not exist, or a strength that is not
            a positive number.
        TypeError: `geometry` is something else, such as the RIM itself.

    Example:
        >>> linear = rim_lensing.SemilinearInversion()
        >>> result = linear.reconstruct(image, noise=0.01, psf=0.07, lens=LensParameters(1.2))
        >>> result.source, result.source_std, result.strength, result.log_evidence
    """

    priors = None

    def __init__(
        self,
        regularization: str = "gradient",
        strength: float | None = None,
        engine: str | None = None,
        geometry: Geometry = EUCLID64,
    ):
        """Check the choices."""
        if not isinstance(geometry, Geometry):
            raise TypeError(
                "`geometry` must be a Geometry: that of a RIM is geometry=model.network.config. "
                f"Received: {type(geometry).__name__}"
            )
        strength = plain(strength)
        self.regularization = check_regularization(regularization)
        if strength is not None and not _is_positive(strength):
            raise ValueError(
                "`strength` must be a positive number, in the image's unit to the power of -2, or "
                f"None: the evidence decides. Received: strength={strength}"
            )
        if engine is not None and engine not in ENGINES:
            raise ValueError(
                f"`engine` must be one of {tuple(ENGINES)}, or None: the size of the source "
                f"decides. Received: engine={engine!r}"
            )
        if engine is None:
            engine = "exact" if geometry.source_side <= LARGEST_EXACT_SIDE else "matrix-free"
        self.strength, self.engine, self.geometry = strength, engine, geometry

    def __repr__(self) -> str:
        """Return one line."""
        strength = "of the evidence" if self.strength is None else f"{self.strength:.4g}"
        return (
            f"SemilinearInversion({self.regularization}, strength {strength}, {self.engine}, "
            f"image {self.image_grid}, source {self.source_grid})"
        )

    @property
    def name(self) -> str:
        """Of the method, and its prior."""
        return f"semilinear inversion, {self.regularization}"

    def reconstruct(
        self,
        image,
        noise=None,
        psf=None,
        lens=None,
        mask=None,
        pixel_scale=None,
        lensing_matrix=None,
        uncertainties: bool = True,
    ) -> LinearReconstruction:
        """Return the source behind a lens, or the sources behind a batch of lenses.

        Arguments up to `pixel_scale` are those of `RIMReconstructor.reconstruct`. Image and noise
        times any number give the source and its standard deviation times that number, and the
        strength over its square.

        Args:
            image: An `Observation`, without arguments up to `psf`; or (m, m) or (batch, m, m), on
                `image_grid`, lens light and background subtracted.
            noise: rms in the image's unit: a number, (batch,), a map (m, m) or maps (batch, m, m).
            psf: Width (standard deviation) of a Gaussian in arcsec, or (batch,) of them; or
                normalised kernels on the image's pixels (not oversampled), (k, k) or
                (batch, k, k), of any odd side up to the image's.
            lens: LensParameters, a dictionary of them, 7 or 8 numbers, or (batch, 7 or 8); a
                MassModel, or a sequence of them; or Deflections of any other package.
            mask: True where a pixel is USED, (m, m) or (batch, m, m). By default all are used.
            pixel_scale: The image's arcsec per pixel, if known, to be compared with `image_grid`.
            lensing_matrix: Instead of `lens`, for a mass model of the user's own: scipy sparse
                (m^2, n^2) from source to unblurred image, pixels counted row by row (of the PSF,
                where the observation has rays through finer pixels); or a list of one per system.
                The result's `lens` is then NaN and its plot has no critical curves.
            uncertainties: Whether to compute `source_std`, which costs as much as the rest or more.

        Returns:
            A LinearReconstruction; without batch axis if the image had none.

        Raises:
            ValueError: Bad input (see `check_observation`), a source grid that the arcs miss (see
                `check_source_coverage`), neither or both of `lens` and `lensing_matrix`, or data
                that say nothing about the source.
            numpy.linalg.LinAlgError: The prior is too weak for double precision.
            RuntimeError: Conjugate gradients (of the matrix-free engine) do not converge.

        Warns:
            UserWarning: The lens galaxy's light is left in the image (see `leftover_light`); the
                mask hides the arcs; part of their flux comes from outside of the source grid; much
                of the source's light lies where no used pixel sees it; or chi^2 is more than noise
                leaves.
        """
        if (lens is None) == (lensing_matrix is None):
            raise ValueError(
                "Exactly one of `lens` and `lensing_matrix` must be given. "
                f"Received: {'neither' if lens is None else 'both'}"
            )
        observation = check_observation(
            image,
            noise,
            psf,
            np.zeros(7) if lens is None else lens,
            mask,
            image_grid=self.image_grid,
            psf_side=self.geometry.psf_side,
            pixel_scale=pixel_scale,
        )
        warn_of_lens_light(observation, self.image_grid)
        if lens is None:
            matrices = self._check_matrices(lensing_matrix, observation)
            observation = replace(observation, lens=np.full_like(observation.lens, np.nan))
        else:
            matrices = None
            check_source_coverage(observation, self.image_grid, self.source_grid)
        result = self.reconstruct_checked(observation, matrices, uncertainties)
        warn_of_unconstrained(result.source, result.constrained)
        warn_of_chi2(result.chi2, fits_noise=True)
        return result

    def reconstruct_checked(
        self,
        observation: NormalisedObservation,
        matrices: list | None = None,
        uncertainties: bool = False,
        counted: str = "system",
    ) -> LinearReconstruction:
        """Do what `reconstruct` does after its checks of the input.

        Args:
            observation: The systems.
            matrices: One lensing matrix per system; by default those of the observation's lenses.
            uncertainties: As in `reconstruct`.
            counted: What the progress bar calls the systems.

        Raises:
            NoMaximumError: The data say nothing about the source, see `maximise_evidence`.
            numpy.linalg.LinAlgError: The prior is too weak for double precision.
            RuntimeError: Conjugate gradients (of the matrix-free engine) do not converge.
        """
        matrices, rows = matrices or [None] * len(observation), []
        for i, matrix in enumerate(tqdm(matrices, unit=counted, disable=len(matrices) == 1)):
            try:
                rows.append(self._invert(observation[i : i + 1], matrix, uncertainties))
            except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
                stuck, alone = type(error) is RuntimeError, len(matrices) == 1
                if is_crash(error) or (alone and not stuck):
                    raise
                which = "" if alone else f"System {i} (of {len(matrices)}): "
                advice = (
                    ": choose a larger `strength` (the data determine less), or engine='exact'"
                    if stuck
                    else ""
                )
                raise type(error)(f"{which}{error}{advice}") from error
        return self._result(observation, rows)

    def with_uncertainties(
        self, observation: NormalisedObservation, result: Reconstruction
    ) -> LinearReconstruction:
        """See `SourceModel.with_uncertainties`: with the standard deviations of the source."""
        return self.reconstruct_checked(observation, uncertainties=True)

    def reconstruct_copies(
        self, copies: NormalisedObservation, result: LinearReconstruction
    ) -> tuple[LinearReconstruction, dict[int, str]]:
        """See `SourceModel.reconstruct_copies`: at the strength of the result."""
        held = SemilinearInversion(self.regularization, result.strength, self.engine, self.geometry)
        return held.reconstruct_checked(copies, counted=COPY), {}

    def lens_likelihood(self, observation: NormalisedObservation) -> LensLikelihood:
        """See `SourceModel.lens_likelihood`: the log evidence."""
        caveat = "" if self.engine == "exact" else _ROUGH_EVIDENCE
        return LinearLikelihood(observation, self.geometry, self._engine, self.strength, caveat)

    def description(self) -> dict:
        """See `SourceModel.description`."""
        described = {
            "name": self.name,
            "strength": None if self.strength is None else float(self.strength),
            "engine": self.engine,
            "geometry": self.geometry.to_dict(),
        }
        # It has not always been: a chain of another R is not continued.
        outside = {} if self.regularization == "zeroth" else {"source_outside_of_its_grid": 0.0}
        return described | outside

    def warn_of_result(
        self, observation: NormalisedObservation, result: LinearReconstruction
    ) -> None:
        """Warn (UserWarning) of a chi^2 that noise, part of which is fitted, does not leave."""
        warn_of_chi2(result.chi2, fits_noise=True)

    def _engine(self, system: LinearSystem) -> Engine:
        return ENGINES[self.engine](system, self.regularization)

    def _check_matrices(self, given, observation: NormalisedObservation) -> list:
        """Return one lensing matrix per system."""
        batch, rays = len(observation), self.image_grid.finer(observation.ray_oversampling)
        matrices = list(given) if isinstance(given, list | tuple) else [given] * batch
        shape = (rays.side**2, self.source_grid.side**2)
        wrong = [matrix for matrix in matrices if not issparse(matrix) or matrix.shape != shape]
        if len(matrices) != batch or wrong:
            received = (
                f"a {type(wrong[0]).__name__} of shape {np.shape(wrong[0])}"
                if wrong
                else f"{len(matrices)} matrices for {batch} systems"
            )
            raise ValueError(
                f"`lensing_matrix` must be a scipy sparse matrix of shape (m^2, n^2) = {shape}, m "
                f"the rays along a side of the image, or a list of one per system. "
                f"Received: {received}"
            )
        return matrices

    def _invert(self, observation: NormalisedObservation, matrix, uncertainties: bool) -> dict:
        """Return what a LinearReconstruction needs of one system, in the observation's units."""
        if matrix is None:
            matrix = observation.lensing_matrices(self.geometry)[0]
        system = linear_system(observation, matrix)
        engine = self._engine(system)
        unit = observation.flux_unit[0]
        if self.strength is None:
            strength = maximise_evidence(engine)
            terms = engine.terms(strength)
        else:
            strength = float(self.strength) * unit**2
            terms = engine.held_terms(strength)
        evidence, error = log_evidence(engine, terms)
        mean = engine.mean(strength)
        n, m = system.source_side, system.image_side
        constrained, magnification = seen_pixels(
            lambda image: system.light_adjoint(image.ravel()).reshape(n, n),
            observation.noise[0],
            (self.geometry.image_pixel_scale / self.geometry.source_pixel_scale) ** 2,
        )
        weights = constrained.ravel() * np.stack([np.ones(n * n), magnification.ravel()])
        weights *= (self.geometry.source_pixel_scale / self.geometry.image_pixel_scale) ** 2
        errors = flux_errors(weights @ mean, engine.covariance(strength, weights))
        return {
            "history": mean.reshape(1, n, n),
            "predicted": system.predict(mean).reshape(m, m),
            "chi2": np.array([system.chi2(mean) / system.n_data]),
            "sky": None if observation.visibilities is None else system.sky(mean),
            "strength": strength / unit**2,
            "log_evidence": evidence - system.n_data * np.log(unit),
            "log_evidence_error": error,
            "source_std": unit * engine.standard_deviation(strength).reshape(n, n)
            if uncertainties
            else None,
            "constrained": constrained,
            "pixel_magnification": magnification,
            "source_flux_std": unit * errors[0],
            "model_flux_std": unit * errors[1],
            "total_magnification_std": errors[2],
        }

    def _result(self, observation: NormalisedObservation, rows: list[dict]) -> LinearReconstruction:
        columns = {
            name: None if rows[0][name] is None else np.array([row[name] for row in rows])
            for name in rows[0]
        }
        return LinearReconstruction._in_units(
            observation,
            geometry=self.geometry,
            model=self.name,
            **columns,
        )


def flux_errors(fluxes: np.ndarray, covariance: np.ndarray) -> tuple[float, float, float]:
    """Return the standard deviations of two fluxes and, to first order, of second over first.

    Args:
        fluxes: Of source and image, (2,).
        covariance: (2, 2).
    """
    source, model = np.sqrt(np.diag(covariance))
    # A flux that is 0 has no ratio, and an infinite error of it.
    if fluxes[0] == 0:
        return float(source), float(model), np.inf
    slope = np.array([-fluxes[1] / fluxes[0], 1.0]) / fluxes[0]
    return float(source), float(model), float(np.sqrt(max(slope @ covariance @ slope, 0.0)))


def _is_positive(value) -> bool:
    return isinstance(value, int | float) and 0 < value < np.inf
