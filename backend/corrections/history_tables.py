"""The tables of what happened: to models, in the time of annotators, and on the crop wall; and what holds all tables.

Times are seconds since the epoch (UTC).
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

__all__ = ["decision", "metadata", "milestone", "work"]

# Named constraints, so that a migration can drop what an earlier one made on either database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

milestone = Table(
    "milestone",
    metadata,
    Column("key", String(384), primary_key=True),  # the same event told by two processes is one row
    Column("at", Float, nullable=False),
    Column("what", String(16), nullable=False),  # serves, promoted, rolled back, refused
    Column("model", String(256), nullable=False),  # of "serves" the version, else the model's name
    Column("f1", Float),  # macro F1 on the gold pages of that day, where the gate measured it
    Column("low", Float),
    Column("high", Float),
    Column("documents", Integer),
    Column("reason", Text, nullable=False),
    Index("ix_milestone_at", "at"),
    comment="What became of models, for the lines of the dashboard.",
)

work = Table(
    "work",
    metadata,
    Column("annotation", BigInteger, primary_key=True, autoincrement=False),
    Column("turned", Float, nullable=False),  # the state of the annotation that this tells of
    Column("task", BigInteger, nullable=False),
    Column("project", BigInteger),
    Column("annotator", BigInteger),
    Column("at", Float, nullable=False),
    Column("pages", Integer, nullable=False),  # 0: skipped, or nobody can tell
    Column("seconds", Float),
    Column("saw", String(16), nullable=False),  # boxes, blind, scratch
    Index("ix_work_task", "task"),
    Index("ix_work_at", "at"),
    comment="How long each annotation took, and what its annotator saw.",
)

decision = Table(
    "decision",
    metadata,
    Column("id", String(64), primary_key=True),  # the browser's: sent again, a decision is not made again
    Column("at", Float, nullable=False),
    Column("project", BigInteger, nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("region", String(64), nullable=False),
    Column("reviewer", BigInteger),
    Column("was", String(16), nullable=False),
    Column("label", String(16), nullable=False),
    Column("before", JSON, nullable=False),  # all that the annotation said of the region
    Column("annotation", BigInteger, nullable=False),
    Column("made", Boolean, nullable=False),  # the annotation was made for it
    Column("wrote", Float, nullable=False),  # the annotation's `updated` after the last write from here
    Column("undone", Float),
    Index("ix_decision_task", "task", "region"),
    Index("ix_decision_annotation", "annotation"),
    comment="What reviewers decided on the crop wall, with what was there before.",
)
