"""What is on a raw telescope cutout: centre, sky, neighbours, artefacts, noise."""
