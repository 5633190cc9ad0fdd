"""What labels were called when they were shown, the label configs that there were, and tasks that could not be read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0020"
_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("proposal", schema=None) as batch_op:
        batch_op.add_column(sa.Column("word", sa.Text(), nullable=True))
    with op.batch_alter_table("annotation", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unknown", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("needs_past", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "label_config",
        sa.Column("id", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_config")),
        comment="The label configs that each project has had, by which names of earlier regions are read.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_label_config_project", "label_config", ["project", "since"])
    op.create_table(
        "unread_task",
        sa.Column("task", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("asked", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_unread_task")),
        comment="Tasks that could not be looked at when they were last asked for: nothing is known of them.",
    )
    # Boxes on a mark of another class were called duplicates: such annotations are turned into samples once more.
    op.execute(
        "UPDATE annotation SET turned = NULL, attempts = 0, due = 0, lease = 0 WHERE id IN "
        "(SELECT annotation FROM sample WHERE outcome = 'duplicate' AND wrong IS NOT NULL)"
    )
