"""Finds open annotations among thousands that are done, and what thousands of documents on one form share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0120"
down_revision = "0110"

_OPEN = sa.text("turned IS NULL")


def upgrade() -> None:
    op.drop_index("ix_annotation_due", "annotation")
    op.create_index("ix_annotation_open", "annotation", ["due", "id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.drop_index("ix_sample_page_sha256", "sample")
    op.create_index("ix_sample_page_sha256", "sample", ["page_sha256", "quarantine"])
    op.create_index("ix_sample_document", "sample", ["document", "page_sha256"])
    op.add_column("document", sa.Column("first", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_index("ix_document_page_sha256", "document")
    op.create_index("ix_document_page_sha256", "document", ["page_sha256", "fixed", "key"])
    for number in range(4):
        op.drop_index(f"ix_document_band{number}", "document")
        op.create_index(f"ix_document_band{number}", "document", [f"band{number}", "first"])
    first = "SELECT MIN(one.key) FROM document AS one WHERE one.page_sha256 = document.page_sha256"
    op.execute(sa.text(f"UPDATE document SET first = :yes WHERE key = ({first})").bindparams(yes=True))  # noqa: S608
