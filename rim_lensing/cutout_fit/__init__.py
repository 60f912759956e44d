"""A raw cutout, galaxy and all, to a lens: joint start, search on the arcs, verdict."""
