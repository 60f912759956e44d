"""What a user hands in: files, images, noise and its correlation, PSF, masks."""
