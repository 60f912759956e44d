"""What a reconstruction gives back: source, images, measures; its FITS file, written and read."""
