"""Pages: a reference in a task → upright RGB pages, within limits."""
