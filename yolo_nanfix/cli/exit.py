"""Exit codes, in one place."""

CLEAN = 0
FINDINGS = 1
"""Findings, or a run that failed."""
USAGE = 2
"""Wrong use or bad input."""
FAULT = 3
"""A fault of yolo-nanfix itself."""
INTERRUPTED = 130
"""Ctrl-C. A process that another signal ends has 128 and its number: 143 for SIGTERM, 129 for SIGHUP."""
