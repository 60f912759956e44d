import keras
import numpy as np
import pytest

from rim_lensing.networks.losses import FinalRMSError, UnrolledRMSError


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


def test_metric_takes_the_last_step():
    truth, outputs = constant_errors()
    metric = FinalRMSError()
    metric.update_state(truth, outputs)
    assert float(metric.result()) == pytest.approx(0.3, rel=1e-5)


def test_loss_is_rebuilt_from_its_config():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(UnrolledRMSError("later"))
    )
    assert loss.step_weights == "later"
