"""The tables of the ledger: what was shown, what came in, what annotators left, what examples that made.

Times are seconds since the epoch (UTC). Boxes are pixels of the upright page, stored as four columns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)

from backend.corrections.history_tables import metadata

__all__ = [
    "ACTION_LENGTH",
    "annotation",
    "document",
    "event",
    "forgotten",
    "gone_task",
    "label_config",
    "memory",
    "metadata",
    "prediction",
    "project_made",
    "proposal",
    "remembered_crop",
    "renewal",
    "ruling",
    "sample",
    "sight",
    "studio_address",
    "unread_task",
    "watermark",
]

ACTION_LENGTH = 64


# SQLite only counts a plain INTEGER primary key up by itself.
_Counter = BigInteger().with_variant(Integer, "sqlite")


def _where(condition: str, on_postgresql: str | None = None) -> dict[str, Any]:
    """Of which rows alone an index has the places."""
    return {"sqlite_where": text(condition), "postgresql_where": text(on_postgresql or condition)}


def _box() -> list[Column[float]]:
    return [Column(name, Float, nullable=False) for name in ("x1", "y1", "x2", "y2")]


event = Table(
    "event",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("key", String(64)),  # by which it is known, so that it is stored once; null: by an older program
    Column("received", Float, nullable=False),
    Column("action", String(ACTION_LENGTH), nullable=False),
    Column("project", BigInteger),
    Column("body", JSON, nullable=False),
    Column("state", String(16), nullable=False),  # open, done, ignored, parked
    Column("reason", Text),
    Index("ix_event_state", "state", "id", "action"),
    Index("ix_event_key", "key", unique=True),
    Index("ix_event_project", "project", "action", "id"),
    sqlite_autoincrement=True,
    comment="The journal: every acknowledged webhook, without its secrets.",
)

prediction = Table(
    "prediction",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(256), primary_key=True),
    Column("edition", String(16), primary_key=True),  # one version shows other regions once it has learnt of a mistake
    Column("project", BigInteger),
    Column("shown", Float, nullable=False),
    Column("drawn", Boolean, nullable=False),  # an answer to what an annotator drew, not shown before the work began
    Column("blind", Boolean, nullable=False, server_default=false()),  # its regions stayed here
    # What its pages are known again by: [file, picture] under each page's index; null where nobody took note.
    Column("pages", JSON(none_as_null=True)),
    Index("ix_prediction_blind", "blind", "drawn", "task"),
    Index("ix_prediction_project", "project", "drawn", "task", "shown"),
    comment="Every prediction that left for Label Studio, those without a region among them.",
)

proposal = Table(
    "proposal",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(256), primary_key=True),
    Column("edition", String(16), primary_key=True),
    Column("page", Integer, primary_key=True),
    Column("region", String(64), primary_key=True),
    Column("label", String(16), nullable=False),
    Column("probabilities", JSON, nullable=False),
    Column("score", Float, nullable=False),
    Column("page_width", Integer, nullable=False),
    Column("page_height", Integer, nullable=False),
    *_box(),
    Column("recalled", String(96)),  # the sample whose verdict changed the label, if one did
    Column("word", Text),  # what the label config called the label then
    Column("drawn_by", JSON),  # control, image and type of the region then
    Index("ix_proposal_label", "label"),
    Index("ix_proposal_recalled", "recalled", **_where("recalled IS NOT NULL")),
    comment="Every region that left for Label Studio, or stayed here because its prediction was blind.",
)

annotation = Table(
    "annotation",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("task", BigInteger),
    Column("project", BigInteger),
    Column("updated", Float, nullable=False),
    Column("folded", Float, nullable=False),  # when this state became known here
    Column("deleted", Boolean, nullable=False),
    Column("body", JSON, nullable=False),
    Column("turned", Float),  # the `updated` whose samples are in the table; null: none yet
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),
    Column("lease", Float, nullable=False),
    Column("reason", Text),
    Column("parked", Boolean, nullable=False),
    Column(
        "unknown", JSON(none_as_null=True)
    ),  # labels that nobody knows, one for each region; null where there is none
    # Whether its own label config lacks one of its labels, so that it is read anew when another one becomes known.
    Column("needs_past", Boolean, nullable=False, server_default=false()),
    # Numbers of the pages, from 1, that are others now than those that boxes were shown on; null where there is none.
    Column("exchanged", JSON(none_as_null=True)),
    # Two states came of which stamps cannot tell the newer one: Label Studio must be asked what it holds.
    Column("doubtful", Boolean, nullable=False, server_default=false()),
    # When an event alone told that it was deleted; null where Label Studio itself says so.
    Column("hearsay", Float),
    # Of open ones alone: among all that are done, who looks for work would pass over each.
    Index("ix_annotation_open", "due", "id", **_where("turned IS NULL")),
    Index("ix_annotation_task", "task"),
    Index("ix_annotation_project", "project", "needs_past", "deleted", "task", "hearsay"),
    Index("ix_annotation_state", "deleted", "turned", "parked", "folded"),
    Index("ix_annotation_parked", "due", **_where("parked = 1", "parked")),
    Index("ix_annotation_exchanged", "deleted", "updated", "id", **_where("exchanged IS NOT NULL")),
    Index("ix_annotation_unknown", "deleted", "id", **_where("unknown IS NOT NULL")),
    comment="The newest known state of each annotation; a deletion is final.",
)

label_config = Table(
    "label_config",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("project", BigInteger, nullable=False),
    Column("since", Float, nullable=False),  # the earliest moment of which it is known to have held
    Column("config", Text, nullable=False),
    # An event about the project alone told of it: no annotation was saved under it, as far as is known.
    Column("hearsay", Boolean, nullable=False, server_default=false()),
    Index("ix_label_config_project", "project", "since"),
    sqlite_autoincrement=True,
    comment="The label configs that each project has had, by which names of earlier regions are read.",
)

unread_task = Table(
    "unread_task",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("project", BigInteger),
    Column("since", Float, nullable=False),
    Column("asked", Float, nullable=False),  # when it was last tried in vain
    Column("reason", Text, nullable=False),
    comment="Tasks that could not be looked at when they were last asked for: nothing is known of them.",
)

gone_task = Table(
    "gone_task",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("hearsay", Float),  # when an event alone told so; null where Label Studio itself says so
    comment="Tasks that were deleted: an event about one of their annotations may still be on its way.",
)

sample = Table(
    "sample",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("annotation", BigInteger, nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("project", BigInteger),
    Column("page", Integer, nullable=False),
    Column("region", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("label", String(16), nullable=False),
    Column("wrong", String(16)),
    Column("weak", Boolean, nullable=False),
    Column("blind", Boolean, nullable=False, server_default=false()),  # the annotator saw no box
    Column("probabilities", JSON),
    Column("version", String(256)),
    *_box(),
    Column("page_width", Integer, nullable=False),
    Column("page_height", Integer, nullable=False),
    Column("page_sha256", String(64), nullable=False),
    Column("crop", String(96), nullable=False),
    Column("crop_sha256", String(64), nullable=False),
    Column("phash", String(16), nullable=False),
    Column("margin", JSON, nullable=False),  # the crop's own box on the page, margin included
    Column("document", String(64), nullable=False),
    Column("split", String(16), nullable=False),
    Column("annotator", BigInteger),
    Column("lead_time", Float),
    Column("shown", Float),
    Column("annotated", Float, nullable=False),
    Column("quarantine", Text),
    Index("ix_sample_annotation", "annotation"),
    Index("ix_sample_task", "task"),
    Index("ix_sample_project", "project", "label"),
    Index("ix_sample_crop_sha256", "crop_sha256"),
    Index("ix_sample_page_sha256", "page_sha256", "quarantine"),
    Index("ix_sample_document", "document", "page_sha256"),
    Index("ix_sample_counts", "outcome", "label", "split", "weak", "quarantine"),
    Index("ix_sample_wrong", "annotated", **_where("wrong IS NOT NULL")),
    comment="One training example with its history.",
)

document = Table(
    "document",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("page_sha256", String(64), primary_key=True),
    Column("split", String(16), nullable=False),
    Column("phash", String(16), nullable=False),
    # Two hashes of 64 bits within 3 bits of each other share at least one of four 16-bit bands: an index finds them.
    *(Column(f"band{n}", String(4), nullable=False) for n in range(4)),
    Column("fixed", Boolean, nullable=False, server_default=false()),  # decided by a program that never decides anew
    # Whether its document is the first that had the page: among thousands on one form, one is looked at for its hash.
    Column("first", Boolean, nullable=False, server_default=false()),
    *(Index(f"ix_document_band{n}", f"band{n}", "first") for n in range(4)),
    Index("ix_document_page_sha256", "page_sha256", "fixed", "key"),
    comment="Which side a document is on, and the pages by which its copies are known.",
)

memory = Table(
    "memory",
    metadata,
    Column("sample", String(96), primary_key=True),
    Column("network", String(256), primary_key=True),
    Column("label", String(16), nullable=False),
    Column("crop_sha256", String(64), nullable=False),  # of which crop: a box that is moved again gets another
    Column("acts", Boolean, nullable=False),  # whether it corrects the network, or confirms it
    Column("embedding", LargeBinary, nullable=False),  # 512 little-endian float16
    Column("picture", LargeBinary),  # of its ink, margin included, as JPEG; null: embedded before there were pictures
    Column("place", JSON),  # the mark's box in the picture
    Column("weak", Boolean, nullable=False, server_default=false()),  # seen and left untouched
    Column("suppressed", Integer, nullable=False, server_default=text("0")),  # boxes that it kept from being shown
    Index("ix_memory_crop", "network", "crop_sha256", "acts", "sample"),
    Index("ix_memory_suppressed", "sample", "suppressed", **_where("suppressed > 0")),
    comment="How corrected crops look, by the network that embedded them.",
)

remembered_crop = Table(
    "remembered_crop",
    metadata,
    Column("network", String(256), primary_key=True),
    Column("crop_sha256", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False),  # of the network's memory, when a sample of it last changed
    Index("ix_remembered_crop_revision", "network", "revision"),
    comment="When the memory of each crop changed last, in changes: what was read before need not be read again.",
)

sight = Table(
    "sight",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("task", BigInteger, nullable=False),
    Column("project", BigInteger),
    Column("network", String(256), nullable=False),
    Column("page", Integer, nullable=False),
    Column("region", String(64), nullable=False),
    Column("label", String(16), nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # 512 signed bytes
    Column("picture", LargeBinary, nullable=False),  # of its ink, margin included, as JPEG
    Column("place", JSON, nullable=False),  # the mark's box in the picture
    Index("ix_sight_task", "task"),
    Index("ix_sight_network", "network", "id"),
    sqlite_autoincrement=True,
    comment="How the boxes look that are shown now, so that a correction finds its like among them.",
)

renewal = Table(
    "renewal",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("project", BigInteger, nullable=False),
    Column("sample", String(96), nullable=False),  # the correction that it shows the like of
    Column("due", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    comment="Tasks whose stored predictions a correction changes, until they have others.",
)

ruling = Table(
    "ruling",
    metadata,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(256), primary_key=True),  # of the stored prediction
    Column("sample", String(96), nullable=False),  # the correction that was followed
    Column("at", Float, nullable=False),
    comment="Stored predictions that a person changed by following a correction: no program changes them again.",
)

forgotten = Table(
    "forgotten",
    metadata,
    Column("sample", String(96), primary_key=True),
    Column("at", Float, nullable=False),
    comment="Samples whose verdict a person took back: they are trained on, and not recalled.",
)

project_made = Table(
    "project_made",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("made", BigInteger, nullable=False),  # by Label Studio's clock, in whole seconds
    comment="When each project was made: one of its number, made at another moment, is of another Label Studio.",
)

studio_address = Table(
    "studio_address",
    metadata,
    Column("address", String(1024), primary_key=True),
    Column("since", Float, nullable=False),
    comment="Addresses of the one Label Studio that the ledger is of.",
)

watermark = Table(
    "watermark",
    metadata,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("updated", Float),  # null: never yet
    Column("asked", Float),  # when somebody asked for a run that was not made yet
    Column("lease", Float, nullable=False),  # until when nobody else need make it
    comment="Up to when a project's annotations were reconciled with Label Studio.",
)
