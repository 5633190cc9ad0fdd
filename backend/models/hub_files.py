"""Files of the Hugging Face Hub, fetched so that a Hub cannot say where they go: only what is in them is its own.

The Hub's client names files in its cache by what the server sends (the ETag, the commit). So a hostile server could
name a file anywhere on the disk. Here the caller names the file.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from backend.errors import LimitExceeded
from backend.escaping import printable
from backend.files import writing
from backend.outgoing import Transport, Way, refuse_packed

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

__all__ = ["DIRECT", "HubWay", "commit_of", "fetch_file", "hub_api", "reason_of", "same_place"]

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_LARGEST = 2 * 1024**3
_LARGEST_ANSWER = 16 << 20
"""Of the Hub's API, unpacked: a repository of a hundred thousand files is described in so much."""
_BESIDES = 1 << 20
_MOST_REDIRECTS = 5
_HOUR = 3600.0
# The Hub's client would sleep for as long as they say.
_PAUSES = ("retry-after", "ratelimit", "ratelimit-policy")
_OF_ITS_BODY = ("content-encoding", "content-length", "transfer-encoding")


@dataclass(frozen=True, kw_only=True)
class HubWay:
    """How the Hub is reached.

    Attributes:
        proxy: HUB_PROXY; no other proxy is used.
        silence: Seconds for a name, a connection, and each piece of an answer.
        whole: Seconds for all that one command asks of the Hub's API, and for each file.
    """

    proxy: str = ""
    silence: float = 10.0
    whole: float = _HOUR


DIRECT = HubWay()


def hub_api(endpoint: str | None, way: HubWay) -> HfApi:
    """The Hub's API, whose client tells nobody of its use, and goes the one way that it is given.

    Args:
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        way: To it.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    from huggingface_hub import HfApi, set_client_factory  # noqa: PLC0415  half a second to load, and rarely needed

    set_client_factory(lambda: _Client(way, most=_LARGEST_ANSWER))
    return HfApi(endpoint=endpoint)


def reason_of(error: Exception) -> str:
    """Why the Hub was asked in vain, in one line, and the way out where nobody there was reached."""
    said = [str(one).strip().partition("\n")[0] or type(one).__name__ for one in (error, error.__cause__) if one]
    reason = ", ".join(dict.fromkeys(said))
    away = isinstance(error, httpx2.TransportError)
    return printable(reason) + ("; is the network well, and are HF_ENDPOINT and HUB_PROXY right?" if away else "")


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


def fetch_file(api: HfApi, repository: str, name: str, target: Path, *, revision: str, way: HubWay) -> None:
    """Downloads one file to a place of the caller's, whole or not at all; the token goes to the Hub itself alone.

    Raises:
        OutputError: The disk does not take it.
        OSError: The Hub redirects too often.
        LimitExceeded: It is larger than two gigabytes.
        httpx2.HTTPError: The Hub does not answer, or has no such file.
    """
    from huggingface_hub import get_token, hf_hub_url  # noqa: PLC0415

    url = hf_hub_url(repository, name, revision=revision, endpoint=api.endpoint)
    home, token = url, get_token()
    part = target.with_name(f".{target.name}.part")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _Client(way, most=_LARGEST) as client:
            for _ in range(_MOST_REDIRECTS):
                headers = {"Authorization": f"Bearer {token}"} if token and same_place(url, home) else {}
                with client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
                    if answer.has_redirect_location:
                        url = str(answer.url.join(answer.headers["location"]))
                        continue
                    answer.raise_for_status()
                    _keep(answer, part, target)
                return
        raise OSError(f"{name} is redirected more than {_MOST_REDIRECTS} times")
    finally:
        part.unlink(missing_ok=True)


def same_place(one: str, other: str) -> bool:
    """Whether two addresses have the same scheme, host and port: to no other may a token go, nor in the clear."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def _keep(answer: httpx2.Response, part: Path, target: Path) -> None:
    size = 0
    with writing(target), part.open("wb") as file:
        for block in answer.iter_bytes():
            size += len(block)
            if size > _LARGEST:
                raise LimitExceeded(target.name, f"larger than {_LARGEST} bytes")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.replace(part, target)


class _Client(httpx2.Client):
    """One for all that the Hub's own client asks, or for one file: bounded in time, and in what it reads.

    Args:
        way: To the Hub.
        most: Bytes that may come in.
    """

    def __init__(self, way: HubWay, *, most: int) -> None:
        super().__init__(
            transport=_Door(Way(way.whole, granted=most + _BESIDES), proxy=way.proxy),
            trust_env=False,
            timeout=way.silence,
            follow_redirects=True,
            event_hooks={"response": [refuse_packed]},
        )

    def send(self, request: httpx2.Request, *, stream: bool = False, **how: Any) -> httpx2.Response:
        answer = super().send(request, stream=True, **how)
        if stream:
            return answer
        body = bytearray()
        try:
            for block in answer.iter_bytes():
                body += block
                if len(body) > _LARGEST_ANSWER:
                    raise OSError(f"the Hub's answer is larger than {_LARGEST_ANSWER} bytes")
        finally:
            answer.close()
        return _plain(answer, bytes(body), without=_OF_ITS_BODY)


class _Door(Transport):
    """Lets in no pause of the Hub's choice, and nothing behind a redirect."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if answer.has_redirect_location:
            answer.close()
            return _plain(answer, b"", without=_OF_ITS_BODY)
        for name in _PAUSES:
            answer.headers.pop(name, None)
        return answer


def _plain(answer: httpx2.Response, body: bytes, *, without: tuple[str, ...]) -> httpx2.Response:
    """An answer with another body, which is neither packed nor streamed."""
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in without]
    request = answer._request
    return httpx2.Response(answer.status_code, headers=headers, content=body, request=request, history=answer.history)
