"""How far a training is, for those who do not see its bars."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Tell", "how_far", "nobody"]

Tell = Callable[[str], None]
"""Is told how far a training is, after each epoch and when a part begins."""
_MINUTE = 60.0


def nobody(_: str) -> None:
    """Where nobody is to be told."""


def how_far(over: int, of: int, *, seconds: float) -> str:
    """After an epoch: which comes next, and how long the rest takes; it may end sooner.

    Args:
        over: Epochs that are over.
        of: Epochs in all, if none ends early.
        seconds: That the last one took.

    Example:
        >>> how_far(3, 13, seconds=50)
        'epoch 4 of 13, 9 min left at most'
        >>> how_far(13, 13, seconds=50)
        'all 13 epochs are over'
    """
    if over >= of:
        return f"all {of} epochs are over"
    return f"epoch {over + 1} of {of}, {max(1, -int(-(of - over) * seconds // _MINUTE))} min left at most"
