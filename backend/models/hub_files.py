"""Files of the Hugging Face Hub, fetched so that a Hub cannot say where they go: only what is in them is its own.

The Hub's client names files in its cache by what the server sends (the ETag, the commit). So a hostile server could
name a file anywhere on the disk. Here the caller names the file.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from backend.errors import LimitExceeded
from backend.outgoing import certificates, refuse_packed

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

__all__ = ["commit_of", "fetch_file", "hub_api", "same_place"]

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LARGEST = 2 * 1024**3
_SECONDS = 10.0
_MOST_REDIRECTS = 5


def hub_api(endpoint: str | None, *, proxy: str) -> HfApi:
    """The Hub's API, asked by way of `proxy` or, where that is empty, directly: the environment's proxies are not used.

    Args:
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        proxy: HUB_PROXY.
    """
    from huggingface_hub import HfApi, set_client_factory  # noqa: PLC0415  half a second to load, and rarely needed

    set_client_factory(lambda: _client(proxy))
    return HfApi(endpoint=endpoint)


def commit_of(sha: str | None, *, revision: str) -> str:
    """The commit that a Hub says a revision is.

    Raises:
        OSError: It says something that is no commit.
    """
    if sha is None:
        return revision
    if not _COMMIT.fullmatch(sha):
        raise OSError("the Hub names a commit that is none")
    return sha


def fetch_file(api: HfApi, repository: str, name: str, target: Path, *, revision: str, proxy: str) -> None:
    """Downloads one file to a place of the caller's, whole or not at all; the token goes to the Hub itself alone.

    Raises:
        OSError: The disk does not take it, or the Hub redirects too often.
        httpx2.HTTPError: The Hub does not answer, or has no such file.
        LimitExceeded: It is larger than two gigabytes.
    """
    from huggingface_hub import get_token, hf_hub_url  # noqa: PLC0415

    url = hf_hub_url(repository, name, revision=revision, endpoint=api.endpoint)
    home, token = url, get_token()
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _client(proxy) as client:
            for _ in range(_MOST_REDIRECTS):
                headers = {"Authorization": f"Bearer {token}"} if token and same_place(url, home) else {}
                with client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
                    if answer.has_redirect_location:
                        url = str(answer.url.join(answer.headers["location"]))
                        continue
                    answer.raise_for_status()
                    _keep(answer, part, name)
                os.replace(part, target)
                return
        raise OSError(f"{name} is redirected more than {_MOST_REDIRECTS} times")
    finally:
        part.unlink(missing_ok=True)


def same_place(one: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port: to no other may a token go, nor in the clear."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def _keep(answer: httpx2.Response, part: Path, name: str) -> None:
    size = 0
    with part.open("wb") as file:
        for block in answer.iter_bytes():
            size += len(block)
            if size > _LARGEST:
                raise LimitExceeded(name, f"larger than {_LARGEST} bytes")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _client(proxy: str) -> httpx2.Client:
    return httpx2.Client(
        verify=certificates(),
        trust_env=False,
        proxy=proxy or None,
        timeout=_SECONDS,
        follow_redirects=True,
        event_hooks={"response": [refuse_packed]},
    )
