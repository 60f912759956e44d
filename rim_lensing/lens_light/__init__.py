"""The light of the lens galaxy: fitted, told apart from the arcs, subtracted."""
