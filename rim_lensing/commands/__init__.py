"""The commands of `rim-lensing`, one module each; what they import at the top loads no Keras."""
