"""A run becomes a model of the zoo: evaluation, calibration, cards."""
