"""The guard wing: watches each training step, drops what is bad, keeps the state clean."""
