"""The ledger's first shape."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "annotation",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.Column("folded", sa.Float(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("turned", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("lease", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation")),
        comment="The newest known state of each annotation; a deletion is final.",
    )
    with op.batch_alter_table("annotation", schema=None) as batch_op:
        batch_op.create_index("ix_annotation_due", ["parked", "due"], unique=False)
        batch_op.create_index("ix_annotation_task", ["task"], unique=False)

    op.create_table(
        "document",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("page_sha256", sa.String(length=64), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("phash", sa.String(length=16), nullable=False),
        sa.Column("band0", sa.String(length=4), nullable=False),
        sa.Column("band1", sa.String(length=4), nullable=False),
        sa.Column("band2", sa.String(length=4), nullable=False),
        sa.Column("band3", sa.String(length=4), nullable=False),
        sa.PrimaryKeyConstraint("key", "page_sha256", name=op.f("pk_document")),
        comment="Which side a document is on, and the pages by which its copies are known; decided once.",
    )
    with op.batch_alter_table("document", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_document_band0"), ["band0"], unique=False)
        batch_op.create_index(batch_op.f("ix_document_band1"), ["band1"], unique=False)
        batch_op.create_index(batch_op.f("ix_document_band2"), ["band2"], unique=False)
        batch_op.create_index(batch_op.f("ix_document_band3"), ["band3"], unique=False)
        batch_op.create_index("ix_document_page_sha256", ["page_sha256"], unique=False)

    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("received", sa.Float(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        comment="The journal: every acknowledged webhook, without its secrets.",
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_state", ["state", "id"], unique=False)

    op.create_table(
        "gone_task",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gone_task")),
        comment="Tasks that were deleted: an event about one of their annotations may still be on its way.",
    )
    op.create_table(
        "memory",
        sa.Column("sample", sa.String(length=96), nullable=False),
        sa.Column("network", sa.String(length=256), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("crop_sha256", sa.String(length=64), nullable=False),
        sa.Column("acts", sa.Boolean(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("thumbnail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sample", "network", name=op.f("pk_memory")),
        comment="How corrected crops look, by the network that embedded them.",
    )
    op.create_table(
        "prediction",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("edition", sa.String(length=16), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("shown", sa.Float(), nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("task", "version", "edition", name=op.f("pk_prediction")),
        comment="Every prediction that left for Label Studio, those without a region among them.",
    )
    op.create_table(
        "proposal",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("edition", sa.String(length=16), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("probabilities", sa.JSON(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("page_width", sa.Integer(), nullable=False),
        sa.Column("page_height", sa.Integer(), nullable=False),
        sa.Column("x1", sa.Float(), nullable=False),
        sa.Column("y1", sa.Float(), nullable=False),
        sa.Column("x2", sa.Float(), nullable=False),
        sa.Column("y2", sa.Float(), nullable=False),
        sa.Column("recalled", sa.String(length=96), nullable=True),
        sa.PrimaryKeyConstraint("task", "version", "edition", "page", "region", name=op.f("pk_proposal")),
        comment="Every region that left for Label Studio.",
    )
    op.create_table(
        "sample",
        sa.Column("id", sa.String(length=96), nullable=False),
        sa.Column("annotation", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("wrong", sa.String(length=16), nullable=True),
        sa.Column("weak", sa.Boolean(), nullable=False),
        sa.Column("probabilities", sa.JSON(), nullable=True),
        sa.Column("version", sa.String(length=256), nullable=True),
        sa.Column("x1", sa.Float(), nullable=False),
        sa.Column("y1", sa.Float(), nullable=False),
        sa.Column("x2", sa.Float(), nullable=False),
        sa.Column("y2", sa.Float(), nullable=False),
        sa.Column("page_width", sa.Integer(), nullable=False),
        sa.Column("page_height", sa.Integer(), nullable=False),
        sa.Column("page_sha256", sa.String(length=64), nullable=False),
        sa.Column("crop", sa.String(length=96), nullable=False),
        sa.Column("crop_sha256", sa.String(length=64), nullable=False),
        sa.Column("phash", sa.String(length=16), nullable=False),
        sa.Column("margin", sa.JSON(), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("annotator", sa.BigInteger(), nullable=True),
        sa.Column("lead_time", sa.Float(), nullable=True),
        sa.Column("shown", sa.Float(), nullable=True),
        sa.Column("annotated", sa.Float(), nullable=False),
        sa.Column("quarantine", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample")),
        comment="One training example with its history.",
    )
    with op.batch_alter_table("sample", schema=None) as batch_op:
        batch_op.create_index("ix_sample_annotation", ["annotation"], unique=False)
        batch_op.create_index("ix_sample_crop_sha256", ["crop_sha256"], unique=False)
        batch_op.create_index("ix_sample_task", ["task"], unique=False)

    op.create_table(
        "watermark",
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated", sa.Float(), nullable=True),
        sa.Column("asked", sa.Float(), nullable=True),
        sa.Column("lease", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_watermark")),
        comment="Up to when a project's annotations were reconciled with Label Studio.",
    )
