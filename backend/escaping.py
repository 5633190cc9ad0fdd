"""Text from outside as a log or a terminal may show it: one line, no control characters, not without end.

File names, references and names of events can hold line ends, which forge lines of a log. They can also hold escape
sequences, which move a terminal's cursor or write into its title. Three places make that harmless, and all use one
function: `printable` for a single text, `PlainFormatter` for every line of the log, `PlainStream` for what a command
prints.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LONGEST_LINE",
    "PlainFormatter",
    "PlainStream",
    "hidden",
    "plain_streams",
    "printable",
    "without_credentials",
]

LONGEST_LINE = 4000
"""Characters that one line of the log holds; the rest of a longer message is left out, which the line says."""
_LONGEST_TEXT = 300
_LONGEST_TOLD = 1000
# Shorter ones would be found in the middle of words.
_SHORTEST_SECRET = 3
_MOST_TRACE_LINES = 200
# What this program's own progress bars write: to the line's start, erase it, lines up. Nothing else may move a cursor.
_MOVES = re.compile(r"(?:\r|\x1b\[K|\x1b\[A)*")
# Its four colours, and the end of each (`backend.terminal`).
_COLOURS = re.compile(r"(\x1b\[(?:31|32|33|2|0)m)")
_KEPT = frozenset("\n\t")


def printable(text: object, *, most: int = _LONGEST_TEXT) -> str:
    r"""A text as one line may show it.

    Every character that cannot be printed becomes `\u` and its number: control characters, line and paragraph ends,
    marks that turn the direction of writing, halves of characters. JSON spells them in the same way, so that a text
    that is JSON already stays the same JSON.

    Args:
        text: What is to be shown.
        most: Characters that are kept; of a longer text the end is left out.

    Example:
        >>> printable("a\nb\x1b[31m")
        'a\\u000ab\\u001b[31m'
    """
    whole = str(text)
    shown = "".join(map(_escaped, whole[:most]))
    return shown if len(whole) <= most else f"{shown}… ({len(whole)} characters)"


def without_credentials(url: str) -> str:
    """A storage's address as messages may show it: no user, password, query or fragment."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        is_path = url.startswith(("/", "."))
        return printable(url if is_path else url.partition("?")[0].rpartition("@")[2])
    place = rest.partition("?")[0].partition("#")[0]
    return printable(f"{scheme}://{place.rpartition('@')[2]}")


def hidden(told: object, url: str) -> str:
    """What a library says of a storage, as messages may show it: with nothing that is secret in the storage's address.

    Example:
        >>> hidden("host refused ann with s3cret", "ftp://ann:s3cret@host/crops")
        'host refused *** with ***'
    """
    text = str(told).replace(url, without_credentials(url))
    rest = url.partition("://")[2].partition("#")[0]
    place, _, query = rest.partition("?")
    bearer, _, _ = place.partition("/")[0].rpartition("@")
    secrets = {*bearer.split(":"), *(part.partition("=")[2] for part in query.split("&"))}
    for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return printable(text, most=_LONGEST_TOLD)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if number > 0xFFFF:
        number -= 0x10000
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
    return f"\\u{number:04x}"


def _plain(text: str) -> str:
    return "".join(one if one in _KEPT else _escaped(one) for one in text)


class PlainFormatter(logging.Formatter):
    """Formats a record as one line; a traceback follows in lines that begin with `| `, which no record does."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [printable(self.formatMessage(record), most=LONGEST_LINE)]
        if record.exc_info:
            told = self.formatException(record.exc_info).splitlines()
            # The innermost calls and the reason stand at the end.
            lines += [f"| {printable(line, most=LONGEST_LINE)}" for line in told[-_MOST_TRACE_LINES:]]
        return "\n".join(lines)


class PlainStream:
    """A text stream without control characters, but for line ends, tabs, colours and the moves of progress bars.

    Whatever else a stream can do, it does: tests and libraries ask whether it is a terminal.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text; gives the number of its characters, as streams do."""
        moves = _MOVES.match(text)
        start = moves.end() if moves else 0
        parts = _COLOURS.split(text[start:])
        self._stream.write(
            text[:start] + "".join(part if place % 2 else _plain(part) for place, part in enumerate(parts))
        )
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Has what is printed meanwhile, to stdout and stderr, go through a `PlainStream`."""
    out, err = sys.stdout, sys.stderr
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            # In a terminal that has no Arabic, names are spelt out: a command does not end for that.
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = PlainStream(out), PlainStream(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
