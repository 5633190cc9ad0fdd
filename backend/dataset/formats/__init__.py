"""A file for each format: how a frozen version is laid out for its readers."""
