"""What reviewers decided on the crop wall, with what was there before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0040"


def upgrade() -> None:
    op.create_table(
        "decision",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("reviewer", sa.BigInteger()),
        sa.Column("was", sa.String(16), nullable=False),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("annotation", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("wrote", sa.Float(), nullable=False),
        sa.Column("undone", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        comment="What reviewers decided on the crop wall, with what was there before.",
    )
    op.create_index("ix_decision_task", "decision", ["task", "region"])
    op.create_index("ix_decision_annotation", "decision", ["annotation"])
