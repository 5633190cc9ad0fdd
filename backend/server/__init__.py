"""The HTTP server that Label Studio talks to, and its pages for Prometheus and for a person."""
