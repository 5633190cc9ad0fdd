"""Promises of backend.nets."""
