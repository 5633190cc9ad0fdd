"""Where contracts and their marks come from: a project of Label Studio as it stands, or files on disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from backend.commands.import_documents.document_files import name_of
from backend.commands.report.contracts import Contract, ContractPage, Found
from backend.corrections.shown import is_blind, origin_of
from backend.errors import LabelConfigError, PageError, RequestError, UndecodablePage
from backend.labelstudio.annotations import Annotation, read_annotation
from backend.labelstudio.connections import Pages, first_page
from backend.labelstudio.mark_words import holds
from backend.labelstudio.stating import said
from backend.pages.source import ENOUGH_DPI, from_path

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.pages.page import Page
    from backend.settings import Settings
    from backend.vision.pipeline import Pipeline

__all__ = ["Contracts", "FileContracts", "ProjectContracts"]

_NOMINAL = 10_000.0
"""Stands for a page size that is not known: any number gives the same shares of a page, except for turned boxes."""
_LACKS = "no prediction is stored: run `prelabel --project` first"
_CHOSE = {
    "both": "the annotator chose signed and stamped; a signature or a stamp is not boxed",
    "none": "the annotator chose neither signed nor stamped; a signature or a stamp is boxed",
    "signed": "the annotator chose signed; no signature is boxed",
    "stamped": "the annotator chose stamped; no stamp is boxed",
    "unsigned": "the annotator chose not signed; a signature is boxed",
    "unstamped": "the annotator chose not stamped; a stamp is boxed",
}
_SAID_NOTHING: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
_BLIND = "served without boxes (BLIND_SHARE): what the model found is kept back until somebody annotates it"


class Contracts(Protocol):
    """Contracts, one at a time."""

    @property
    def total(self) -> int | None:
        """How often `contracts` reports progress, where that is known."""
        ...

    def contracts(self, progress: Callable[[], object]) -> Iterator[Contract]:
        """All of them."""
        ...

    def page(self, page: ContractPage) -> Page:
        """One page again; raises PageError."""
        ...


class FileContracts:
    """Files, each a contract, looked at by the model now.

    Args:
        files: Which.
        pipeline: The model.
        settings: Limits, and the resolution of PDF pages.
    """

    def __init__(self, files: Sequence[Path], pipeline: Pipeline, settings: Settings) -> None:
        self._files = files
        self._pipeline = pipeline
        self._settings = settings
        self._named = Counter(map(name_of, files))

    @property
    def total(self) -> int | None:
        return len(self._files)

    def contracts(self, progress: Callable[[], object]) -> Iterator[Contract]:
        """A contract for each file; one that cannot be read to its end has a last page that says why."""
        for file in self._files:
            pages: list[ContractPage] = []
            try:
                for page in from_path(file, self._settings, enough=ENOUGH_DPI):
                    pages.append(self._page(file, page))
            except PageError as error:
                number = len(pages) + 1
                pages.append(ContractPage(number=number, source=str(file), index=number - 1, reason=error.reason))
            yield Contract(name=self._name(file), pages=tuple(pages))
            progress()

    def page(self, page: ContractPage) -> Page:
        found = next(from_path(Path(page.source), self._settings, pages=slice(page.index, page.index + 1)), None)
        if found is None:
            raise UndecodablePage(page.source, "the page is no longer there")
        return found

    def _name(self, file: Path) -> str:
        """The file's name; with its folders where another file has the same."""
        return name_of(file) if self._named[name_of(file)] == 1 else str(file)

    def _page(self, file: Path, page: Page) -> ContractPage:
        marks = self._pipeline.marks(page)
        found = [
            Found(label=name, box=_shares(tuple(box), page.width, page.height), score=float(score))
            for name, box, score in zip(marks.names, marks.boxes.tolist(), marks.scores, strict=True)
        ]
        return ContractPage(
            number=page.index + 1,
            source=str(file),
            index=page.index,
            marks=_in_order(found),
            certainty=float(marks.certainty),
        )


class ProjectContracts:
    """The tasks of a project, those of one document together: annotated by people, else as predicted.

    Of several annotations of a task the newest rules, of several predictions the newest; skipped tasks are as if
    nobody had annotated them.

    Args:
        studio: Label Studio, with a token that may read the project.
        source: Fetches pages.
        project: The project's id.
        blind_share: Share of documents that are served without boxes.
    """

    def __init__(self, studio: LabelStudio, source: Pages, project: int, *, blind_share: float = 0.0) -> None:
        self._studio = studio
        self._source = source
        self._project = project
        self._blind_share = blind_share

    @property
    def total(self) -> int | None:
        found = self._studio.project(self._project).get("task_number")
        return found if isinstance(found, int) else None

    def contracts(self, progress: Callable[[], object]) -> Iterator[Contract]:
        """The contracts; progress is reported for each task.

        Raises:
            LabelStudioError: Label Studio refused or did not answer.
        """
        label_config = str(self._studio.project(self._project).get("label_config") or "")
        tasks: dict[str, list[tuple[int, str, list[ContractPage]]]] = defaultdict(list)
        for task in self._studio.tasks(self._project):
            origin, name, pages = self._task(task, label_config)
            tasks[origin].append((int(task["id"]), name, pages))
            progress()
        for parts in tasks.values():
            yield self._contract(parts)

    def page(self, page: ContractPage) -> Page:
        return first_page(self._source, page.source, task=page.task)

    def _contract(self, parts: Sequence[tuple[int, str, list[ContractPage]]]) -> Contract:
        """The contract of a document's tasks. A page that two of them have, as after a second import, counts once."""
        pages: dict[int, ContractPage] = {}
        for _, _, some in parts:
            for page in some:
                pages[page.number] = max(pages.get(page.number, page), page, key=_worth)
        task, name, _ = parts[0]
        link = f"{self._studio.base_url}/projects/{self._project}/data?task={task}"
        return Contract(name=name, pages=tuple(pages[number] for number in sorted(pages)), link=link)

    def _task(self, task: Mapping[str, Any], label_config: str) -> tuple[str, str, list[ContractPage]]:
        """The document that a task is of, its name, and the task's pages."""
        data = dict(task.get("data") or {})
        try:
            state, reason = self._state(task, label_config)
            references = state.references
            marks = _marks(state) if not reason else {}
        except (RequestError, LabelConfigError) as error:
            page = ContractPage(number=1, source="", task=int(task["id"]), reason=str(error))
            return f"task {task['id']}", f"task {task['id']}", [page]
        origin = origin_of(data, references)
        annotated = bool(state.id)
        if not annotated and not reason and self._blind_share and is_blind(origin, share=self._blind_share):
            reason = _BLIND
        told = _told(state) if annotated else {}
        numbers = _numbers(data, len(references))
        pages = [
            ContractPage(
                number=number,
                source=reference,
                task=int(task["id"]),
                marks=None if reason else marks.get(index, ()),
                annotated=annotated,
                certainty=1.0 if annotated else _certainty(task),
                reason=reason,
                said=told.get(index, _SAID_NOTHING)[0],
                contradictions=told.get(index, _SAID_NOTHING)[1],
            )
            for index, (number, reference) in enumerate(zip(numbers, references, strict=True))
        ]
        name = state.document or (references[0].rsplit("/", 1)[-1] if references else f"task {task['id']}")
        return origin, name, pages

    @staticmethod
    def _state(task: Mapping[str, Any], label_config: str) -> tuple[Annotation, str]:
        """What counts on a task, or why nothing does. A prediction is read as an annotation of nobody, with id 0."""
        annotations = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
        every = (read_annotation(one, task=task, label_config=label_config) for one in annotations)
        if states := [one for one in every if not one.skipped]:
            return max(states, key=lambda one: (one.updated, -one.id)), ""
        newest = _prediction(task)
        stands_in = {
            "id": 0,
            "task": task["id"],
            "created_at": "1970-01-01T00:00:00+00:00",
            "result": newest.get("result") if newest else [],
        }
        return read_annotation(stands_in, task=task, label_config=label_config), "" if newest else _LACKS


def _told(state: Annotation) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """What the annotator chose in Choices, and where this contradicts the boxes, by index of the page.

    An answer about the whole task is with its first page.
    """
    pages = [(task_page.item, task_page.bindings) for task_page in state.task_pages]
    boxed = {page: {mark.label for mark in marks} for page, marks in _marks(state).items()}
    found: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for item, sayings in said(state.result, pages).items():
        here = [index for index, (place, _) in enumerate(pages) if item is None or place == item]
        marks = set[str]().union(*(boxed.get(index, ()) for index in here))
        wrong = tuple(_CHOSE[saying] for saying in sayings if not holds(saying, marks))
        earlier = found.get(here[0], _SAID_NOTHING)
        found[here[0]] = (*earlier[0], *sayings), (*earlier[1], *wrong)
    return found


def _prediction(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = [one for one in task.get("predictions") or () if isinstance(one, dict)]
    return max(found, key=lambda one: int(one["id"]), default=None)


def _certainty(task: Mapping[str, Any]) -> float:
    """The task's score, which is the least certainty on its pages; an unusable one says nothing."""
    score = (_prediction(task) or {}).get("score")
    return float(score) if isinstance(score, int | float) and 0 <= score <= 1 else 0.0


def _numbers(data: Mapping[str, Any], total: int) -> list[int]:
    """Page numbers within the document, where the import kept them; else as the task has its pages."""
    told = data.get("page_numbers")
    if isinstance(told, list) and len(told) == total and all(isinstance(one, int) for one in told):
        return [int(one) for one in told]
    return list(range(1, total + 1))


def _marks(state: Annotation) -> dict[int, tuple[Found, ...]]:
    """Marks by the page's index within the task; pages without any are left out."""
    sizes = {page: _size(state, page) for page in state.pages()}
    scores = {str(region.get("id")): region.get("score") for region in state.result}
    found: dict[int, list[Found]] = defaultdict(list)
    for region in state.regions(sizes):
        score = scores.get(region.id)
        told = float(score) if isinstance(score, int | float) and not state.id else None
        width, height = sizes[region.page]
        found[region.page].append(Found(label=region.label, box=_shares(region.box, width, height), score=told))
    return {page: _in_order(marks) for page, marks in found.items()}


def _size(state: Annotation, page: int) -> tuple[int, int]:
    """Width and height of a page as its regions tell them: a turned box needs them in the right ratio."""
    task_page = state.task_pages[page]
    controls = {binding.control for binding in task_page.bindings}
    for region in state.result:
        size = region.get("original_width"), region.get("original_height")
        here = task_page.item is None or task_page.item == (region.get("item_index") or 0)
        if here and region.get("from_name") in controls and all(isinstance(one, int) and one > 0 for one in size):
            return int(size[0] or 0), int(size[1] or 0)
    return int(_NOMINAL), int(_NOMINAL)


def _shares(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (at / side for at, side in zip(box, (width, height) * 2, strict=True))
    return x1, y1, x2, y2


def _in_order(marks: Sequence[Found]) -> tuple[Found, ...]:
    return tuple(sorted(marks, key=lambda mark: (round(mark.box[1], 1), mark.box[0])))


def _worth(page: ContractPage) -> tuple[bool, bool]:
    return page.annotated and page.marks is not None, page.marks is not None
