"""What was shown, as the ledger or Label Studio tells it: the prediction that an annotation was made of.

Also which tasks are served without boxes, so that what people find unaided tells what the model misses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from backend.corrections.imprints import Imprint
from backend.corrections.tables import prediction, proposal
from backend.geometry import as_boxes, iou
from backend.labelstudio.annotations import Region
from backend.labelstudio.project_annotations import drawn_by, word_of
from backend.labelstudio.vocabulary import DrawnBy, tags_of

if TYPE_CHECKING:
    from backend.labelstudio.annotations import Annotation
    from backend.labelstudio.project_annotations import Parent

__all__ = [
    "CLOCKS_APART_SECONDS",
    "Prediction",
    "Proposal",
    "answered_before",
    "is_blind",
    "is_contradicted",
    "kept_throughout",
    "origin_of",
    "shown_before",
    "shown_under",
    "stored_ids",
    "stored_prediction",
]

_NAMES = ("document_sha256", "document")
# Further apart, an annotation was rather made of another backend's prediction, before this one was connected.
CLOCKS_APART_SECONDS = 3600.0
_SAME_PLACE = 0.5
# Asked many times for each annotation: SQLAlchemy takes longer to build them than a database to answer.
_PREDICTED = (
    select(prediction)
    .where(prediction.c.task == bindparam("its_task"), prediction.c.drawn == bindparam("is_drawn"))
    .order_by(prediction.c.shown, prediction.c.version, prediction.c.edition)
)
_PROPOSED = select(proposal).where(proposal.c.task == bindparam("its_task")).order_by(proposal.c.region)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as it was shown.

    Attributes:
        region: Its place and label; `label` is the class (signature, stamp, thumb), not the config's word for it.
        probabilities: Of signature, stamp, thumb and none, in this order; empty where only Label Studio knew of it.
        page_size: Width and height of the upright page in pixels.
        recalled: The sample whose verdict replaced the network's, if one did.
        word: What the label config called the label then; None where an older ledger has not kept it.
        drawn_by: The tags of the label config that drew it; None where an older ledger has not kept them.
    """

    region: Region
    probabilities: tuple[float, ...]
    score: float
    page_size: tuple[int, int]
    recalled: str | None = None
    word: str | None = None
    drawn_by: DrawnBy | None = None


def origin_of(data: Mapping[str, Any], references: Sequence[str]) -> str:
    """The document that a task is of: as the import names it, by content or else by name; else the task's own pages.

    Args:
        data: The task's data.
        references: Where its pages are, in order.
    """
    for name in _NAMES:
        value = data.get(name)
        if isinstance(value, str) and value:
            return f"{name} {value}"
    return f"pages {json.dumps(list(references))}"


def is_blind(origin: str, *, share: float) -> bool:
    """Whether the tasks of a document are served without boxes: the same in every process, for every model.

    The documents of a smaller share are among those of a larger one. Nothing else goes by this hash, least of all the
    split into training, validation and gold.

    Args:
        origin: As `origin_of` gives it.
        share: Of all documents, from 0 to 1.
    """
    digest = hashlib.sha256(f"blind\0{origin}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was shown for one task at once, or kept from its annotators.

    Attributes:
        version: The model version that it bears.
        shown: When it was made, in seconds since the epoch.
        blind: Whether an empty page was served in its place.
        pages: What its pages are known again by, by their index; empty where nobody took note.
    """

    version: str
    shown: float
    proposals: tuple[Proposal, ...]
    blind: bool = False
    pages: Mapping[int, Imprint] = field(default_factory=dict)


def shown_before(
    connection: Connection,
    *,
    task: int,
    regions: Sequence[str],
    moment: float,
    began_with_boxes: bool = False,
    taken: Iterable[str] = (),
) -> Prediction | None:
    """The one prediction that an annotation corrected, or was made in ignorance of; None where there was none.

    It is the one that shares the most region ids with the annotation. If none shares any (all were deleted, or drawn
    anew), it is the last one made before the annotation was first saved. Nobody can have taken a region from a blind
    one. Who took regions over, and none of the ledger's, had another prediction: of that the ledger knows nothing.

    When a prediction was made is told by our clock, when an annotation was saved by Label Studio's. So an annotation
    that was made of a prediction, but by these clocks before there was any, has the earliest of up to an hour later.

    Args:
        connection: An open transaction.
        task: The task's id.
        regions: Region ids left in the annotation.
        moment: When the annotation was first saved, in seconds since the epoch.
        began_with_boxes: Whether it was made of a prediction.
        taken: Ids of the regions that the editor took from a prediction.
    """
    kept = set(regions)
    answers = {proposal.region.id for one in _predictions(connection, task, drawn=True) for proposal in one.proposals}

    def fits(one: Prediction) -> tuple[int, bool, float, str]:
        shared = 0 if one.blind else sum(proposal.region.id in kept for proposal in one.proposals)
        return shared, one.shown <= moment, one.shown, one.version

    found = _predictions(connection, task, drawn=False)
    foreign = set(taken) - answers
    if foreign and not any(foreign & stored_ids(one) for one in found):
        return None
    fitting = [one for one in found if fits(one)[0] or one.shown <= moment]
    if fitting or not began_with_boxes:
        return max(fitting, key=fits, default=None)
    return next((one for one in found if one.shown <= moment + CLOCKS_APART_SECONDS), None)


def shown_under(
    connection: Connection,
    *,
    task: int,
    taken: Iterable[str] = (),
    same: Mapping[str, str | None] | None = None,
    version: str = "",
) -> Prediction | None:
    """The one prediction that has certain regions; None where none of the task's has them, or where several differ.

    Args:
        connection: An open transaction.
        task: The task's id.
        taken: Ids of regions that it has, beside others, at least one; nobody can have taken one of a blind one.
        same: All of its regions as Label Studio has them stored, each id with its label; a blind prediction is stored
            without any.
        version: In this case, its version.
    """
    found = _predictions(connection, task, drawn=False)
    if same is not None:
        wanted = frozenset(same)
        fitting = [
            one for one in found if one.version == version and stored_ids(one) == wanted and _is_called(one, same)
        ]
        # Of one version, what was blind and what was found empty look the same: the one that was blind says more.
        return max(fitting, key=lambda one: (one.blind, one.shown), default=None)
    some = frozenset(taken)
    fitting = [one for one in found if some and some <= stored_ids(one)]
    return fitting[-1] if len({stored_ids(one) for one in fitting}) == 1 else None


def kept_throughout(
    connection: Connection, ids: frozenset[str], *, task: int, until: float, version: str | None = None
) -> frozenset[str] | None:
    """Of some regions those that everything else had which was shown on a task; None where nothing else was shown.

    A stored prediction is rewritten where it stands, and whoever has the task open goes on with what it showed before.
    Where that cannot be ruled out, these are the regions that were on the screen for certain.

    Args:
        connection: An open transaction.
        ids: The regions that an annotation is compared with.
        task: The task's id.
        until: What was shown later does not count, in seconds since the epoch.
        version: Of one model version only.
    """
    others = [
        found
        for one in _predictions(connection, task, drawn=False)
        if not one.blind and one.shown <= until and version in (None, one.version)
        if (found := stored_ids(one)) != ids
    ]
    return ids.intersection(*others) if others else None


def is_contradicted(shown: Prediction, left: Annotation) -> bool:
    """Whether an annotation has something as untouched that a prediction did not show so.

    Its regions may bear the ids of two predictions: somebody imported ours with changes, or another program made it.

    Args:
        shown: A prediction that has the ids of all regions that were taken over.
        left: The annotation.

    Raises:
        RequestError: A region cannot be read.
    """
    proposals = {one.region.id: one for one in shown.proposals}
    same = tuple(one for one in left.result if one.get("origin") == "prediction" and str(one.get("id")) in proposals)
    sizes = {one.region.page: one.page_size for one in shown.proposals}
    untouched = replace(left, result=same)
    if not untouched.pages() <= sizes.keys():
        return True
    for region in untouched.regions(sizes):
        was = proposals[region.id].region
        overlap = iou(as_boxes([was.box]), as_boxes([region.box]))[0, 0] if was.page == region.page else 0.0
        if was.label != region.label or overlap < _SAME_PLACE:
            return True
    return False


def _is_called(one: Prediction, names: Mapping[str, str | None]) -> bool:
    """Whether its regions bear these labels, as far as either side knows them."""
    pairs = ((proposal.word, names[proposal.region.id]) for proposal in one.proposals if not one.blind)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def stored_ids(one: Prediction) -> frozenset[str]:
    """Ids of the regions that Label Studio has of it: none of a blind one's."""
    return frozenset() if one.blind else frozenset(proposal.region.id for proposal in one.proposals)


def stored_prediction(parent: Parent, sizes: Mapping[int, tuple[int, int]]) -> Prediction:
    """What was shown, as Label Studio has it stored: nobody knows its probabilities any more.

    Args:
        parent: The stored prediction.
        sizes: Width and height in pixels of each upright page that bears one of its regions.
    """
    proposals = tuple(
        Proposal(
            region=region,
            probabilities=(),
            score=_score(body.get("score")),
            page_size=sizes[region.page],
            word=word_of(body),
            drawn_by=drawn_by(body),
        )
        for region, body in parent.read(sizes)
    )
    return Prediction(version=parent.version, shown=parent.shown, proposals=proposals)


def _score(score: object) -> float:
    return float(score) if isinstance(score, int | float) and 0 <= score <= 1 else 0.0


def answered_before(connection: Connection, *, task: int) -> tuple[Prediction, ...]:
    """What was answered to rectangles that annotators drew on a task."""
    return tuple(_predictions(connection, task, drawn=True))


def _predictions(connection: Connection, task: int, *, drawn: bool) -> list[Prediction]:
    rows = connection.execute(_PREDICTED, {"its_task": task, "is_drawn": drawn}).all()
    if not rows:
        return []
    members: dict[tuple[str, str], list[Proposal]] = {}
    for row in connection.execute(_PROPOSED, {"its_task": task}):
        members.setdefault((row.version, row.edition), []).append(_proposal(row._mapping))
    return [
        Prediction(
            version=row.version,
            shown=row.shown,
            proposals=tuple(members.get((row.version, row.edition), ())),
            blind=row.blind,
            pages={
                int(index): Imprint(file=file, picture=picture) for index, (file, picture) in (row.pages or {}).items()
            },
        )
        for row in rows
    ]


def _proposal(row: RowMapping) -> Proposal:
    return Proposal(
        region=Region(
            id=row["region"], page=row["page"], label=row["label"], box=(row["x1"], row["y1"], row["x2"], row["y2"])
        ),
        probabilities=tuple(row["probabilities"]),
        score=row["score"],
        page_size=(row["page_width"], row["page_height"]),
        recalled=row["recalled"],
        word=row["word"],
        drawn_by=tags_of(row["drawn_by"]),
    )
