"""Files as they are found, and whole ones in their place: FITS images and headers, HDF5."""
