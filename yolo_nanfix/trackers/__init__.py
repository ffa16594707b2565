"""Gives the guard's readings and events to the trackers that Ultralytics itself has active in a run."""
