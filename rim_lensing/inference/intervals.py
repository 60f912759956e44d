"""The intervals that are reported of lens parameters. No Keras: the zoo reads it."""

LEVELS = (0.68, 0.95)
"""Their probabilities."""

GAUSSIAN_FACTORS = ((1.0,) * 7, (1.96,) * 7)
"""Half-widths over the standard deviation, of the seven parameters at LEVELS, if Gaussian."""
