"""The recipe `sky`: mocks as telescopes see them, to train and to measure on."""
