"""Drawn contract pages with known boxes: for tests, benchmarks and the bundled weights."""
