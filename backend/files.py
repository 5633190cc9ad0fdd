"""Files and lines that are whole or not there at all, also after a power cut; and a lock that dies with its holder.

Files about contracts are for their owner's eyes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from backend.errors import EvaluationError, RegistryError

__all__ = [
    "alone",
    "append_line",
    "copy_whole",
    "replace_whole",
    "sync_folder",
    "whole_lines",
    "write_private",
    "write_synced",
]

_BLOCK = 1 << 20
_READ_ONLY = 0o444
_LOOK_SECONDS = 0.05


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read (mode 0600), whole or not at all.

    Raises:
        EvaluationError: It cannot be written.
    """
    try:
        # mkstemp makes the file 0600 before there is anything in it.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written ({error.strerror})") from error


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: what was made, renamed or removed in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, text: str) -> None:
    """Writes a new file and makes its content durable."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_whole(path: Path, text: str) -> None:
    """Puts `text` in the place of a file, in one step: a reader sees all of the old, or all of the new."""
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)
    write_synced(aside, text)
    os.replace(aside, path)
    sync_folder(path.parent)


def whole_lines(file: FileIO) -> list[str]:
    """The lines of a file that is open for reading and appending; what an earlier writer left of one is cut off."""
    file.seek(0)
    text = file.read()
    text = text[: text.rfind(b"\n") + 1]
    file.truncate(len(text))
    return text.decode("utf-8", "replace").split("\n")[:-1]


def append_line(file: FileIO, line: str) -> None:
    """Adds a line to whole ones, durably.

    Args:
        file: Without a buffer: what is left in one would be written when it is closed, after it was cut back.
        line: Without its end.

    Raises:
        OSError: It cannot be written; nothing of it is left then.
    """
    end, left = file.seek(0, os.SEEK_END), line.encode() + b"\n"
    try:
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def copy_whole(source: Path, target: Path) -> str:
    """Copies a file to a new, durable, read-only one; gives the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("xb") as written:
        while block := read.read(_BLOCK):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    target.chmod(_READ_ONLY)
    return digest.hexdigest()


@contextmanager
def alone(path: Path, *, seconds: float) -> Iterator[None]:
    """Holds the lock on a file, which the system takes back when the holder dies.

    Args:
        path: The file; made when missing, and left there.
        seconds: How long to wait for another holder.

    Raises:
        RegistryError: Another process held it all the time.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        give_up = time.monotonic() + seconds
        while not _locked(handle):
            if time.monotonic() >= give_up:
                raise RegistryError(f"another process is still changing {path.parent} after {seconds:g} s: try again")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
