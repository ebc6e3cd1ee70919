"""clipsoid."""
