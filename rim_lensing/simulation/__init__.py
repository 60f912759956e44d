"""Training data (paper section 2.3): priors and mock observations."""
