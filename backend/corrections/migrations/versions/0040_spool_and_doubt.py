"""What an event is stored once by, which annotations are in doubt, which documents were decided for ever."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0030"

_COMMENT = "Which side a document is on, and the pages by which its copies are known."


def upgrade() -> None:
    op.add_column("event", sa.Column("key", sa.String(64)))
    op.create_index("ix_event_key", "event", ["key"], unique=True)
    op.add_column("annotation", sa.Column("doubtful", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("document", sa.Column("fixed", sa.Boolean(), server_default=sa.false(), nullable=False))
    if op.get_bind().dialect.supports_comments:
        op.create_table_comment("document", _COMMENT)
    op.execute(sa.text("UPDATE document SET fixed = :yes").bindparams(yes=True))
