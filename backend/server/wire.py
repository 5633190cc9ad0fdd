"""One client's connection: bytes → whole requests → bytes, within deadlines, on the event loop.

A slow sender costs a connection and its buffer, never a thread: threads get whole requests only (see `lanes`). The
event loop is in a process of its own (see `event_worker`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from email.utils import formatdate

import h11

from backend.server.lanes import Answer, Asked
from backend.server.reception import TURN_SECONDS, URGENT, Reception

__all__ = ["Wire"]

_LOG = logging.getLogger(__name__)
_HEADER_BYTES = 32 * 1024
# Each line of a header is read by itself, and all of them in one go: thousands would hold up everybody else.
_HEADER_LINES = 200
# From here on, this program is late: what came in time is still to be read.
_BEHIND_SECONDS = 0.25
# What h11 gets at once of what may be lines: it reads those behind the last chunk (trailers) in one go, too.
_LINES_BYTES = 2 * 1024
# What a body may have beside itself: sizes and extensions of chunks, and trailers.
_BESIDES_BYTES = 256 * 1024


class Wire(asyncio.BufferedProtocol):
    """One connection.

    Args:
        reception: The connections of this process.
        loop: The event loop.

    Attributes:
        client: The sender's address.
        waiting_since: Since when the client owes a whole request; None while one is being answered.
        held: Bytes of the request's body.
    """

    def __init__(self, reception: Reception, loop: asyncio.AbstractEventLoop) -> None:
        self._reception = reception
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self.held = 0
        # What came in, and h11 has not got yet; and what it has got since the request began.
        self._unread = bytearray()
        self._read = 0
        self._may_be_lines = True
        self._told_of_end = False
        self._timer: asyncio.TimerHandle | None = None
        self._answering = False
        self._full = False
        self._ended = False
        self._lost = False
        self._asks_for_head = False
        self.client = ""
        self.waiting_since: float | None = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self._wait(self._reception.limits.header_seconds)
        self._reception.enter(self)

    def get_buffer(self, _: int) -> memoryview:
        return self._reception.piece

    def buffer_updated(self, size: int) -> None:
        if self._lost:
            return
        data = bytes(self._reception.piece[:size])
        if self._http.our_state is h11.IDLE and not self._has_early_bytes() and self._request is None:
            # The first byte of a request: from here its header has its time, however long the client was idle.
            self._wait(self._reception.limits.header_seconds, only_sooner=True)
        self._unread += data
        if data.startswith(URGENT):
            self.advance()
        else:
            self._put_off()

    def eof_received(self) -> bool:
        # It may have sent all that it has, and still want its answers: `_finish` ends what is to end.
        self._ended = True
        if not self._lost:
            self.advance()
        return not self._lost

    def pause_writing(self) -> None:
        """The client does not take its answers as fast as it asks."""
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self.waiting_since is not None and not self._lost:
            self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        self._lost = True
        self._stop_timer()
        self._release()
        self._reception.leave(self)

    def abort(self) -> None:
        """Ends the connection without a word: its client is late, or has too many."""
        self._lost = True
        self._stop_timer()
        self.waiting_since = None
        self._transport.abort()

    def give_way(self) -> None:
        """Refuses the request that comes in: others need its room."""
        self._refuse(503, "too many large requests are under way: ask again later")

    def advance(self) -> None:
        """Takes what has come in, as far as it goes in one turn."""
        try:
            self._take_turn()
        except Exception:
            # Whatever one client sends, the others are still to be read.
            _LOG.exception("a connection is ended: what came in could not be read")
            self.abort()

    def _take_turn(self) -> None:
        give_up = time.monotonic() + TURN_SECONDS
        while not self._lost and not self._answering and not self._full:
            if time.monotonic() > give_up:
                self._put_off()
                return
            if self._request is None and self._has_too_many_lines():
                self._refuse(431, "the header has more lines than this server reads")
                return
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, "this is no HTTP request that can be read")
                return
            if event is h11.NEED_DATA and self._request is not None and self._has_much_beside_its_body():
                self._refuse(431, "the body has more beside itself than this server reads")
                return
            if event is h11.NEED_DATA and self._hand_on():
                continue
            if event is h11.NEED_DATA or event is h11.PAUSED:
                self._transport.resume_reading()
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._take(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._ask()
            else:
                self._finish()
                return

    def _has_too_many_lines(self) -> bool:
        begun = self._http.trailing_data[0]
        ends = [place for end in (b"\n\r\n", b"\n\n") if (place := begun.find(end)) >= 0]
        return begun.count(b"\n", 0, min(ends, default=len(begun))) > _HEADER_LINES

    def _has_much_beside_its_body(self) -> bool:
        """Whether it is long in saying how long a chunk is, or what follows the last one, or has said it too often."""
        long = self._may_be_lines and len(self._http.trailing_data[0]) > 2 * _LINES_BYTES
        return long or self._read - self.held > _BESIDES_BYTES

    def _hand_on(self) -> bool:
        """Has h11 read some of what came in; whether there was any."""
        if self._unread:
            size = _LINES_BYTES if self._may_be_lines else len(self._unread)
            self._http.receive_data(bytes(self._unread[:size]))
            self._read += min(size, len(self._unread))
            del self._unread[:size]
            return True
        if self._ended and not self._told_of_end:
            self._told_of_end = True
            self._http.receive_data(b"")
            return True
        return False

    def _has_early_bytes(self) -> bool:
        """Whether something of the next request has come in."""
        return bool(self._unread or self._http.trailing_data[0])

    def _put_off(self) -> None:
        """Has the rest of what came in read in its turn; nothing more comes in before."""
        self._transport.pause_reading()
        self._reception.put_off(self, self._loop)

    def _begin(self, request: h11.Request) -> None:
        self._request = request
        self._asks_for_head = request.method == b"HEAD"
        self._wait(self._reception.limits.body_seconds)
        named = dict(request.headers)
        self._read = 0
        self._may_be_lines = b"content-length" not in named
        declared = named.get(b"content-length", b"0")
        if b"content-length" in named and b"transfer-encoding" in named:
            # A proxy before this one may have seen the body end elsewhere: what follows would be a request of nobody.
            self._refuse(400, "a body has a length, or comes in chunks")
        elif request.method == b"CONNECT":
            self._refuse(405, "this server is no way to another one")
        elif not request.http_version.startswith(b"1."):
            self._refuse(400, "this server speaks HTTP/1.1")
        elif int(declared) > self._reception.limits.body_bytes:
            self._refuse(413, "the body is larger than this server takes")
        elif self._http.they_are_waiting_for_100_continue:
            go_on = self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._transport.write(go_on or b"")

    def _take(self, data: bytes | bytearray) -> None:
        limits = self._reception.limits
        self._body += data
        self.held += len(data)
        self._reception.held += len(data)
        if self.held > limits.body_bytes:
            self._refuse(413, "the body is larger than this server takes")
        else:
            self._reception.make_room()

    def _ask(self) -> None:
        request, self._request = self._request, None
        assert request is not None  # noqa: S101  a message ends after it began
        sockname = self._transport.get_extra_info("sockname")
        asked = Asked(
            method=request.method.decode("ascii"),
            target=bytes(request.target),
            version=request.http_version.decode("ascii"),
            headers=tuple((bytes(name), bytes(value)) for name, value in request.headers),
            body=self._body,
            client=self.client,
            server=(str(sockname[0]), int(sockname[1])) if isinstance(sockname, tuple) else ("", 0),
        )
        self._body = bytearray()
        self._may_be_lines = True
        self._answering = True
        self.waiting_since = None
        self._stop_timer()
        # A client that sends its next request early is read when this one is answered.
        self._transport.pause_reading()
        self._reception.answers.submit(asked, self._hand_over)

    def _hand_over(self, answer: Answer) -> None:
        """Called in any thread."""
        # Without a loop there is nobody to answer: the server stopped, and had waited for this request.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._send, answer)

    def _send(self, answer: Answer) -> None:
        self._release()
        self._answering = False
        if self._lost:
            return
        headers = [*answer.headers, ("Date", formatdate(usegmt=True))]
        if self._reception.closing:
            headers.append(("Connection", "close"))
        try:
            self._write(answer, headers, reason=answer.reason.encode("latin-1", "replace"))
        except h11.LocalProtocolError:
            _LOG.exception("a connection is ended: its answer cannot be sent")
            self.abort()
            return
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._finish()
            return
        self._http.start_next_cycle()
        self.waiting_since = time.monotonic()
        if self._full:
            # What it asks next is read when it has taken this, for which it has as long as for a body.
            self._wait(self._reception.limits.body_seconds)
        else:
            self._go_on()

    def _write(self, answer: Answer, headers: list[tuple[str, str]], *, reason: bytes) -> None:
        """Writes an answer; one to HEAD is its header alone."""
        head = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        parts: list[h11.Event] = [head, h11.EndOfMessage()]
        if answer.body and not self._asks_for_head:
            parts.insert(1, h11.Data(data=answer.body))
        self._transport.write(b"".join(self._http.send(part) or b"" for part in parts))

    def _go_on(self) -> None:
        """Listens for the next request."""
        early = self._has_early_bytes()
        limits = self._reception.limits
        self._wait(limits.header_seconds if early else limits.idle_seconds)
        self._transport.resume_reading()
        self.advance()

    def _refuse(self, status: int, message: str) -> None:
        """Answers a request that is not whole, and ends the connection."""
        self._release()
        self._body = bytearray()
        self.waiting_since = self.waiting_since or time.monotonic()
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = Answer.plain(status, message)
            self._write(answer, [*answer.headers, ("Connection", "close")], reason=message.encode("ascii", "replace"))
        self._finish()

    def _finish(self) -> None:
        """Ends the connection when the client has taken what was sent and ends it, too, or its time for that is over.

        Closed at once, with something unread, the connection would be reset, and the client not see the answer.
        """
        self._lost = True
        self.waiting_since = self.waiting_since or time.monotonic()
        if self._ended:
            self._stop_timer()
            self._transport.close()
            return
        self._wait(self._reception.limits.header_seconds)
        self._transport.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:
            self.abort()  # it is gone already

    def _wait(self, seconds: float, *, only_sooner: bool = False) -> None:
        """Gives the client so long for what it owes."""
        when = self._loop.time() + seconds
        if only_sooner and self._timer is not None and self._timer.when() <= when:
            return
        self._stop_timer()
        self._timer = self._loop.call_at(when, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Ends what did not come in time, unless this program is late itself: it had no processor, or much to read."""
        due, self._timer = self._timer.when() if self._timer is not None else 0.0, None
        is_unread = bool(self._unread) and not self._full and not self._lost
        if is_unread or self._loop.time() - due > _BEHIND_SECONDS:
            self._timer = self._loop.call_later(_BEHIND_SECONDS, self._late)
        elif self._request is not None and not self._answering and self._http.our_state is h11.SEND_RESPONSE:
            self._refuse(408, "the request did not arrive in time")
        else:
            self.abort()

    def _release(self) -> None:
        self._reception.held -= self.held
        self.held = 0
