"""Samples and pages become weights that serve. Needs torch."""
