"""Which predictions were kept from the annotators, and which samples were drawn without them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
_TABLES = ("prediction", "sample")
_COMMENT = "Every region that left for Label Studio, or stayed here because its prediction was blind."


def upgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.add_column(sa.Column("blind", sa.Boolean(), server_default=sa.false(), nullable=False))
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment("proposal", _COMMENT)
