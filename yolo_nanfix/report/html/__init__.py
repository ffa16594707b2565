"""Self-contained HTML pages: of a run, of a dataset, of two runs side by side."""
