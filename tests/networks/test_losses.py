from dataclasses import replace

import keras
import numpy as np
import pytest

from rim_lensing.networks.losses import FinalRMSError, UnrolledRMSError
from rim_lensing.networks.presets import get_preset


def constant_errors():
    """A truth of peak 2, and three outputs that miss it by 0.2, 0.4 and 0.6 everywhere."""
    truth = np.zeros((2, 4, 4), "float32")
    truth[:, 1, 1] = 2
    outputs = np.stack([truth + error for error in (0.2, 0.4, 0.6)], axis=1)
    return truth, outputs.astype("float32")


@pytest.mark.parametrize(
    ("weights", "expected"), [("equal", 0.2), ("later", (0.1 * 1 + 0.2 * 2 + 0.3 * 3) / 6)]
)
def test_loss_of_known_errors(weights, expected):
    truth, outputs = constant_errors()
    assert float(UnrolledRMSError(weights)(truth, outputs)) == pytest.approx(expected, rel=1e-5)


def test_flux_counts_as_much_as_it_should():
    """Errors of 0.2, 0.4, 0.6 on 16 pixels over a flux of 2: flux errors of 1.6, 3.2, 4.8."""
    truth, outputs = constant_errors()
    assert float(UnrolledRMSError("equal", 0.1)(truth, outputs)) == pytest.approx(0.2 + 0.32)
    mirrored = 2 * truth[:, None] - outputs
    assert float(UnrolledRMSError("equal", 0.1)(truth, mirrored)) == pytest.approx(0.2 + 0.32)


def test_loss_is_that_of_the_configuration():
    config = replace(get_preset("tiny16"), loss_weights="later", flux_weight=0.3)
    loss = UnrolledRMSError.from_rim_config(config)
    assert (loss.step_weights, loss.flux_weight) == ("later", 0.3)


@pytest.mark.parametrize("choices", [("latest", 0.0), ("later", -0.1), ("equal", np.inf)])
def test_weights_that_there_are_not_are_refused(choices):
    with pytest.raises(ValueError, match="`step_weights` must be 'equal' or 'later'"):
        UnrolledRMSError(*choices)


def test_metric_takes_the_last_step():
    truth, outputs = constant_errors()
    metric = FinalRMSError()
    metric.update_state(truth, outputs)
    assert float(metric.result()) == pytest.approx(0.3, rel=1e-5)


def test_loss_is_rebuilt_from_its_config():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(UnrolledRMSError("later", 0.3))
    )
    assert (loss.step_weights, loss.flux_weight) == ("later", 0.3)
