"""Joins what lint found with the images, labels and columns of the dataset, so that a page can show it."""
