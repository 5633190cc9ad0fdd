"""Lets everything be counted by indexes alone: nothing has to be read that is only counted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0130"
down_revision = "0120"


def upgrade() -> None:
    op.create_index("ix_annotation_state", "annotation", ["deleted", "turned", "parked", "folded"])
    op.create_index("ix_annotation_parked", "annotation", ["due"], **_where("parked = 1", "parked"))
    op.create_index(
        "ix_annotation_exchanged", "annotation", ["deleted", "updated", "id"], **_where("exchanged IS NOT NULL")
    )
    op.create_index("ix_annotation_unknown", "annotation", ["deleted", "id"], **_where("unknown IS NOT NULL"))
    op.create_index("ix_sample_counts", "sample", ["outcome", "label", "split", "weak", "quarantine"])
    op.create_index("ix_sample_wrong", "sample", ["annotated"], **_where("wrong IS NOT NULL"))
    op.drop_index("ix_event_state", "event")
    op.create_index("ix_event_state", "event", ["state", "id", "action"])
    op.create_index("ix_memory_suppressed", "memory", ["sample", "suppressed"], **_where("suppressed > 0"))
    op.create_index("ix_proposal_label", "proposal", ["label"])
    op.create_index("ix_proposal_recalled", "proposal", ["recalled"], **_where("recalled IS NOT NULL"))
    op.create_index("ix_prediction_blind", "prediction", ["blind", "drawn", "task"])


def _where(condition: str, on_postgresql: str | None = None) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(on_postgresql or condition)}
