"""The command line: parses arguments, calls `yolo_nanfix.api`, prints, and returns an exit code."""
