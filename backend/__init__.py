"""Finds signatures, stamps and thumbprints on contract pages for Label Studio."""
