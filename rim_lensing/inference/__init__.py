"""From an observation to what is behind the lens: checks, reconstruction, result."""
