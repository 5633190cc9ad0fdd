"""Finds what belongs to a project by indexes: nobody who names one may have whole tables read."""

from __future__ import annotations

from alembic import op

revision = "0140"
down_revision = "0130"


def upgrade() -> None:
    op.create_index("ix_annotation_project", "annotation", ["project", "needs_past", "deleted", "task", "hearsay"])
    op.create_index("ix_event_project", "event", ["project", "action", "id"])
    op.create_index("ix_prediction_project", "prediction", ["project", "drawn", "task", "shown"])
    op.create_index("ix_sample_project", "sample", ["project", "label"])
