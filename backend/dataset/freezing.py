"""Makes a frozen version: of what annotators left in Label Studio's projects, or of pages whose marks are known.

Pages whose marks are known, such as drawn ones → pages of a draft.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from backend.corrections.crop_store import perceptual
from backend.corrections.label_history import LabelHistory
from backend.corrections.service import Store
from backend.corrections.splits import document_key
from backend.dataset.gathering import (
    Gathered,
    PageLook,
    Sides,
    gather,
    known_documents,
    samples_of,
    sides,
    sides_without_ledger,
)
from backend.dataset.manifest import Corners, FrozenMark, FrozenPage, Manifest, corners
from backend.dataset.store import Datasets, Version, checked
from backend.errors import BackendError, DatasetError, LabelConfigError, LabelStudioError, NotFreezable
from backend.escaping import printable
from backend.labelstudio.project_annotations import project_ids, rulings
from backend.pages.source import PageSource, from_path
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.dataset.store import VersionDraft
    from backend.evaluation.truth import TruePage, Truth
    from backend.labelstudio.client import LabelStudio
    from backend.pages.page import Page
    from backend.settings import Settings

__all__ = ["Frozen", "datasets", "file_stem", "freeze", "freeze_known"]

_PROGRAM = "contract-marks"
_MOST_NAMED = 20
_LONGEST_REASON = 500
_LONGEST_STEM = 150
_NO_FILE = re.compile(r"con|prn|aux|nul|(com|lpt)\d", re.IGNORECASE)


def _known_pages(
    truth: Truth, draft: VersionDraft, settings: Settings, progress: Callable[[], object]
) -> tuple[list[FrozenPage], list[PageLook]]:
    """Stores each page, and gives what is known about it, its side left empty, and how its document is known again.

    Raises:
        DatasetError: A page has not the size that its boxes were drawn on.
        PageError: A page cannot be read.
    """
    pages, looks = [], []
    stems = Counter(file_stem(page.name).casefold() for page in truth.pages)
    for known in sorted(truth.pages, key=lambda page: page.name):
        read = next(from_path(known.path, settings, pages=slice(0, 1)))
        if known.size not in (None, (read.width, read.height)):
            raise DatasetError(
                f"{known.name} is {read.width} x {read.height} pixels when upright, but its boxes were drawn on "
                f"{known.size}: export the COCO file anew from upright images"
            )
        frozen = _page(known, read, draft.add(read.pixels), alone=stems[file_stem(known.name).casefold()] == 1)
        pages.append(frozen)
        looks.append(PageLook(document=frozen.document, page_sha256=frozen.sha256, page_phash=perceptual(read.pixels)))
        progress()
    return pages, looks


def _page(known: TruePage, read: Page, sha256: str, *, alone: bool) -> FrozenPage:
    labels = [MARKS[index] for index in known.labels]
    marks = sorted(
        (label, corners(box), tuple(sorted(traits)))
        for label, box, traits in zip(labels, known.boxes, known.traits, strict=True)
    )
    return FrozenPage(
        name=file_stem(known.name) if alone else f"{file_stem(known.name)}-{_digits(known.name)}",
        document=document_key(known.document, ()),
        split="",
        sha256=sha256,
        width=read.width,
        height=read.height,
        dpi=None if read.dpi is None else round(read.dpi, 2),
        language=known.language,
        marks=tuple(
            # By what it is, so that marks of two versions are told apart by their place, and not by their order.
            FrozenMark(id=f"{_digits(f'{label} {box}')}-{number}", label=label, box=box, traits=traits)
            for (label, box, traits), number in zip(marks, _copies(marks), strict=True)
        ),
        ignored=tuple(corners(box) for box in known.ignored),
    )


def _copies(marks: Sequence[tuple[str, Corners, tuple[str, ...]]]) -> list[int]:
    """How many marks before each one are of its class and at its place."""
    return [sum(other[:2] == one[:2] for other in marks[:place]) for place, one in enumerate(marks)]


def file_stem(name: str) -> str:
    """A file name's letters, digits and dashes: fit for a file of any system, with an ending and a number behind it.

    Windows has names that are no files, whatever their ending. Too long a name is cut, and told from others by digits.
    """
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", name.rpartition(".")[0] or name).strip("-")
    if len(stem) > _LONGEST_STEM or _NO_FILE.fullmatch(stem):
        stem = f"{stem[:_LONGEST_STEM]}-{_digits(name)}"
    return stem or _digits(name)


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What became of a wish to freeze.

    Attributes:
        version: The version.
        new: False where the same content was frozen under that name already.
        missing: Tasks that are not in it, one sentence each.
        unannotated: Tasks of the projects that nobody annotated, or everybody skipped.
        unknown: Regions whose label no label config knows, one sentence for each task: their places are left open.
    """

    version: Version
    new: bool
    missing: tuple[str, ...] = ()
    unannotated: int = 0
    unknown: tuple[str, ...] = ()


@dataclass
class _Tally:
    """What came of the tasks so far; `tasks` is how many the projects have."""

    gathered: list[Gathered] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tasks: int = 0

    @property
    def unannotated(self) -> int:
        return self.tasks - len(self.gathered) - len(self.missing)


def datasets(settings: Settings) -> Datasets:
    """The data sets of a data folder."""
    return Datasets(settings.data_dir / "datasets")


def freeze(
    name: str,
    *,
    projects: Sequence[str],
    studio: LabelStudio,
    settings: Settings,
    store: Store | None = None,
    allow_missing: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> Frozen:
    """Freezes what annotators left in projects.

    Of each task the newest submitted annotation counts, with all of the task's pages; one without marks makes negative
    pages. The side of each document is the ledger's, and is noted there where it was not decided yet.

    Args:
        name: Of the version.
        projects: Ids or titles.
        studio: Label Studio, with a token that may read the projects.
        settings: Data folder, and limits on what is fetched.
        store: The ledger; the one that the settings name when None.
        allow_missing: Whether to freeze without the tasks whose pages cannot be had.
        progress: Called after each task.

    Raises:
        DatasetError: Pages are missing, nothing was annotated, or the name is taken by other content.
        LabelStudioError: Label Studio refused or did not answer, or has no such project.
        LabelConfigError: A project's label config has nothing that marks could be read from.
        LedgerError: The ledger cannot be used.
    """
    checked(name)
    ids = project_ids(studio, projects)
    with _ledger(store, settings) as ledger, datasets(settings).drafting() as draft:
        past = LabelHistory(engine=ledger.engine)
        tally = _gathered(ids, studio, PageSource(settings, studio), draft, progress, past=past)
        if tally.missing and not allow_missing:
            raise NotFreezable(_refusal(tally.missing))
        manifest = _manifest(tally.gathered, ledger)
        made = _made(label_studio=studio.version(), projects=list(ids), missing=tally.missing)
        frozen, new = datasets(settings).publish(draft, name, manifest, made)
    missing, unknown = tuple(tally.missing), tuple(_unknown(tally.gathered))
    return Frozen(version=frozen, new=new, missing=missing, unannotated=tally.unannotated, unknown=unknown)


def freeze_known(
    name: str, truth: Truth, *, settings: Settings, progress: Callable[[], object] = lambda: None
) -> Frozen:
    """Freezes pages whose marks are known, such as drawn ones; documents take their sides by the ledger's rule.

    Args:
        name: Of the version.
        truth: The pages.
        settings: Data folder, and limits on what is read.
        progress: Called after each page.

    Raises:
        DatasetError: A page has another size than its boxes were drawn on, or the name is taken by other content.
        PageError: A page cannot be read.
    """
    checked(name)
    with datasets(settings).drafting() as draft:
        pages, looks = _known_pages(truth, draft, settings, progress)
        found = sides_without_ledger(looks)
        placed = [dataclasses.replace(page, split=found.of(page.document, page.sha256)) for page in pages]
        source = "drawn" if all(page.drawn for page in truth.pages) else "coco"
        frozen, new = datasets(settings).publish(draft, name, Manifest.of(source, placed), _made())
    return Frozen(version=frozen, new=new)


def _gathered(
    projects: Sequence[int],
    studio: LabelStudio,
    source: PageSource,
    draft: VersionDraft,
    progress: Callable[[], object],
    *,
    past: LabelHistory,
) -> _Tally:
    tally = _Tally()
    for project in projects:
        tally.tasks += int(studio.project(project).get("task_number") or 0)
        for task, ruling in rulings(studio, project, past=past):
            try:
                if isinstance(ruling, BackendError):
                    raise ruling
                if ruling is not None:
                    tally.gathered.append(gather(ruling, source, draft))
            except (LabelConfigError, LabelStudioError):
                raise  # about the project, not about this task
            except BackendError as error:
                tally.missing.append(f"task {task}: {error}")
            progress()
    return tally


def _manifest(gathered: Sequence[Gathered], ledger: Store) -> Manifest:
    # Label Studio lists tasks in any order, and the first of two copies decides for both.
    ordered = sorted(gathered, key=lambda one: one.task)
    known = known_documents(ledger.engine, [one.task for one in ordered])
    keys = {one.task: known.get(one.task, one.document) for one in ordered}
    found = sides(ledger.engine, [look for one in ordered for look in one.looks_of(keys[one.task])])
    pages = [page for one in ordered for page in _placed(one, keys[one.task], found)]
    return Manifest.of("label-studio", pages, samples_of(ledger.engine, ordered))


def _placed(one: Gathered, document: str, found: Sides) -> list[FrozenPage]:
    return [dataclasses.replace(page, document=document, split=found.of(document, page.sha256)) for page in one.pages]


def _unknown(gathered: Sequence[Gathered]) -> Iterator[str]:
    for one in gathered:
        if one.unknown:
            named = ", ".join(repr(name) if name else "(none)" for name in sorted(set(one.unknown)))
            yield f"task {one.task}: {len(one.unknown)} regions have a label that nobody knows: {named}"


def _refusal(missing: Sequence[str]) -> str:
    named = "\n  ".join(printable(one, most=_LONGEST_REASON) for one in missing[:_MOST_NAMED])
    more = f"\n  … and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    many = "1 task" if len(missing) == 1 else f"{len(missing)} tasks"
    return f"{many} cannot be frozen; mend them, or leave them out with --allow-missing:\n  {named}{more}"


@contextmanager
def _ledger(given: Store | None, settings: Settings) -> Iterator[Store]:
    """The ledger that was given, or the settings' own, which is closed again."""
    if given is not None:
        yield given
        return
    opened = Store.open(settings)
    try:
        yield opened
    finally:
        opened.engine.dispose()


def _made(**facts: Any) -> dict[str, Any]:
    """When and by what a version is made; no part of its id."""
    try:
        ours = version(_PROGRAM)
    except PackageNotFoundError:
        ours = "(not installed)"
    return {"frozen": datetime.now(UTC).isoformat(timespec="seconds"), "program": f"{_PROGRAM} {ours}", **facts}
