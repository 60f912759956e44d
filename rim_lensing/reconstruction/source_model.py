"""What searches, tests and samplers ask of whatever reconstructs sources."""

from abc import abstractmethod
from typing import Protocol

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.normalised import NormalisedObservation
from rim_lensing.reconstruction.chi2_warning import warn_of_chi2
from rim_lensing.reconstruction.lens_likelihood import LensLikelihood
from rim_lensing.results.result import Reconstruction
from rim_lensing.simulation.priors import Priors

COPY = "simulated copy"
"""What progress bars call one system of `SourceModel.reconstruct_copies`."""


class SourceModel(Protocol):
    """Makes the source of an image and a lens, and says how probable the lens is.

    `RIMReconstructor` and `SemilinearInversion` are two. `optimise_lens`, `automated_fit`,
    `check_residuals` and `sample_lens_posterior` take any other object that has these members. A
    class that inherits from this one writes the attributes and the abstract methods, and has the
    rest.

    Attributes:
        name: Of the model, and of the results that it makes (`Reconstruction.model`).
        image_grid: The pixels that images must have.
        source_grid: The pixels of the sources.
        psf_side: Gaussian kernels have at least this many pixels a side.
        priors: What it was trained on: a search stays there if the user does not choose, and
            systems outside are warned of. None, it was not trained.
    """

    name: str
    image_grid: PixelGrid
    source_grid: PixelGrid
    psf_side: int
    priors: Priors | None

    @abstractmethod
    def reconstruct_checked(self, observation: NormalisedObservation) -> Reconstruction:
        """Return the sources behind the lenses of observations that are checked already.

        A search asks this at many lenses: what costs more than the source, `with_uncertainties`
        adds to one. The result's `log_likelihood` is, up to a constant, that of `lens_likelihood`.

        Raises:
            NoMaximumError: The lens explains nothing of the data.
        """

    @abstractmethod
    def lens_likelihood(self, observation: NormalisedObservation) -> LensLikelihood:
        """Return how probable one observation is behind other lenses than its own."""

    @abstractmethod
    def description(self) -> dict:
        """Return what tells this model from others, as JSON can hold it.

        A chain is continued only by the model that has the same description.
        """

    @property
    def search_model(self) -> "SourceModel":
        """The model whose likelihood a search climbs: this one.

        Or one that is cheaper, or has a gradient, and whose sources this one improves on.
        """
        return self

    def with_uncertainties(
        self, observation: NormalisedObservation, result: Reconstruction
    ) -> Reconstruction:
        """Return a result of `reconstruct_checked` with all that this model knows of its errors.

        Args:
            observation: With the result's lens.
            result: Behind the lens that was found.
        """
        return result

    def reconstruct_copies(
        self, copies: NormalisedObservation, result: Reconstruction
    ) -> tuple[Reconstruction, dict[int, str]]:
        """Reconstruct simulated copies of a result's image as the result was, without a warning.

        Args:
            copies: The result's model image with fresh noise, behind the result's lens.
            result: Whose method is repeated, with what it found out about the data before: a linear
                inversion's strength, say.

        Returns:
            The reconstruction; and why copies could not be reconstructed so, by their number.
        """
        return self.reconstruct_checked(copies), {}

    def warn_of_result(self, observation: NormalisedObservation, result: Reconstruction) -> None:
        """Warn (UserWarning) of what this model does not give where all is well.

        Args:
            observation: With the result's lens.
            result: Of this model.
        """
        warn_of_chi2(result.chi2)


class FramedSourceModel(SourceModel, Protocol):
    """A source model whose grids can follow an image and a source, and that can be refined.

    `RIMReconstructor` is one; see there.
    """

    @abstractmethod
    def with_image_grid(self, side: int, pixel_scale: float) -> "FramedSourceModel":
        """Return this model for images of other pixels."""

    @abstractmethod
    def with_source_grid(
        self, pixel_scale: float, centre: tuple[float, float]
    ) -> "FramedSourceModel":
        """Return this model for sources of another pixel scale, or elsewhere."""

    @abstractmethod
    def refined(self, refines: bool = True) -> "FramedSourceModel":
        """Return this model with a last step that takes up what is left in the residuals."""


_MEMBERS = [
    *SourceModel.__annotations__,
    *(name for name in vars(SourceModel) if not name.startswith("_")),
]


def check_source_model(source_model) -> None:
    """Refuse what is no `SourceModel`.

    Raises:
        TypeError: It is a class or a name, or members lack.
    """
    lacking = [name for name in _MEMBERS if not hasattr(source_model, name)]
    if not lacking and not isinstance(source_model, type):
        return
    received = what(source_model)
    if isinstance(source_model, type):
        received = f"the class {source_model.__name__}, and not an object of it"
    elif not isinstance(source_model, str):
        received += f", which lacks {', '.join(lacking)}"
    raise TypeError(
        '`source_model` must be a RIMReconstructor, such as load_pretrained("rim_euclid64"), or a '
        "SemilinearInversion, or have all members of rim_lensing.SourceModel. "
        f"Received: {received}"
    )


def what(value) -> str:
    """Return what a user gave in the place of a model: a name as it is, or else the type."""
    return repr(value) if isinstance(value, str) else type(value).__name__
