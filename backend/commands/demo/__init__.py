"""One command that shows the whole: Label Studio, this backend, and drawn contracts with their boxes."""
