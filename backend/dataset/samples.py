"""The ledger's samples that belong to the pages of a version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Engine, select

from backend.dataset.gathering import Gathered, page_name
from backend.dataset.manifest import FrozenSample, corners
from backend.feedback.tables import sample

__all__ = ["samples_of"]

_PORTION = 500
_SAME_MOMENT = 1e-3


def samples_of(engine: Engine, gathered: Sequence[Gathered]) -> Iterator[FrozenSample]:
    """Samples of the annotations that rule, in the very state that was frozen; disputed ones are left out.

    A sample of an older state, which a worker has not replaced yet, or of a page whose pixels have changed since, would
    speak of something else than the version's pages.
    """
    states = {one.annotation: one for one in gathered}
    ids = sorted(states)
    with engine.connect() as connection:
        for start in range(0, len(ids), _PORTION):
            here = sample.c.annotation.in_(ids[start : start + _PORTION])
            for row in connection.execute(select(sample).where(here, sample.c.quarantine.is_(None))):
                one = states[row.annotation]
                pixels = {index: page.sha256 for index, page in enumerate(one.pages)}
                if abs(row.annotated - one.updated) > _SAME_MOMENT or pixels.get(row.page) != row.page_sha256:
                    continue
                yield FrozenSample(
                    id=row.id,
                    page=page_name(row.task, row.page),
                    outcome=row.outcome,
                    label=row.label,
                    wrong=row.wrong,
                    weak=row.weak,
                    version=row.version,
                    box=corners((row.x1, row.y1, row.x2, row.y2)),
                )
