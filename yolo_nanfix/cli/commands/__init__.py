"""One module per command, each with `EXAMPLES`, `add_arguments(parser)` and `run(args) -> Answer`.

`run` raises a `NanfixError`, mostly `UsageError`, where options, data or files cannot be used; `main` prints it.
"""
