"""What is amiss, each with its remedy: the first thing that the dashboard says.

Red is for what is broken. What goes on by itself, or waits for a person's word, is said, and is no alarm.
"""

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
    """Something amiss, and what to do about it.

    Attributes:
        what: What is amiss.
        remedy: The way out.
        broken: Whether something does not work; else it waits for somebody, and everything else goes on.
    """

    what: str
    remedy: str
    broken: bool = True


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
    """What is amiss, what is broken first.

    Args:
        facts: The ledger in numbers.
        model: As /health tells of it.
        training: As `/status` tells of trainings; None where this process starts none.
        refused: Webhooks that came to this process without their credentials.
        remedy: What to do about those.
        troubles: Why events are refused, or only wait.
        registry: Why the registry's history cannot be read, with the way out; empty where it can.
    """
    yield from _of_the_model(model)
    if refused:
        many = "1 webhook" if refused == 1 else f"{refused} webhooks"
        yield Fault(
            f"{many} came without credentials, and what is refused is not learnt from.",
            f"{_sentence(remedy)}.",
        )
    for trouble in troubles:
        yield Fault(f"Storage: {trouble}.", "Events wait on this machine's disk. See to the database and the disk.")
    if registry:
        yield Fault("What became of models cannot be read.", registry)
    if facts.oldest_open is not None and facts.oldest_open > _LATE_SECONDS:
        yield Fault(
            f"A correction has waited for {facts.oldest_open / 60:.0f} minutes to be learnt from.",
            "See below what waits; with SAMPLES_IN_SERVER=0, start a worker: python -m backend worker.",
        )
    if training:
        yield from _of_trainings(training)
    yield from _for_a_person(facts)


def _of_the_model(model: Mapping[str, Any]) -> Iterator[Fault]:
    if model["model_state"] == "failed":
        yield Fault(f"No model serves: {model.get('model_error')}", "Choose another with MODEL, or mend what it names.")
    elif model.get("model_error"):
        yield Fault(
            f"Another model could not take the serving one’s place: {model['model_error']}",
            "Where it was promoted: python -m backend models rollback, or promote another.",
        )


def _of_trainings(training: Mapping[str, Any]) -> Iterator[Fault]:
    """A training that failed is broken; one that cannot start here may start elsewhere, and one cut off goes on."""
    result, reason = training.get("result"), training.get("reason")
    if result == "failed" and not training["running"]:
        yield Fault(
            f"The last training failed{f': {reason}' if reason else '.'}",
            "The model that serves stays. The log is DATA_DIR/training/log; when its cause is mended, run: "
            "python -m backend train.",
        )
    elif result == "cut off" and not training["running"]:
        yield Fault(
            f"The last training was cut off{f': {reason}' if reason else '.'}",
            "The model that serves stays. It starts again by itself where it can run; without a word of why it was cut "
            "off, it does so once. Its log is DATA_DIR/training/log.",
            broken=False,
        )
    if training.get("unable") and training.get("due"):
        yield Fault(
            f"A training is due ({training['due']}), and this process cannot start it.",
            f"No correction is lost. {_sentence(str(training['unable']))}.",
            broken=False,
        )


def _for_a_person(facts: LedgerCounts) -> Iterator[Fault]:
    """What waits for somebody's word, or is tried again by itself."""
    if facts.parked:
        first, number = facts.parked[0], facts.parked_count
        many = "1 correction waits" if number == 1 else f"{number} corrections wait"
        yield Fault(
            f"{many} for a person, such as {first}: {first.reason}",
            "Mend the cause, then: python -m backend worker --unpark. /status lists them all.",
            broken=False,
        )
    if facts.unread:
        such = f", such as {facts.unread_such[0]}: {facts.unread_such[0].reason}" if facts.unread_such else ""
        many = "1 task" if facts.unread == 1 else f"{facts.unread} tasks"
        yield Fault(
            f"{many} could not be looked at yet{such}",
            "They are tried again by themselves. python -m backend doctor --project ID says what is amiss.",
            broken=False,
        )
    if facts.exchanged:
        such = f", such as {facts.exchanged_such[0]}" if facts.exchanged_such else ""
        many = "1 annotation is" if facts.exchanged == 1 else f"{facts.exchanged} annotations are"
        yield Fault(
            f"{many} on other pages than those that boxes were shown on{such}",
            "What was shown there teaches nothing. /status lists them, with the way out.",
            broken=False,
        )
    if facts.quarantined:
        many = "1 training example is" if facts.quarantined == 1 else f"{facts.quarantined} training examples are"
        yield Fault(
            f"{many} in dispute: annotators contradict each other, or a document is on two sides.",
            "python -m backend samples --sheet sheet.html shows them in red; agree, and correct one annotation.",
            broken=False,
        )


def _sentence(words: str) -> str:
    """With a capital letter at its head; all others stay, such as those of DATA_DIR."""
    return words[:1].upper() + words[1:]
