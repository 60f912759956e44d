"""A RIM in compiled graphs: sources, their likelihood and its slope, for lenses of any form."""

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from keras import ops

from rim_lensing.backend import compiled, value_and_gradient
from rim_lensing.forward_model.from_inputs import model_of
from rim_lensing.forward_model.geometry import Geometry
from rim_lensing.lensing.mass_model import Form
from rim_lensing.networks.flux_scale import FIRST_PEAK, source_peak
from rim_lensing.networks.rim import RIM
from rim_lensing.observation.normalised import NormalisedObservation


class _Graphs(NamedTuple):
    """Compiled for lenses of one form and so many rays per pixel.

    The deflections of these, the log-likelihood and its gradient.
    """

    on_rays: Callable
    log_likelihood: Callable
    value_and_gradient: Callable


class CompiledRIM:
    """Runs a RIM on observations that are checked already, all systems of them at once.

    Each graph is compiled for every size of the batch, every form of the lens and every number of
    rays per pixel anew.

    Args:
        network: The RIM, with its weights; what these are is looked up at every run.
        geometry: Grids and supersampling: those of the network, but for where the source grid lies,
            and how wide its pixels are.
    """

    def __init__(self, network: RIM, geometry: Geometry):
        """Keep the network."""
        self.network, self.geometry = network, geometry
        # Keras's own predict forgets the side of the kernels and the number of lens parameters
        # when they change from one call to the next.
        self._compiled = compiled(network.stateless_call)
        self._graphs_of: dict[tuple[Form, int], _Graphs] = {}

    def on_source_grid(self, pixel_scale: float, centre: tuple[float, float]) -> "CompiledRIM":
        """Return the same network on other source pixels, see `Geometry.on_source_grid`.

        The graphs take the frame as an argument: what is compiled serves all of them.
        """
        other = copy.copy(self)
        other.geometry = self.geometry.on_source_grid(pixel_scale, centre)
        return other

    def run(self, observation: NormalisedObservation) -> np.ndarray:
        """Return the sources after every step, (batch, T, n, n), in the observation's units.

        A network that knows only peaks of 1 is run twice, see `RIMReconstructor.reconstruct`.
        """
        inputs = self._network_inputs(observation)
        return self._run_at_scale(inputs, self._flux_scale(observation, inputs))

    def log_likelihood(self, observation: NormalisedObservation) -> np.ndarray:
        """Return -chi^2 / 2 of the sources, (batch,)."""
        likelihood = self._graphs(observation).log_likelihood
        return ops.convert_to_numpy(likelihood(*self._likelihood_inputs(observation)))

    def log_likelihood_and_gradient(
        self, observation: NormalisedObservation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return -chi^2 / 2 of the sources, (batch,), and its gradient, (batch, p).

        The gradient is that with respect to the lens, which the source follows. A flux scale that
        takes a first run (see `run`) is held.
        """
        differentiated = self._graphs(observation).value_and_gradient
        answer = differentiated(*self._likelihood_inputs(observation))
        value, slope = (ops.convert_to_numpy(each) for each in answer)
        return value, slope

    def _graphs(self, observation: NormalisedObservation) -> "_Graphs":
        """Return the graphs for an observation's form and rays, compiled at their first call."""
        kind = observation.form, observation.ray_oversampling
        if kind not in self._graphs_of:
            self._graphs_of[kind] = _Graphs(
                compiled(functools.partial(self._rays, *kind)),
                compiled(functools.partial(self._log_likelihood, *kind)),
                compiled(functools.partial(self._value_and_gradient, *kind)),
            )
        return self._graphs_of[kind]

    def _rays(self, form: Form, oversampling: int, lens):
        config = self.network.config
        return form.on_rays(lens, config.image_grid, config.supersampling * oversampling)

    def _network_inputs(self, observation: NormalisedObservation) -> dict:
        """Return what the network takes: of the lens, the deflections."""
        rays = self._graphs(observation).on_rays(observation.lens)
        frame = self._source_frame(len(observation))
        return observation.network_inputs() | {"lens": rays, "source_frame": frame}

    def _source_frame(self, batch: int) -> np.ndarray:
        """Return where the source grids lie, for a network that knows but one, (batch, 3)."""
        grid = self.geometry.source_grid
        return np.tile(np.array([*grid.centre, grid.pixel_scale], "float32"), (batch, 1))

    def _likelihood_inputs(self, observation: NormalisedObservation) -> list:
        inputs = observation.network_inputs()
        inputs["source_frame"] = self._source_frame(len(observation))
        lens, scale = inputs.pop("lens"), self._flux_scale(observation)
        return [lens, inputs, scale, *self._weights()]

    def _log_likelihood(self, form: Form, oversampling: int, lens, inputs, scale, *weights):
        image, noise, whitening = inputs["image"], inputs["noise"], inputs.get("whitening")
        inputs = inputs | {"lens": self._rays(form, oversampling, lens)}
        scaled = inputs | {"image": image / scale, "noise": noise / scale}
        source = self.network.stateless_call(*weights, scaled)[0][:, -1]
        model = model_of(inputs, self.network.config)
        return model.log_likelihood(source * scale, image, noise, whitening)

    def _value_and_gradient(self, form: Form, oversampling: int, lens, *others):
        return value_and_gradient(
            lambda x: self._log_likelihood(form, oversampling, x, *others), lens
        )

    def _flux_scale(
        self, observation: NormalisedObservation, inputs: dict | None = None
    ) -> np.ndarray:
        """Return what a network's inputs are to be divided by, (batch, 1, 1); see `run`."""
        batch = len(observation)
        if self.network.config.flux_scale == "image":
            return np.ones((batch, 1, 1), "float32")
        inputs = inputs or self._network_inputs(observation)
        first = self._run_at_scale(inputs, np.full((batch, 1, 1), FIRST_PEAK, "float32"))
        model = observation.forward_model(self.geometry, inputs["lens"])
        seen = inputs["image"], inputs["noise"], inputs.get("whitening")
        peak = source_peak(model, first[:, -1], *seen)
        return ops.convert_to_numpy(peak)

    def _weights(self) -> list[list]:
        """Return the weights that the network has now, as its `stateless_call` takes them."""
        return [
            [variable.value for variable in variables]
            for variables in (
                self.network.trainable_variables,
                self.network.non_trainable_variables,
            )
        ]

    def _run_at_scale(self, inputs: dict, scale: np.ndarray) -> np.ndarray:
        """Run a network that expects a peak of 1, on peaks of `scale`, (batch, 1, 1)."""
        scaled = inputs | {"image": inputs["image"] / scale, "noise": inputs["noise"] / scale}
        history = self._compiled(*self._weights(), scaled)[0]
        return ops.convert_to_numpy(history) * scale[:, None]
