"""Hands the images with findings to labellers: CVAT, Label Studio, COCO or CSV, and pictures of what is wrong."""
