"""One module per command, each with `EXAMPLES`, `add_arguments(parser)` and `run(args) -> Answer`."""
