"""Answers whole requests in threads. Each kind of request has a few of its own, so that no kind waits for another.

Events have threads of their own, and so have the few words that `/` and `/health` give to programs. They are answered
at once, whatever is being predicted and however many ask for it. Bodies that take much memory are worked on two at a
time, and one at a time those that take most.
"""

from __future__ import annotations

import io
import logging
import queue
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import WSGIApplication

__all__ = ["Answer", "Asked", "Lanes", "answered"]

_LOG = logging.getLogger(__name__)
_QUICK = ("/", "/health")
_QUICK_THREADS = 2
_EVENTS = "/webhook"
_EVENT_THREADS = 32
_LARGE_BYTES = 4 * 1024 * 1024
_LARGE_THREADS = 2
_LARGEST_BYTES = 16 * 1024 * 1024
# Requests that may wait for each thread of a lane: behind more of them, the sender would have given up.
_WAITING = 8


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One whole request.

    Attributes:
        target: Path and query, or a whole address, as it came.
        headers: Names in lower case, and values.
        client: Address of the sender.
        server: Address and port that it came to.
    """

    method: str
    target: bytes
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | bytearray
    client: str
    server: tuple[str, int]

    @property
    def path(self) -> str:
        """The path, decoded, as WSGI spells it: one character a byte."""
        return unquote_to_bytes(_split(self.target)[0]).decode("latin-1")

    @property
    def wants_page(self) -> bool:
        """Whether a browser asks: what it gets at `/` takes longer than the few words that a program gets."""
        return any(name == b"accept" and b"text/html" in value for name, value in self.headers)

    def environ(self) -> dict[str, Any]:
        """The request as WSGI has it (PEP 3333)."""
        found: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": _split(self.target)[1].decode("latin-1"),
            "SERVER_NAME": self.server[0],
            "SERVER_PORT": str(self.server[1]),
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "REMOTE_ADDR": self.client,
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.headers:
            # A header with an underscore could imitate a proxy's header: WSGI gives both the same name.
            if name in (b"content-length", b"transfer-encoding") or b"_" in name:
                continue
            text = name.decode("latin-1").upper().replace("-", "_")
            key = text if text == "CONTENT_TYPE" else f"HTTP_{text}"
            said = value.decode("latin-1")
            found[key] = f"{found[key]},{said}" if key in found else said
        if not self.target.startswith(b"/") and (named := _host_of(self.target)):
            # A target that is a whole address says whom it is for, whatever the header says (RFC 9112, 3.2.2).
            found["HTTP_HOST"] = named
        return found


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent back."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def plain(cls, status: int, message: str) -> Answer:
        """A refusal that the application has no part in."""
        body = f'{{"error": "{HTTPStatus(status).phrase}", "message": "{message}"}}\n'.encode()
        headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        return cls(status=status, reason=message, headers=headers, body=body)


class Lanes:
    """Runs an application over requests, in the threads of the lane that each belongs to.

    Args:
        app: The application.
        threads: How many threads the lane has that predicts and does all that has no lane of its own.
    """

    def __init__(self, app: WSGIApplication, *, threads: int) -> None:
        self._app = app
        self._quick = _Lane("quick", _QUICK_THREADS)
        self._events = _Lane("events", _EVENT_THREADS)
        self._large = _Lane("large", _LARGE_THREADS)
        self._largest = _Lane("largest", 1)
        self._others = _Lane("requests", threads)

    def submit(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        """Answers a request in a thread, which calls `done` with the answer.

        Its body is held by `wsgi.input` alone, so that an application that closes it has the memory back.
        """
        environ = asked.environ()
        if not self._lane_of(asked).put(lambda: done(answered(self._app, environ))):
            done(Answer.plain(503, "too many requests wait already: ask again later"))

    def _lane_of(self, asked: Asked) -> _Lane:
        if asked.path in _QUICK and not asked.wants_page:
            return self._quick
        if len(asked.body) > _LARGEST_BYTES:
            return self._largest
        if len(asked.body) > _LARGE_BYTES:
            return self._large
        return self._events if asked.path == _EVENTS else self._others

    def end(self) -> None:
        """Lets the threads end, each after what it is at: nobody is there any more to be answered."""
        for lane in (self._quick, self._events, self._large, self._largest, self._others):
            lane.end()


class _Lane:
    """Threads that take jobs from one queue; they never keep the process from ending."""

    def __init__(self, name: str, threads: int) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads, self._most = threads, threads * (1 + _WAITING)
        self._lock = threading.Lock()
        self._open = 0
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def put(self, job: Callable[[], None]) -> bool:
        """Whether there was room for a job."""
        with self._lock:
            if self._open >= self._most:
                return False
            self._open += 1
        self._jobs.put(job)
        return True

    def end(self) -> None:
        """Lets each thread end when all that waits by now has begun."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                _LOG.exception("a request's answer could not be handed over")
            finally:
                # Dropped before the next job comes: it holds the request's body.
                del job
                with self._lock:
                    self._open -= 1


def answered(app: WSGIApplication, environ: dict[str, Any]) -> Answer:
    """What an application answers, and where it fails by itself, that it failed."""
    try:
        return _run(app, environ)
    except Exception:
        _LOG.exception("%s %s failed outside of the application", environ["REQUEST_METHOD"], environ["PATH_INFO"])
        return Answer.plain(500, "something unexpected failed; the log has it")


def _run(app: WSGIApplication, environ: dict[str, Any]) -> Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        del exc_info
        started[:] = [(status, headers)]
        return written.append

    written: list[bytes] = []
    parts: Iterable[bytes] = app(environ, start_response)
    try:
        written.extend(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started[0]
    number, _, reason = status.partition(" ")
    return Answer(status=int(number), reason=reason, headers=tuple(headers), body=b"".join(written))


def _host_of(target: bytes) -> str:
    """Whom a whole address is for; empty where it does not say."""
    try:
        return urlsplit(target).netloc.decode("latin-1")
    except ValueError:
        return ""


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Path and query; a target may be a whole address, which proxies send."""
    if not target.startswith(b"/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            return target, b""  # an address that is none, such as `http://[`: there is nothing at such a path
        return parts.path or b"/", parts.query
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query
