"""By which tags of the label config each region was shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0090"
down_revision = "0080"


def upgrade() -> None:
    op.add_column("proposal", sa.Column("drawn_by", sa.JSON))
