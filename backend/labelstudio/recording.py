"""What the server hands on: each event to an inbox, each shown region to a ledger. `backend.feedback` has both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.labelstudio.annotations import Region

__all__ = ["Inbox", "Ledger", "Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as it was shown.

    Attributes:
        region: Its place and label; `label` is the class (signature, stamp, thumb), not the config's word for it.
        probabilities: Of signature, stamp, thumb and none, in this order.
        page_size: Width and height of the upright page in pixels.
        recalled: The sample whose verdict replaced the network's, if one did.
    """

    region: Region
    probabilities: tuple[float, ...]
    score: float
    page_size: tuple[int, int]
    recalled: str | None = None


class Inbox(Protocol):
    """Takes events."""

    def append(self, action: str, *, project: int | None, body: Mapping[str, Any]) -> int:
        """Stores an event durably before it returns; raises LedgerError where it did not."""
        ...


class Ledger(Protocol):
    """Remembers what was shown."""

    def remember(
        self,
        *,
        task: int,
        project: int | None,
        version: str,
        proposals: Sequence[Proposal],
        drawn: bool = False,
        blind: bool = False,
    ) -> None:
        """Stores one task's prediction, also one without a region.

        Args:
            task: The task's id.
            project: The project's id, where it is known.
            version: The model version that the prediction bears.
            proposals: Its regions.
            drawn: Whether these answer what an annotator just drew, instead of being shown before any work began.
            blind: Whether they were kept from the annotator, who was served an empty page.
        """
        ...
