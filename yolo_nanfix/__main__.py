"""The command line, as `python -m yolo_nanfix`."""

from yolo_nanfix.cli.main import main

raise SystemExit(main())
