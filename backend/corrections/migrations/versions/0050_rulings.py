"""Stored predictions that a person changed by following a correction."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "ruling",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("sample", sa.String(96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("task", "version", name=op.f("pk_ruling")),
        comment="Stored predictions that a person changed by following a correction: no program changes them again.",
    )
