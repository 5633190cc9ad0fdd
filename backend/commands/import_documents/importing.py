"""Documents into a project: each rendered page by page, uploaded, and made tasks of, exactly once.

The one thing that an import has to remember: which document's tasks it was creating when it was cut off.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.commands.import_documents.document_files import name_of
from backend.errors import DocumentError, LabelStudioError, PageError, PageUnavailable, UndecodablePage
from backend.files import alone, replace_whole, sync_folder
from backend.labelstudio.projects import DIGEST_FIELD, documents_in
from backend.labelstudio.tabs import PREVIEW, page_columns
from backend.pages.encoding import encode
from backend.pages.page import Limits
from backend.pages.source import decode, read_plain

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding

__all__ = ["Begun", "FileOutcome", "FileState", "ImportJournal", "Importer", "Tasks", "tasks_of"]

# Documents whose state Label Studio is asked for in one request.
_AT_ONCE = 50
# How long Label Studio may take to create the tasks of a request whose sender is gone.
_SETTLE_SECONDS = 30.0
_LOOK_SECONDS = 0.5
# Refusals that concern everything, not this document: the token, its rights, the project or the address.
_NOBODYS = frozenset({401, 403, 404})


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A document whose tasks were asked for, while it is not known whether they were created.

    Attributes:
        digest: SHA-256 of the document.
        at: When, in seconds since the epoch.
    """

    digest: str
    at: float


class ImportJournal:
    """Notes, durably, that a document's tasks are about to be created; one file for a project of a Label Studio.

    Which documents are in is asked of Label Studio alone. It cannot say what becomes of a request that was under way
    when its process died. This note is for that alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "begun.json"

    @classmethod
    def of(cls, data_dir: Path, *, base_url: str, project: int) -> ImportJournal:
        """The journal of a project, in the data folder."""
        return cls(data_dir / "imports" / f"{hashlib.sha256(base_url.encode()).hexdigest()[:12]}-{project}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a second import into the same project away; a process that dies lets go.

        Raises:
            DocumentError: Another import is under way.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        busy = DocumentError("another import into this project is under way: wait until it has ended")
        with alone(self._folder / "lock", seconds=0, refusal=busy):
            yield

    def begun(self) -> Begun | None:
        """What was begun and not ended."""
        if not self._file.exists():
            return None
        return Begun(**json.loads(self._file.read_text(encoding="utf-8")))

    def begin(self, digest: str) -> None:
        """Notes a document whose tasks are about to be asked for."""
        replace_whole(self._file, json.dumps({"digest": digest, "at": time.time()}))

    def end(self) -> None:
        """Notes that it is known what became of it."""
        self._file.unlink(missing_ok=True)
        sync_folder(self._folder)


class Tasks(Enum):
    """What becomes a task."""

    DOCUMENT = "document"
    PAGE = "page"


class FileState(Enum):
    """What became of a file."""

    IMPORTED = "imported"
    KNOWN = "already in the project"
    TWICE = "same content as another file"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        path: The file.
        state: What became of it.
        reason: Why it failed, or which file it equals.
        pages: How many were imported.
        tasks: How many were created.
    """

    path: Path
    state: FileState
    reason: str = ""
    pages: int = 0
    tasks: int = 0


def tasks_of(binding: Binding, wanted: Tasks | None) -> Tasks:
    """What becomes a task in a project: what its label config shows, which `wanted` has to be where it is given.

    Raises:
        DocumentError: The label config shows the other.
    """
    shown = Tasks.DOCUMENT if binding.paged else Tasks.PAGE
    if wanted not in (None, shown):
        lacking = 'valueList="$pages"' if wanted is Tasks.DOCUMENT else 'value="$image"'
        raise DocumentError(
            f"the project's label config shows a {shown.value} a task: import with --tasks {shown.value}, or into a "
            f"project whose Image has {lacking} (`connect{' --pages' if wanted is Tasks.DOCUMENT else ''}` makes one)"
        )
    return shown


class Importer:
    """Imports files into one project.

    A document is in the project when one of its tasks is. All its tasks are created in one request, which Label Studio
    carries out whole or not at all. So nothing but Label Studio has to be asked, after a kill as well, save for one
    document: the one whose tasks were being created, which the journal names.

    Args:
        studio: Where to.
        project: The project's id.
        binding: Names the field of the task's data, and says whether it holds a list.
        journal: Of this project.
        limits: Bytes, pixels, pages and seconds of one document.
        dpi: Resolution at which pages of PDF files are rendered.
        last: Only so many of a document's last pages; all when None.
        page_done: Called for each page that was uploaded.
        settle: Seconds that are waited for tasks that a run which was cut off may have asked for.
    """

    def __init__(
        self,
        studio: LabelStudio,
        project: int,
        *,
        binding: Binding,
        journal: ImportJournal,
        limits: Limits,
        dpi: int,
        last: int | None = None,
        page_done: Callable[[], object] = lambda: None,
        settle: float = _SETTLE_SECONDS,
    ) -> None:
        self._studio = studio
        self._project = project
        self._binding = binding
        self._journal = journal
        self._limits = limits
        self._dpi = dpi
        self._pages = None if last is None else slice(-last, None)
        self._page_done = page_done
        self._settle_seconds = settle
        self._first: dict[str, Path] = {}

    def run(self, files: Sequence[Path]) -> Iterator[FileOutcome]:
        """Imports files in order, one page in memory at a time; gives what became of each, when it is known.

        Raises:
            DocumentError: Another import into this project is under way.
            LabelStudioError: Label Studio cannot be reached or takes nothing from this token; what was imported stays,
                and another run goes on from there.
        """
        with self._journal.held():
            self._settle_earlier()
            rest = iter(files)
            while batch := list(islice(rest, _AT_ONCE)):
                yield from self._batch(batch)

    def _batch(self, files: list[Path]) -> Iterator[FileOutcome]:
        looked_at = [self._looked_at(file) for file in files]
        known = documents_in(self._studio, self._project, {one for one in looked_at if isinstance(one, str)})
        for file, digest in zip(files, looked_at, strict=True):
            if isinstance(digest, PageError):
                yield FileOutcome(path=file, state=FileState.FAILED, reason=digest.reason)
            elif digest in self._first:
                yield FileOutcome(path=file, state=FileState.TWICE, reason=str(self._first[digest]))
            else:
                self._first[digest] = file
                yield FileOutcome(path=file, state=FileState.KNOWN) if digest in known else self._import(file, digest)

    def _looked_at(self, file: Path) -> str | PageError:
        """SHA-256 of a file, or why it cannot be read."""
        try:
            return hashlib.sha256(read_plain(file, str(file), max_bytes=self._limits.max_bytes)).hexdigest()
        except PageError as error:
            return error

    def _import(self, file: Path, digest: str) -> FileOutcome:
        try:
            references, numbers = self._upload(file, digest)
            tasks = self._tasks(file, digest, references, numbers)
            self._create(digest, tasks)
        except PageError as error:
            return FileOutcome(path=file, state=FileState.FAILED, reason=error.reason)
        except LabelStudioError as error:
            if error.answered is None or error.answered in _NOBODYS or error.answered >= 500:
                raise
            return FileOutcome(path=file, state=FileState.FAILED, reason=str(error))
        return FileOutcome(path=file, state=FileState.IMPORTED, pages=len(numbers), tasks=len(tasks))

    def _upload(self, file: Path, digest: str) -> tuple[list[str], list[int]]:
        """Renders and uploads the pages; gives their references, and their numbers in the document from 1."""
        data = read_plain(file, str(file), max_bytes=self._limits.max_bytes)
        if hashlib.sha256(data).hexdigest() != digest:
            raise PageUnavailable(str(file), "it changed while it was being imported: run the import again")
        references, numbers = [], []
        for page in decode(data, reference=str(file), limits=self._limits, dpi=self._dpi, pages=self._pages):
            suffix, content = encode(page)
            numbers.append(page.index + 1)
            # Let go before the next one is decoded.
            del page
            # A short name of plain letters: Label Studio keeps at most 100 characters of path and name.
            references.append(self._studio.upload(self._project, f"{digest[:16]}-{numbers[-1]:04}{suffix}", content))
            self._page_done()
        if not references:
            raise UndecodablePage(str(file), "it has no page")
        return references, numbers

    def _tasks(self, file: Path, digest: str, references: list[str], numbers: list[int]) -> list[dict[str, Any]]:
        facts = {"document": name_of(file), DIGEST_FIELD: digest}
        field = self._binding.field
        if self._binding.paged:
            return [{field: self._binding.pages(references), PREVIEW: references[0], **facts, **page_columns(numbers)}]
        return [
            {field: reference, **facts, **page_columns([number])}
            for reference, number in zip(references, numbers, strict=True)
        ]

    def _create(self, digest: str, tasks: list[dict[str, Any]]) -> None:
        """Creates all tasks of a document in one request; one that got no answer may have been carried out."""
        self._journal.begin(digest)
        try:
            self._studio.import_tasks(self._project, tasks)
        except LabelStudioError as error:
            refused = error.answered is not None and error.answered < 500
            if not refused and not self._settled(digest, seconds=self._settle_seconds):
                raise
            self._journal.end()
            if refused:
                raise
        else:
            self._journal.end()

    def _settle_earlier(self) -> None:
        """Waits until it is known what became of a request whose sender was cut off."""
        begun = self._journal.begun()
        if begun is None:
            return
        passed = max(time.time() - begun.at, 0.0)  # the clock may have been put back since
        self._settled(begun.digest, seconds=max(self._settle_seconds - passed, 0.0))
        self._journal.end()

    def _settled(self, digest: str, *, seconds: float) -> bool:
        """Whether a document is in the project after so many seconds at the latest."""
        give_up = time.monotonic() + seconds
        while not documents_in(self._studio, self._project, {digest}):
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOOK_SECONDS)
        return True
