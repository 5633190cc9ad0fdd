"""Finds the samples on copies of a page."""

from __future__ import annotations

from alembic import op

revision = "0100"
down_revision = "0090"


def upgrade() -> None:
    op.create_index("ix_sample_page_sha256", "sample", ["page_sha256"])
