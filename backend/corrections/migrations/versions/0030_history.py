"""What became of models, and how long annotations took: the lines of the dashboard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "milestone",
        sa.Column("key", sa.String(384), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("f1", sa.Float()),
        sa.Column("low", sa.Float()),
        sa.Column("high", sa.Float()),
        sa.Column("documents", sa.Integer()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_milestone")),
        comment="What became of models, for the lines of the dashboard.",
    )
    op.create_index("ix_milestone_at", "milestone", ["at"])
    op.create_table(
        "work",
        sa.Column("annotation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turned", sa.Float(), nullable=False),
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.BigInteger()),
        sa.Column("annotator", sa.BigInteger()),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("saw", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("annotation", name=op.f("pk_work")),
        comment="How long each annotation took, and what its annotator saw.",
    )
    op.create_index("ix_work_task", "work", ["task"])
    op.create_index("ix_work_at", "work", ["at"])
