"""What a user hands in: images, noise and its correlation, PSF, masks, brought to one form."""
