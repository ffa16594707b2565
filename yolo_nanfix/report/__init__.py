"""The report wing: turns findings and run results into text and JSON. Imports no torch."""
