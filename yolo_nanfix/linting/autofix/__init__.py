"""Fixes what lint found, with an undo journal: plan (findings to edits), apply (atomic), undo."""
