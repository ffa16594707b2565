"""Stabilised losses as pure tensor functions. Imports torch and nothing of this package."""
