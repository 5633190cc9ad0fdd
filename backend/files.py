"""Writes files and lines whole or not at all, also when the power fails; and holds a lock that ends with its process.

Files about contracts are for their owner's eyes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from backend.errors import BackendError, OutputError

__all__ = [
    "OWNER_ONLY",
    "OneOfMany",
    "alone",
    "append_line",
    "ask_for_place",
    "copy_whole",
    "hold",
    "keep_to_owner",
    "private_file",
    "refusal_of",
    "replace_whole",
    "sync_folder",
    "take_lock",
    "way_out",
    "whole_lines",
    "write_private",
    "write_synced",
    "writing",
]

OWNER_ONLY = 0o077
"""The umask under which this program makes files: they show contracts and people, so that no other user reads them."""
_BLOCK = 1 << 20
_READ_ONLY = 0o400
_FOLDER = 0o700
_FILE = 0o600
_PLACES = {
    errno.EACCES: "take a place that you may write to, or change its permissions",
    errno.EPERM: "take a place that you may write to, or change its permissions",
    errno.EROFS: "take a place that can be written to",
    errno.ENOSPC: "the disk is full; make room, and run it again",
    errno.EDQUOT: "your share of the disk is full; make room, and run it again",
    errno.EFBIG: "files may not become so large here (ulimit -f); allow it, and run it again",
    errno.ENOTDIR: "something on the way to it is a file, and no folder",
    errno.EISDIR: "it is a folder, and a file is needed",
    errno.EEXIST: "something of that name is there already",
}
_NAME_KEPT = 60
"""Characters of a file's name that its temporary file keeps: with more, a long name would become too long."""
_LOOK_SECONDS = 0.05


def way_out(error: OSError) -> str | None:
    """What helps where the system refuses a place that a person chose; None for what is a fault of ours."""
    return _PLACES.get(error.errno or 0)


def refusal_of(error: OSError) -> str:
    """Why the system refused to write, and what helps, in words.

    Example:
        >>> refusal_of(OSError(errno.ENOSPC, "No space left on device"))
        'No space left on device: the disk is full; make room, and run it again'
    """
    return ": ".join(filter(None, (error.strerror or str(error), way_out(error))))


def ask_for_place(path: Path | None) -> None:
    """Checks before the work that a file can be written at its end; None is no file.

    Raises:
        OutputError: Its folder is none, or may not be written to, or it is a folder itself.
    """
    if path is None or _is_device(path):
        return
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise OutputError(f"{path} cannot be written: {path.parent} is no folder that you may write to")
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; name a file")


def _is_device(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system refuses meanwhile into an error that names the file to be written.

    Raises:
        OutputError: Something was refused.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({refusal_of(error)})") from error


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that only its owner can read (mode 0600); it is whole in its place, or not there at all.

    What is no plain file, such as a pipe or /dev/stdout, is written to as it is.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path):
        if _is_device(path):
            with path.open("wb") as device:
                yield device
            return
        # mkstemp makes the file 0600 before there is anything in it.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_NAME_KEPT]}.")
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise


def write_private(path: Path, content: str | bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all; text as UTF-8.

    Raises:
        OutputError: It cannot be written.
    """
    with private_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def _private(path: str, flags: int) -> int:
    """Opens a file that, where it is made, is its owner's alone."""
    return os.open(path, flags, _FILE)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: what was made, renamed or removed in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A new file to write into; it is durable and its owner's alone at the end, and not there where that fails."""
    with open(path, "xb", opener=_private) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)  # the system does not say it of a file that is open
            raise


def write_synced(path: Path, content: str | bytes) -> None:
    """Writes a new file and makes it durable; where it has no room, nothing of it is left. Text is UTF-8."""
    with _whole(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def replace_whole(path: Path, text: str) -> None:
    """Puts `text` in the place of a file, in one step: a reader sees all of the old, or all of the new.

    Raises:
        OSError: It cannot be written; the old file stays, and nothing is beside it.
    """
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
    with source.open("rb") as read, _whole(target) as written:
        while block := read.read(_BLOCK):
            digest.update(block)
            written.write(block)
    target.chmod(_READ_ONLY)
    return digest.hexdigest()


def keep_to_owner(folder: Path) -> int:
    """Makes a folder that only its owner can enter; one that is there and lets others in is closed, with all in it.

    Links are left as they are, and so is what belongs to somebody else. A closed folder costs one look: what is inside
    is out of others' reach, whatever its own mode says.

    Returns:
        How many files and folders were closed.

    Raises:
        OSError: The folder cannot be made, or is another user's.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
    if not folder.stat().st_mode & OWNER_ONLY:
        return 0
    folder.chmod(_FOLDER)
    closed = 1
    if folder.resolve() in (Path("/"), Path.home()):
        return closed  # a data folder that holds all of a person's files: those are not ours to change
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            closed += _close(Path(place, name))
    return closed


def _close(path: Path) -> bool:
    """Whether others could read a file or folder, and now cannot."""
    with suppress(FileNotFoundError, PermissionError):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & OWNER_ONLY:
            path.chmod(stat.S_IMODE(mode) & ~OWNER_ONLY)
            return True
    return False


def hold(handle: int, *, seconds: float = 0.0, shared: bool = False) -> bool:
    """Takes the lock on an open file; the system takes it back when all copies of the handle are closed.

    Args:
        handle: The file's descriptor. A child that inherits it goes on holding the lock after its parent has ended.
        seconds: How long to wait for another holder; `math.inf` for as long as it takes.
        shared: Whether others that want the lock shared may have it at the same time.

    Returns:
        Whether the lock was to be had.
    """
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if seconds == math.inf:
        fcntl.flock(handle, how)
        return True
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            return True


def take_lock(path: Path, *, seconds: float = 0.0) -> int | None:
    """Takes the lock on a file; None where another holds it all the time.

    Args:
        path: The file; made when missing, and left there.
        seconds: How long to wait for another holder.

    Returns:
        The handle that holds the lock until it, and every copy of it, is closed.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if hold(handle, seconds=seconds):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


class OneOfMany:
    """Chooses one of many processes for a piece of work, as long as it lives: the one that holds the lock on a file.

    Args:
        path: The file. It is made when missing; its folder is not, for one that was moved away while the program runs
            would be an empty one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def chosen(self) -> bool:
        """Whether this process is the one; the lock of one that died is free."""
        if self._handle is None and self._path.parent.is_dir():
            self._handle = take_lock(self._path)
        return self._handle is not None

    def leave(self) -> None:
        """Lets another process be the one."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextmanager
def alone(path: Path, *, seconds: float, refusal: BackendError) -> Iterator[int]:
    """Holds the lock on a file, which the system takes back when the holder dies; gives its handle.

    Args:
        path: The file; made when missing, and left there.
        seconds: How long to wait for another holder.
        refusal: What is raised where another process held the lock all the time.
    """
    handle = take_lock(path, seconds=seconds)
    if handle is None:
        raise refusal
    try:
        yield handle
    finally:
        os.close(handle)
