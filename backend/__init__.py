"""Finds signatures, stamps and thumbprints on contract pages for Label Studio."""

__all__ = ["__version__"]

__version__ = "0.1.0"
