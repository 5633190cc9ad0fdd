"""The gate asked from the command line: pages whose marks are known, what a model's training saw, and its word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import EvaluationError, SettingsError
from backend.evaluation.hard import hard_examples
from backend.evaluation.truth import read_coco
from backend.feedback.service import Store
from backend.registry.candidates import DOCUMENTS_FILE
from backend.registry.judging import judge_model
from backend.registry.record import BESIDE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from backend.registry.history import Event
    from backend.registry.models import Models
    from backend.settings import Settings

__all__ = ["add_judging", "ask_gate", "check_judging"]

_NOTHING = "none"
_BY = "command line"


def add_judging(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Adds what the gate needs to be asked.

    Args:
        parser: Of a command that asks it.
        required: Whether it always does; else only where pages are named.
    """
    parser.add_argument(
        "--coco", type=Path, required=required, metavar="FILE", help="annotations of the gold pages, COCO format"
    )
    parser.add_argument(
        "--images", type=Path, required=required, metavar="DIR", help="folder of the images that FILE names"
    )
    parser.add_argument(
        "--seen",
        metavar="FILE",
        help=f"documents that its training saw, one a line, besides those in {DOCUMENTS_FILE} beside its weights; "
        f"`{_NOTHING}` where you know that it saw no other, which needs --why",
    )
    parser.add_argument("--why", default="", help="goes into the history")
    parser.add_argument("--promote", action="store_true", help="let it serve if it passes")


def check_judging(args: argparse.Namespace) -> bool:
    """Whether the gate is to be asked.

    Raises:
        SettingsError: Arguments are missing.
    """
    if args.seen == _NOTHING and not args.why:
        raise SettingsError(f"--seen {_NOTHING} is your word for it: say how you know, with --why")
    if (args.coco is None) != (args.images is None):
        raise SettingsError("--coco FILE and --images DIR go together")
    if args.coco is None and (args.seen or args.promote):
        raise SettingsError("to have it judged, name the gold pages with --coco FILE --images DIR")
    return args.coco is not None


def ask_gate(
    models: Models, name: str, args: argparse.Namespace, settings: Settings, *, tell: Callable[[Event, Settings], None]
) -> int:
    """Asks the gate about a published model, and promotes it where that is wanted and it passes.

    Args:
        models: The registry.
        name: Which model.
        args: Those of `add_judging`.
        settings: Which weights serve, and where the ledger is.
        tell: Says what was promoted.

    Returns:
        The exit code: 1 where the gate refused.

    Raises:
        RegistryError: There is no such model, it serves already, or another one was promoted meanwhile.
        EvaluationError: The pages, or the file of documents, cannot be used.
        BackendError: A model or the ledger cannot be used.
    """
    seen = _seen(args.seen)
    gold = read_coco(args.coco, args.images)
    store = Store.open(settings)
    try:
        hard = hard_examples(store.engine, store.crops)
        judgement = judge_model(
            models,
            name,
            gold,
            settings=settings,
            hard=hard,
            trained_on=seen,
            by=_BY,
            why=_why(args.seen, seen, args.why),
        )
    finally:
        store.engine.dispose()
    print(judgement)
    if not judgement.promoted:
        return 1
    if args.promote:
        verdict = models.get(name).verdict
        pointed = verdict.figures[BESIDE] if verdict else ...
        tell(models.promote(name, why=args.why or "it passed the gate", by=_BY, pointed=pointed), settings)
    return os.EX_OK


def _seen(given: str | None) -> list[str] | None:
    """Documents that a training saw besides what stands beside the weights; None where nothing is said."""
    if given is None or given == _NOTHING:
        return None if given is None else []
    try:
        found = [line.strip() for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{given} cannot be read: {error}") from error
    if not found:
        raise EvaluationError(f"{given} names no document: say --seen {_NOTHING}, with --why, if you know that")
    return found


def _why(given: str | None, seen: list[str] | None, why: str) -> str:
    """What goes into the history: what somebody said, and what that rests on."""
    if given is None:
        return why
    said = f"{len(seen or ())} documents that its training saw were named by hand"
    return ": ".join(part for part in ("its training saw no other" if given == _NOTHING else said, why) if part)
