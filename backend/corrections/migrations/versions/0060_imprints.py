"""What the pages of a prediction are known again by, and which Label Studio the ledger is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0050"

_MADE = "When each project was made: one of its number, made at another moment, is of another Label Studio."


def upgrade() -> None:
    op.add_column("prediction", sa.Column("pages", sa.JSON(none_as_null=True)))
    op.create_table(
        "project_made",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_made")),
        comment=_MADE,
    )
    op.create_table(
        "studio_address",
        sa.Column("address", sa.String(1024), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_studio_address")),
        comment="Addresses of the one Label Studio that the ledger is of.",
    )
