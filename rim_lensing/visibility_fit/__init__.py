"""Visibilities to a lens and its source, in one call."""
