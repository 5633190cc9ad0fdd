"""Keeps lines safe until the ledger takes them: each is on disk before its sender gets an answer.

Each process appends to a file of its own and holds its lock. When a process dies, the lock of its file is free, and any
other process takes the file over.
"""

from __future__ import annotations

import os
import stat
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backend.errors import LedgerError
from backend.files import hold, sync_folder

__all__ = ["Spool"]

SUFFIX = ".jsonl"
WRITE_SECONDS = 5.0
PORTION_BYTES = 4 << 20
LEAST_FREE_BYTES = 1 << 20
LONGEST_LINE_BYTES = 64 << 20
"""Far above any line of ours: what is longer is damage, such as zeros after a power cut."""
_BLOCK_BYTES = 4096
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600


class Spool:
    """A folder of such files; shared by threads, and the folder by processes.

    Appends of many threads share one flush (group commit): the first who comes writes for all who came meanwhile.

    Args:
        folder: Made when missing, but not the folders above it: one that was taken away while this program runs must
            not come back as an empty one.

    Example:
        >>> spool = Spool(Path("data/spool"))  # doctest: +SKIP
        >>> spool.append(b'{"action": "START_TRAINING"}')  # doctest: +SKIP
        >>> for lines in spool.portions():  # doctest: +SKIP
        ...     store(lines)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = _inode(folder.parent)
        self._gathering = threading.Lock()
        self._writing = threading.Lock()
        self._group = _Group()
        self._active: _File | None = None
        self._left: list[_File] = []
        self._failure: str | None = None

    @property
    def waiting_bytes(self) -> int:
        """Size of what this process holds and nobody took yet."""
        return sum(file.end - file.taken for file in (self._active, *self._left) if file is not None)

    def append(self, line: bytes) -> None:
        """Stores one line; when this returns, neither a kill nor a power cut takes it back.

        Args:
            line: Without its end, and without one inside.

        Raises:
            LedgerError: It is not certain to be stored: the disk is full, slow or gone, or the folder was taken away.
        """
        with self._gathering:
            group = self._group
            group.lines.append(line)
        if not self._writing.acquire(timeout=WRITE_SECONDS):
            raise LedgerError(f"{self._folder} takes nothing for {WRITE_SECONDS:g} s: is its disk well?")
        try:
            if not group.settled:
                with self._gathering:
                    self._group = _Group()
                self._settle(group)
        finally:
            self._writing.release()
        if group.error is not None:
            raise LedgerError(str(group.error)) from group.error

    def portions(self) -> Iterator[list[bytes]]:
        """Gives what was stored and not taken yet, in portions. When asked for the next portion, it forgets the last.

        So keep a portion elsewhere before the loop goes on. A loop that is left early finds it again. Where a process
        is killed in between, a portion is taken twice. For one caller at a time.
        """
        self._take_over()
        with self._writing:
            files = [*self._left, *([self._active] if self._active else [])]
        for file in files:
            while lines := file.read():
                yield lines
                with self._writing:
                    file.forget()
            with self._writing:
                if file in self._left and file.end <= file.taken:
                    self._left.remove(file)
                    file.remove()

    def check(self) -> None:
        """Looks whether the next line can be stored; writes a block and takes it back only where the last write failed.

        So it says that all is well as soon as it is: nobody has to send an event to find that out.

        Raises:
            LedgerError: It cannot, and why.
        """
        file = self._active
        try:
            if file is not None and not file.is_there():
                raise LedgerError(_taken_away(self._folder))
            space = os.statvfs(self._folder if file is not None else self._folder.parent)
        except OSError as error:
            raise LedgerError(_taken_away(self._folder)) from error
        if space.f_bavail * space.f_frsize < LEAST_FREE_BYTES:
            raise LedgerError(f"the disk of {self._folder} is full: make room on it")
        if (reason := self._failure) is not None and not self._is_well_again():
            raise LedgerError(reason)

    def close(self) -> None:
        """Lets go of the files; an empty one goes, others are for whoever comes next."""
        with self._writing:
            for file in (self._active, *self._left):
                if file is not None:
                    file.remove() if file.end <= file.taken else file.close()
            self._active, self._left = None, []

    def _is_well_again(self) -> bool:
        """Whether a file can be written by now; it is kept for the next line."""
        if not self._writing.acquire(blocking=False):
            return False  # somebody writes, and will know
        try:
            if self._failure is None:
                return True
            if self._active is None:
                if _inode(self._folder.parent) != self._home:
                    return False
                self._active = _File.make(self._folder, proven=True)
        except OSError:
            return False
        else:
            self._failure = None
            return True
        finally:
            self._writing.release()

    def _settle(self, group: _Group) -> None:
        """Writes a group; for the holder of the lock only."""
        if self._active is None and _inode(self._folder.parent) != self._home:
            # Another part of this program, or a person, made it anew: what is stored there would be beside the rest.
            self._fail(group, _taken_away(self._folder))
            group.settled = True
            return
        try:
            if self._active is None:
                self._active = _File.make(self._folder)
            self._active.write(b"".join(line + b"\n" for line in group.lines))
        except OSError as error:
            reason = f"{self._folder} cannot be written ({error.strerror}): is its disk full, or the folder gone?"
            self._fail(group, reason)
        else:
            if self._active.is_there():
                self._active.settle()
                self._failure = None
            else:
                self._fail(group, _taken_away(self._folder))
        group.settled = True

    def _fail(self, group: _Group, reason: str) -> None:
        """What stood in the file before waits to be taken; the next group gets another file."""
        group.error = LedgerError(reason)
        self._failure = reason
        if self._active is not None:
            self._active.cut_back()
            self._left.append(self._active)
            self._active = None

    def _take_over(self) -> None:
        """Takes the files of processes that are no more."""
        with self._writing:
            mine = {file.path for file in (self._active, *self._left) if file is not None}
            try:
                there = sorted(path for path in self._folder.glob(f"*{SUFFIX}") if path not in mine)
            except OSError:
                return  # the folder is away: appending says so
            self._left += [file for path in there if (file := _File.take_over(path)) is not None]


@dataclass
class _Group:
    """Lines that are written together."""

    lines: list[bytes] = field(default_factory=list)
    settled: bool = False
    error: LedgerError | None = None


class _File:
    """One file, locked by who writes it, or who took it over.

    Attributes:
        taken: Up to where it was taken.
        end: Up to where its lines are certain.
    """

    def __init__(self, path: Path, handle: int, *, end: int) -> None:
        self.path = path
        self._handle = handle
        self.taken = 0
        self.end = self._written = end
        self._read = 0

    @classmethod
    def make(cls, folder: Path, *, proven: bool = False) -> _File:
        """A new file; its name is durable. `proven`: a block was written and taken back, so that a line has room.

        Raises:
            OSError: The disk does not take it; nothing is left of it then.
        """
        folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        while True:
            path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_FILE)
            file = cls(path, handle, end=0)
            try:
                # Another process may take it for one that was left behind before it is locked.
                if hold(handle) and file.is_there():
                    sync_folder(folder)
                    if proven:
                        file.write(bytes(_BLOCK_BYTES))
                        os.ftruncate(handle, 0)
                    return file
            except OSError:
                file.remove()
                raise
            file.close()

    @classmethod
    def take_over(cls, path: Path) -> _File | None:
        """A file whose writer is gone; None where there is none, or its writer lives."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return None
        file = cls(path, handle, end=os.fstat(handle).st_size)
        if hold(handle) and file.is_there():
            return file
        file.close()
        return None

    def is_there(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            there, here = os.stat(self.path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def write(self, data: bytes) -> None:
        """Appends and flushes."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._handle, left) :]
        os.fdatasync(self._handle)
        self._written = self.end + len(data)

    def settle(self) -> None:
        """What was written is certain."""
        self.end = self._written

    def cut_back(self) -> None:
        """Takes back what was written and is not certain, as far as that can be."""
        try:
            os.ftruncate(self._handle, self.end)
        except OSError:
            return  # nobody was told that it is stored; a line too many does no harm

    def read(self) -> list[bytes]:
        """The next lines that were not taken yet."""
        size = PORTION_BYTES
        while self.taken < self.end:
            data = os.pread(self._handle, min(size, self.end - self.taken), self.taken)
            whole = data.rfind(b"\n") + 1
            if whole:
                self._read = self.taken + whole
                return data[:whole].split(b"\n")[:-1]
            if self.taken + len(data) >= self.end or not data:
                self.taken = self.end  # half a line, which a kill left: nobody was told that it is stored
            elif size >= LONGEST_LINE_BYTES:
                self.taken += len(data)
            else:
                size *= 2
        return []

    def forget(self) -> None:
        """Notes that the lines of the last `read` were taken; when all of a file is taken, the file starts anew."""
        self.taken = self._read
        if self.taken >= self.end:
            os.ftruncate(self._handle, 0)
            self.taken = self.end = self._read = self._written = 0

    def remove(self) -> None:
        """Removes the file, where the path still leads to it."""
        if self.is_there():
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        os.close(self._handle)


def _inode(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one of its name; None where there is none."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _taken_away(folder: Path) -> str:
    return f"{folder} was moved or deleted while this program runs: put DATA_DIR back, or start this program anew"
