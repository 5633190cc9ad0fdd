"""What pages need to know of Label Studio, and no more: its address, its authorisation, its presign route."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Access"]


class Access(Protocol):
    """A way into one Label Studio; shared by threads."""

    @property
    def base_url(self) -> str:
        """Address of Label Studio, with its path prefix where it has one."""
        ...

    def headers(self) -> dict[str, str]:
        """Authorisation, for `base_url` only; may fetch or renew a token."""
        ...

    def presigned(self, uri: str, task_id: int) -> str:
        """Address of Label Studio's presign route for an s3, gs, azure-blob or azure `uri` of a task."""
        ...
