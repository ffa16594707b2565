"""What a YOLO dataset on disk is: its files, labels and images. Knows no rules and imports no torch."""
