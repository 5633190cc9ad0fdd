"""What is amiss, each with its remedy: the first thing that the dashboard says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.corrections.counts import LedgerCounts

__all__ = ["Fault", "faults"]

_LATE_SECONDS = 600.0


@dataclass(frozen=True)
class Fault:
    """Something amiss, and what to do about it."""

    what: str
    remedy: str


def faults(
    facts: LedgerCounts,
    *,
    model: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    refused: int,
    remedy: str,
    registry: str = "",
    troubles: Sequence[str] = (),
) -> Iterator[Fault]:
    """What is amiss, the worst first.

    Args:
        facts: The ledger in numbers.
        model: As /health tells of it.
        training: As `/status` tells of trainings; None where this process starts none.
        refused: Webhooks that came to this process without their credentials.
        remedy: What to do about those.
        troubles: Why events are refused, or only wait.
        registry: Why the registry's history cannot be read, with the way out; empty where it can.
    """
    if model["model_state"] == "failed":
        yield Fault(f"No model serves: {model.get('model_error')}", "Choose another with MODEL, or mend what it names.")
    elif model.get("model_error"):
        yield Fault(
            f"Another model could not take the serving one’s place: {model['model_error']}",
            "Where it was promoted: python -m backend models rollback, or promote another.",
        )
    if refused:
        yield Fault(
            f"{refused} webhooks came without their credentials and were refused, so no correction is learnt from.",
            f"{remedy[:1].upper()}{remedy[1:]}.",
        )
    for trouble in troubles:
        yield Fault(f"Storage: {trouble}.", "Events wait on this machine's disk. See to the database and the disk.")
    if facts.unread:
        such = f", such as task {facts.unread_such[0].task}: {facts.unread_such[0].reason}" if facts.unread_such else ""
        yield Fault(
            f"{facts.unread} tasks could not be looked at yet{such}",
            "They are tried again by themselves. python -m backend doctor --project ID says what is amiss.",
        )
    if registry:
        yield Fault("What became of models cannot be read.", registry)
    if facts.oldest_open is not None and facts.oldest_open > _LATE_SECONDS:
        yield Fault(
            f"A correction has waited for {facts.oldest_open / 60:.0f} minutes to be learnt from.",
            "See below what waits; with SAMPLES_IN_SERVER=0, start a worker: python -m backend worker.",
        )
    if facts.parked:
        yield Fault(
            f"{len(facts.parked)} corrections wait for a person, such as: {facts.parked[0].reason}",
            "Mend the cause, then: python -m backend worker --unpark. /status lists them all.",
        )
    if facts.quarantined:
        yield Fault(
            f"{facts.quarantined} training examples are in dispute: annotators contradict each other, or a document "
            "is on two sides.",
            "python -m backend samples --sheet sheet.html shows them in red; agree, and correct one annotation.",
        )
    if training and training.get("unable") and training.get("retrain_after"):
        yield Fault("Trainings that are due do not start here.", f"{str(training['unable']).capitalize()}.")
    if training and training.get("result") in {"failed", "cut off"} and not training["running"]:
        reason = f": {training['reason']}" if training.get("reason") else ""
        yield Fault(
            f"The last training was not finished ({training['result']}{reason}).",
            "The next one starts by itself; its log is DATA_DIR/training/log.",
        )
