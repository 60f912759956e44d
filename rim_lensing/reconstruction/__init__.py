"""The source behind a given lens: the RIM, the linear inversion, refinement."""
