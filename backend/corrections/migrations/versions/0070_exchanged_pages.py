"""Pages that are others now than those that boxes were shown on, so that a person is told of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0060"


def upgrade() -> None:
    op.add_column("annotation", sa.Column("exchanged", sa.JSON(none_as_null=True)))
