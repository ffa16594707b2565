"""The command line: parses arguments, calls `yolo_nanfix.api`, prints, returns an exit code."""
