"""What there is to look at without Label Studio: files of folders and object stores, and tasks of lists."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fsspec

from backend.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Item", "items"]

_PAGE_FILES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".pdf")


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


def _of_path(path: Path, prefix: str) -> Iterator[Item]:
    if path.is_file():
        yield Item(name=str(path), reference=f"{prefix}{path.name}")
        return
    if not path.is_dir():
        raise SettingsError(f"{path} is neither a folder nor a file")
    for folder, below, files in os.walk(path):
        below.sort()
        for name in sorted(files):
            if name.lower().endswith(_PAGE_FILES):
                file = Path(folder, name)
                yield Item(name=str(file), reference=f"{prefix}{file.relative_to(path).as_posix()}")


def _of_url(url: str) -> Iterator[Item]:
    try:
        system, path = fsspec.core.url_to_fs(url)
        if system.isfile(path):
            yield Item(name=url, reference=url)
            return
        if not system.isdir(path):
            raise SettingsError(f"{url} is neither a folder nor a file")
        for folder, _, files in system.walk(path):
            for name in sorted(files):
                if name.lower().endswith(_PAGE_FILES):
                    found = system.unstrip_protocol(f"{folder}/{name}")
                    yield Item(name=found, reference=found)
    except (OSError, ImportError, ValueError) as error:
        raise SettingsError(f"{url} cannot be listed ({type(error).__name__}: {error})") from error


def _of_list(file: Path) -> Iterator[Item]:
    try:
        with file.open(encoding="utf-8") as text:
            tasks = json.load(text) if file.suffix == ".json" else map(json.loads, text)
            for place, task in enumerate(tasks):
                if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
                    raise SettingsError(f"{file}: entry {place} is no task: it has no data")
                kept = {name: task[name] for name in ("id", "data") if name in task}
                yield Item(name=f"{file}#{place}", task=kept)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} is no list of tasks ({error})") from error
