"""Finds signatures, stamps and thumbprints on contract pages for Label Studio."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# ONNX Runtime's builds tell their maker of each start and each model, by the environment's proxies, too. It reads this
# when it is loaded; nothing shall leave this host but what Label Studio asked for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
