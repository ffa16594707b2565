"""What a training run leaves in its folder: written here, and read back here. Imports no torch."""
