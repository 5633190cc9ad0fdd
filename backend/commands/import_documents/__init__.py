"""Documents: files on disk → rendered pages → tasks of a Label Studio project."""
