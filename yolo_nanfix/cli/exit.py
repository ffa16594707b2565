"""Exit codes, in one place."""

CLEAN = 0
FINDINGS = 1
"""Findings, or a run that failed."""
USAGE = 2
"""Wrong use or bad input."""
FAULT = 3
"""A fault of yolo-nanfix itself."""
INTERRUPTED = 130
