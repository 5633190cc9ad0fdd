"""One HTTP client for servers that tests start: to load certificates for each question costs more than the answer."""

from __future__ import annotations

import httpx2

from tests.patience import SECONDS

__all__ = ["HTTP"]

# No connection outlives its answer: the next server may have another's port.
HTTP = httpx2.Client(
    verify=False,
    trust_env=False,
    timeout=SECONDS,
    limits=httpx2.Limits(max_keepalive_connections=0),
)
