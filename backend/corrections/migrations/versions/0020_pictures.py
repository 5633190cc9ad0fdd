"""Pictures of corrected marks, in place of thumbnails; and verdicts that a person took back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("memory", schema=None) as batch_op:
        batch_op.drop_column("thumbnail")
        batch_op.add_column(sa.Column("picture", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("place", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("weak", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "forgotten",
        sa.Column("sample", sa.String(length=96), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sample", name=op.f("pk_forgotten")),
        comment="Samples whose verdict a person took back: they are trained on, and not recalled.",
    )
