"""How shown boxes look, and the tasks whose predictions a correction changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0031"


def upgrade() -> None:
    op.create_table(
        "sight",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("network", sa.String(length=256), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sight")),
        comment="How the boxes look that are shown now, so that a correction finds its like among them.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sight_task", "sight", ["task"], unique=False)
    op.create_index("ix_sight_network", "sight", ["network", "id"], unique=False)
    op.create_table(
        "renewal",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=False),
        sa.Column("sample", sa.String(length=96), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_renewal")),
        comment="Tasks whose stored predictions a correction changes, until they have others.",
    )
