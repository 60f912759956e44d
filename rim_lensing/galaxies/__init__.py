"""Galaxies that serve as sources: read and cleaned to stamps, or drawn from scratch."""
