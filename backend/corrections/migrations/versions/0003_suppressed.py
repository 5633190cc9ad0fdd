"""How often each remembered correction kept a box from being shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("memory", schema=None) as batch_op:
        batch_op.add_column(sa.Column("suppressed", sa.Integer(), server_default=sa.text("0"), nullable=False))
