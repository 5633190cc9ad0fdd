"""Says of which crops the memory changed, so that what did not change is not read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0100"


def upgrade() -> None:
    op.create_index("ix_memory_crop", "memory", ["network", "crop_sha256", "acts", "sample"])
    op.create_table(
        "remembered_crop",
        sa.Column("network", sa.String(length=256), nullable=False),
        sa.Column("crop_sha256", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("network", "crop_sha256", name=op.f("pk_remembered_crop")),
        comment="When the memory of each crop changed last, in changes: what was read before need not be read again.",
    )
    op.create_index("ix_remembered_crop_revision", "remembered_crop", ["network", "revision"])
    op.execute(
        "INSERT INTO remembered_crop (network, crop_sha256, revision) "
        "SELECT DISTINCT network, crop_sha256, 1 FROM memory"
    )
