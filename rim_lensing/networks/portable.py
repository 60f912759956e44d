"""Networks that go to other processes as what they are: a configuration, and weights."""

import keras
import numpy as np

from rim_lensing.forks import check_process


class PortableNetwork(keras.Model):
    """A Keras model that pickles and deep-copies as its configuration and its weights.

    What belongs to a process stays behind: compiled graphs, optimisers. No code travels, so that
    the other process needs this package, of the same version.
    """

    def __init__(self, **kwargs):
        """Refuse a process in which nothing could be computed, see `forks`."""
        check_process()
        super().__init__(**kwargs)

    def __call__(self, *arguments, **named):
        """Compute."""
        check_process()
        return super().__call__(*arguments, **named)

    def make_predict_function(self, force: bool = False):
        """What Keras begins a prediction with, of one batch too."""
        check_process()
        return super().make_predict_function(force)

    def make_train_function(self, force: bool = False):
        """What Keras begins a training with."""
        check_process()
        return super().make_train_function(force)

    def __reduce__(self) -> tuple:
        """Return what makes the network again."""
        return _rebuilt, (type(self), self.get_config(), self.get_weights())


def _rebuilt(
    kind: type[PortableNetwork], config: dict, weights: list[np.ndarray]
) -> PortableNetwork:
    network = kind.from_config(config)
    network.build()
    network.set_weights(weights)
    return network
