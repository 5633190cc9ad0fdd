"""What an event alone told, without a word of Label Studio's own: deletions, and label configs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0070"


def upgrade() -> None:
    op.add_column("annotation", sa.Column("hearsay", sa.Float))
    op.add_column("gone_task", sa.Column("hearsay", sa.Float))
    op.add_column("label_config", sa.Column("hearsay", sa.Boolean, nullable=False, server_default=sa.false()))
