"""Training data (paper section 2.3): galaxies, priors and mock observations."""
