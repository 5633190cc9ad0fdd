"""Promises of backend.pages."""
