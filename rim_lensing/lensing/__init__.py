"""Physics (paper section 2.2): from a source and a lens to an image, and back by the adjoint."""
