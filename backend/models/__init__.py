"""Weights as files: bundled, published here, from the Hub; and which of them serve."""
