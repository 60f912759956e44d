"""Semilinear inversion: the most probable source under a quadratic prior, and its evidence."""
