"""What there is to look at without Label Studio: files of folders and object stores, and tasks of lists.

One item of an archive → its pages' predictions, one row a page, or one row a task.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import fsspec

from backend.commands.prelabel.worker_model import Failed, bulk_settings, plain_predictor
from backend.errors import LimitExceeded, PageError, PageUnavailable, RequestError, SettingsError
from backend.escaping import hidden, without_credentials
from backend.labelstudio.labelling import Binding, bind
from backend.labelstudio.results import NOT_DONE, prediction, regions, wants_ink, why_empty
from backend.labelstudio.stating import stated
from backend.labelstudio.tabs import page_columns
from backend.labelstudio.tasks import task_pages
from backend.outgoing import ask_store
from backend.pages.page import Limits
from backend.pages.references import SMALLER
from backend.pages.source import ENOUGH_DPI, PAGE_SUFFIXES, decode, read_plain
from backend.vision.ink import ink_in
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backend.pages.page import Page
    from backend.settings import Settings

__all__ = ["Item", "LookedItem", "Looker", "Row", "items", "make_looker"]

Row = dict[str, Any]
"""`document`, `page` (from 1; 0 for a task), `data` of the task, `prediction`."""
_LOG = logging.getLogger(__name__)
_LIST_SECONDS = 60.0  # for which a store is waited for at each folder


@dataclass(frozen=True, kw_only=True)
class LookedItem:
    """What became of an item.

    Attributes:
        name: The item's.
        pages: Pages that were looked at.
        rows: Its predictions; none where it failed.
        failure: Kind and reason, where it failed.
    """

    name: str
    pages: int
    rows: tuple[Row, ...] = ()
    failure: tuple[str, str] | None = None


class Looker:
    """Looks at items; one for a process.

    Args:
        settings: Limits, model and the way to Label Studio, whose files a list of tasks may name.
        label_config: Whose names the regions bear; empty for those of the project's own label_config.xml.

    Raises:
        ModelError: There is no model.
        LabelConfigError: The label config has no place for marks.
    """

    def __init__(self, settings: Settings, label_config: str) -> None:
        self._failed: Failed = {}
        self._settings = settings
        self._limits = Limits.of(settings)
        self._predictor = plain_predictor(settings, self._failed)
        self._pipeline = self._predictor.serving.pipeline(timeout=0)
        own = (_own_binding(settings.confidence),)
        self._bindings = bind(label_config, confidence=settings.confidence) if label_config else own
        self.version = str(self._predictor.version(self._bindings))

    def __call__(self, portion: Sequence[Item]) -> list[LookedItem]:
        """Looks at some items, one after the other."""
        return [self._look(item) for item in portion]

    def _look(self, item: Item) -> LookedItem:
        try:
            rows = self._task(item, item.task) if item.task is not None else self._file(item)
        except (PageError, RequestError) as error:
            return LookedItem(name=item.name, pages=0, failure=(type(error).__name__, str(error)))
        if isinstance(rows, tuple):
            return LookedItem(name=item.name, pages=0, failure=rows)
        pages = len(rows) if item.task is None else len(task_pages(0, item.task, self._bindings))
        return LookedItem(name=item.name, pages=pages, rows=tuple(rows))

    def _file(self, item: Item) -> list[Row]:
        data = content(item, max_bytes=self._limits.max_bytes, seconds=self._limits.seconds)
        dpi = self._settings.render_dpi
        found = decode(data, reference=item.name, limits=self._limits, dpi=dpi, enough=ENOUGH_DPI)
        facts = {"document": Path(item.name).name, "document_sha256": hashlib.sha256(data).hexdigest()}
        return [self._row(item, page, facts) for page in found]

    def _row(self, item: Item, page: Page, facts: Mapping[str, str]) -> Row:
        binding = self._bindings[0].on_page(0)
        marks = self._pipeline.marks(page, confidence=binding.threshold)
        place = 0 if binding.paged and self._bindings[0].repeat is None else None
        inks = ink_in(page, marks.boxes) if wants_ink([binding]) else ()
        result = regions(marks, width=page.width, height=page.height, binding=binding, task=None, item=place, inks=inks)
        result += stated(result, [(place, [binding])], task=None)
        reference = self._bindings[0].pages([item.reference]) if binding.paged else item.reference
        return {
            "document": item.name,
            "page": page.index + 1,
            "data": {binding.field: reference, **facts, **page_columns([page.index + 1])},
            "prediction": prediction(
                result, certainties=[marks.certainty], version=self.version, reason=why_empty(marks, [binding])
            ),
        }

    def _task(self, item: Item, task: dict[str, Any]) -> list[Row] | tuple[str, str]:
        """A task's row; kind and reason where it could not be looked at whole."""
        self._failed.clear()
        if not task_pages(0, task, self._bindings):
            raise RequestError("the list of its pages is empty")
        _, [found] = self._predictor.predict([task], self._bindings, project="")
        if self._failed:
            return next(iter(self._failed.values()))
        if found == NOT_DONE:
            return "Error", "looking at its pages failed: the log says how"
        return [{"document": item.name, "page": 0, "data": task["data"], "prediction": found}]


def content(item: Item, *, max_bytes: int, seconds: float = math.inf) -> bytes:
    """The bytes of a file.

    Raises:
        PageUnavailable: No such file, not a plain file, not readable, or of a store that does not answer in `seconds`.
        LimitExceeded: Larger than `max_bytes`.
    """
    if not item.remote:
        # Not by the stores' library: it takes names such as `data:a.png` and `zip::a.png` for addresses.
        return read_plain(Path(item.name), item.name, max_bytes=max_bytes)
    try:
        data = _of_store(item, max_bytes=max_bytes, seconds=seconds)
    except TimeoutError as error:
        raise PageUnavailable(item.name, f"its store has not given it within {seconds:g} s (FETCH_TIMEOUT)") from error
    except OSError as error:
        raise PageUnavailable(item.name, f"the file cannot be read ({error.strerror or error})") from error
    except PageError:
        raise
    except Exception as error:  # those of an object store's library have no common base
        raise PageUnavailable(item.name, f"the file cannot be read ({type(error).__name__}: {error})") from error
    if len(data) > max_bytes:
        raise _too_large(item, max_bytes)
    return data


def _too_large(item: Item, max_bytes: int) -> LimitExceeded:
    return LimitExceeded(item.name, f"larger than MAX_BYTES ({max_bytes} bytes): {SMALLER}")


def _of_store(item: Item, *, max_bytes: int, seconds: float) -> bytes:
    files, path = fsspec.core.url_to_fs(item.name)
    end = time.monotonic() + seconds
    size = ask_store(files, "info", path, seconds=seconds).get("size")
    if size is not None and size > max_bytes:
        raise _too_large(item, max_bytes)
    return bytes(ask_store(files, "cat_file", path, seconds=max(end - time.monotonic(), 1.0)))


def make_looker(settings: Settings, label_config: str, processes: int) -> Looker:
    """A looker with its share of the processors."""
    logging.getLogger("backend.server.predictor").setLevel(logging.ERROR)
    return Looker(bulk_settings(settings, processes=processes), label_config)


def _own_binding(confidence: float) -> Binding:
    """Names of this project's own label_config.xml."""
    labels = {mark: mark for mark in MARKS}
    return Binding(control="mark", image="page", field="image", paged=False, labels=labels, threshold=confidence)


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file of pages, or a task.

    Attributes:
        name: What tells it from all others: its path or URL, or its place in a list.
        reference: What a task's data name as the file; empty for a task.
        task: The task, as a list has it; None for a file.
    """

    name: str
    reference: str = ""
    task: dict[str, Any] | None = None

    @property
    def remote(self) -> bool:
        return "://" in self.name

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


def items(inputs: Sequence[str], *, prefix: str) -> Iterator[Item]:
    """The items of folders, files, URLs and lists of tasks, in order; made as they are asked for.

    Args:
        inputs: Local paths, URLs that fsspec knows such as `s3://bucket/folder`, and lists of tasks: `.json`, an array
            as Label Studio exports it, or `.jsonl`, one task a line.
        prefix: Before the path of a local file within its folder; a URL is its own reference.

    Raises:
        SettingsError: There is no such thing, or a list is none.
    """
    for one in inputs:
        if "://" in one:
            yield from _of_url(one)
        elif one.endswith((".json", ".jsonl")):
            yield from _of_list(Path(one))
        else:
            yield from _of_path(Path(one), prefix)


class _LeftOut:
    """Counts the files of a folder whose names do not end like those of pages."""

    def __init__(self) -> None:
        self._count, self._first = 0, ""

    def takes(self, name: str) -> bool:
        """Whether a file is looked at; one that is not is counted."""
        if PurePosixPath(name.lower()).suffix in PAGE_SUFFIXES:
            return True
        self._count += 1
        self._first = self._first or name
        return False

    def tell(self, folder: str) -> None:
        """Says how many files were left out, if any."""
        if self._count:
            told = "%s: left out %d files whose names do not end in %s; the first is %s"
            _LOG.warning(told, folder, self._count, ", ".join(sorted(PAGE_SUFFIXES)), self._first)


def _of_path(path: Path, prefix: str) -> Iterator[Item]:
    if path.is_file():
        yield Item(name=str(path), reference=f"{prefix}{path.name}")
        return
    if not path.is_dir():
        raise SettingsError(f"{path} is neither a folder nor a file")
    left_out = _LeftOut()
    for folder, below, files in os.walk(path):
        below.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if left_out.takes(str(file)):
                yield Item(name=str(file), reference=f"{prefix}{file.relative_to(path).as_posix()}")
    left_out.tell(str(path))


def _of_url(url: str) -> Iterator[Item]:
    try:
        yield from _listed(url)
    except SettingsError:
        raise
    except Exception as error:  # those of an object store's library have no common base
        shown = without_credentials(url)
        reason = f"{type(error).__name__}: {hidden(error, url)}"
        way_out = "check its address and credentials, and whether the store answers"
        raise SettingsError(f"{shown} cannot be listed ({reason}): {way_out}") from None


def _listed(url: str) -> Iterator[Item]:
    system, path = fsspec.core.url_to_fs(url)
    if ask_store(system, "isfile", path, seconds=_LIST_SECONDS):
        yield Item(name=url, reference=url)
        return
    if not ask_store(system, "isdir", path, seconds=_LIST_SECONDS):
        raise SettingsError(f"{without_credentials(url)} is neither a folder nor a file")
    left_out = _LeftOut()
    for name in _below(system, path):
        found = system.unstrip_protocol(name)
        if left_out.takes(found):
            yield Item(name=found, reference=found)
    left_out.tell(url)


def _below(system: Any, path: str) -> Iterator[str]:
    """The files of a folder of a store, in order, those of its own before those of the folders in it."""
    listed = {
        one["name"].rstrip("/"): one["type"] for one in ask_store(system, "ls", path, True, seconds=_LIST_SECONDS)
    }
    listed.pop(path.rstrip("/"), None)  # a folder may be there as an empty file, too
    yield from sorted(name for name, kind in listed.items() if kind != "directory")
    for name in sorted(name for name, kind in listed.items() if kind == "directory"):
        yield from _below(system, name)


def _of_list(file: Path) -> Iterator[Item]:
    try:
        with file.open(encoding="utf-8") as text:
            tasks = json.load(text) if file.suffix == ".json" else map(json.loads, text)
            for place, task in enumerate(tasks):
                if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
                    raise SettingsError(f"{file}: entry {place} is no task: it has no data")
                kept = {name: task[name] for name in ("id", "data") if name in task}
                yield Item(name=f"{file}#{place}", task=kept)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is no list of tasks ({error})") from error
