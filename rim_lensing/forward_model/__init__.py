"""From a source and a lens to an image (paper section 2.2), back by the adjoint; its likelihood."""
