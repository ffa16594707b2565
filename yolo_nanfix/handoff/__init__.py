"""Hands the images with findings to labellers: CVAT, Label Studio, COCO or CSV, and pictures of what is wrong."""

FORMATS = ("cvat", "label-studio", "coco", "csv")
"""What labelling tools import."""
