"""By what a log-likelihood may be divided. No Keras: errors come fast."""


def check_temperature(temperature: float) -> float:
    """Return the temperature that a log-likelihood may be divided by.

    Raises:
        ValueError: It is less than 1, or not finite.
    """
    if not 1 <= temperature < float("inf"):
        raise ValueError(
            "`temperature` must be a finite number, at least 1: less would claim more than the "
            f"likelihood does. Received: {temperature}"
        )
    return float(temperature)
