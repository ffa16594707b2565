"""The files that a training run leaves in its folder: written and read here. Imports no torch."""
