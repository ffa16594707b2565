"""Helps to choose the settings of a training."""
