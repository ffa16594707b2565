"""Applies and undoes the patches that the cards describe."""
