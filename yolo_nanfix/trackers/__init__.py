"""Sends the guard's readings and events to the trackers that Ultralytics has active in a run."""
