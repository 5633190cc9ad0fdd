"""Promises of backend.classification."""
