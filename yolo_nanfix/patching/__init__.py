"""The patching wing: applies and undoes the patches that the cards describe."""
