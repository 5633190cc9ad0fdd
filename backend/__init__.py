"""Finds signatures, stamps and thumbprints on contract pages for Label Studio."""

import os

__all__ = ["__version__"]

__version__ = "0.1.0"

# Nothing shall leave this host but what Label Studio asked for. Libraries read these when they are loaded, and several
# load the Hub's client. So they are set before anything else. Who wants it otherwise sets them in the environment.
# ONNX Runtime's builds tell their maker of each start and each model, by the environment's proxies, too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# The Hub's client tells of its use; Xet is a client of its own, which has no bounds of ours and follows those proxies.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
