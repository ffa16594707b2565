"""HTML pages that stand alone: a run, a dataset, two runs side by side."""
