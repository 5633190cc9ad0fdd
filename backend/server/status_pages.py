"""Two pages about the ledger: `/metrics` for Prometheus, `/status` for a person or, asked for JSON, a program.

The ledger's numbers in Prometheus' words; read from the database, so that every process tells the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

from flask import Blueprint, Response, abort, jsonify, redirect, request
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.counts import OUTCOMES, SEED_MISCLASSIFIED, SPLITS, LedgerCounts, count
from backend.corrections.memory import acting_verdicts, forget_verdict, has_sample, restore_verdict
from backend.errors import LedgerError, RequestError
from backend.escaping import printable
from backend.markup import page_headers, render
from backend.server.callers import refusal
from backend.vision.network_config import CLASSES, MARKS

__all__ = ["CONTENT_TYPE", "Waiting", "exposition", "feedback_pages", "training_in_words"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "contract_marks"
_VERDICTS = 50
_NO_TRAINING: dict[str, Any] = dict.fromkeys(("began", "why", "doing", "result", "reason", "model", "unable", "due"))
_PRESSED = {"START_TRAINING": "somebody pressed “Start training”"}


class Waiting(Protocol):
    """What waits for the ledger; `backend.corrections.intake.Intake` knows."""

    @property
    def waiting_bytes(self) -> int: ...

    def troubles(self) -> list[str]: ...


def exposition(
    engine: Engine,
    *,
    training: Mapping[str, Any] | None = None,
    refused: int | None = None,
    waiting: Waiting | None = None,
) -> bytes:
    """The text that Prometheus scrapes.

    Args:
        engine: The ledger's database.
        training: How trainings stand, as for `/status`; None where that is not known.
        refused: Webhooks that came to this process without their credentials; None where that is not known.
        waiting: What waits on this process's disk for the ledger; None where nothing can.
    """
    registry = CollectorRegistry()
    registry.register(_Ledger(count(engine)))
    if training is not None:
        registry.register(_Trainings(training))
    if refused is not None:
        registry.register(_Refused(refused))
    if waiting is not None:
        registry.register(_Storage(waiting))
    return generate_latest(registry)


class _Storage(Collector):
    """What waits for the ledger on this process's disk."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        for name, meaning, value in (
            ("spool_bytes", "What waits for the ledger on this process's disk.", self._waiting.waiting_bytes),
            ("storage_troubles", "Reasons why events are refused or only wait.", len(self._waiting.troubles())),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)


class _Trainings(Collector):
    """Metrics of the trainings on this data folder."""

    def __init__(self, training: Mapping[str, Any]) -> None:
        self._training = training

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        known = self._training
        for name, meaning, value in (
            ("training_running", "Whether a training runs.", int(known["running"])),
            ("training_began_seconds", "When the last training began; 0 if never.", known.get("began") or 0),
            ("training_ended_seconds", "When it ended; 0 if it has not.", known.get("ended") or 0),
            ("new_hard_examples", "Hard examples since the last training began.", known["new_hard_examples"]),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)
        result = GaugeMetricFamily(f"{PREFIX}_training_result", "1 for what became of the last one.", labels=["result"])
        if known.get("result"):
            result.add_metric([known["result"]], 1)
        yield result


class _Refused(Collector):
    """The webhooks that this process let nobody hear of."""

    def __init__(self, number: int) -> None:
        self._number = number

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        meaning = "Webhooks that came to this process without their credentials."
        yield CounterMetricFamily(f"{PREFIX}_webhooks_refused", meaning, value=self._number)


class _Ledger(Collector):
    """Metrics of one moment's facts."""

    def __init__(self, facts: LedgerCounts) -> None:
        self._facts = facts

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        received = CounterMetricFamily(f"{PREFIX}_events_received", "Acknowledged webhook events.", labels=["action"])
        states = GaugeMetricFamily(f"{PREFIX}_events", "Journal entries by state.", labels=["action", "state"])
        by_action: dict[str, int] = {}
        for (action, state), number in sorted(facts.events.items()):
            by_action[action] = by_action.get(action, 0) + number
            states.add_metric([action, state], number)
        for action, number in by_action.items():
            received.add_metric([action], number)
        yield received
        yield states
        yield GaugeMetricFamily(
            f"{PREFIX}_oldest_open_event_seconds",
            "Age of the oldest acknowledged event that is not yet in the samples; 0 where there is none.",
            value=facts.oldest_open or 0.0,
        )
        annotations = GaugeMetricFamily(
            f"{PREFIX}_annotations", "Annotations by what became of them.", labels=["state"]
        )
        for state, number in sorted(facts.annotations.items()):
            annotations.add_metric([state], number)
        yield annotations
        samples = GaugeMetricFamily(f"{PREFIX}_samples", "Training examples.", labels=["outcome", "class", "split"])
        for key, number in sorted(facts.samples.items()):
            samples.add_metric(list(key), number)
        yield samples
        proposals = GaugeMetricFamily(f"{PREFIX}_proposals", "Regions that were shown.", labels=["class"])
        for label, number in sorted(facts.proposals.items()):
            proposals.add_metric([label], number)
        yield proposals
        for name, meaning, value in (
            ("predictions", "Predictions that were shown.", facts.predictions),
            ("blind_tasks", "Tasks that were served without the boxes found for them.", facts.blind),
            ("unread_tasks", "Tasks that could not be looked at when they were last asked for.", facts.unread),
            ("exchanged_pages", "Annotations on other pages than those that boxes were shown on.", facts.exchanged),
            (
                "unknown_labels",
                "Annotated regions whose label no label config of their project knows.",
                sum(one.regions for one in facts.unknown),
            ),
            ("quarantined_samples", "Samples in dispute between annotators or sides.", facts.quarantined),
            ("recalled_proposals", "Shown regions that followed an annotator's verdict.", facts.recalled),
            ("suppressed_boxes", "Boxes that an annotator's verdict kept from being shown.", facts.suppressed),
            ("remembered_crops", "Corrected crops in the memory.", facts.remembered),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)


class Refused(Protocol):
    """Webhooks that came without their credentials; `backend.server.routes.RefusedWebhooks` counts them."""

    @property
    def count(self) -> int: ...

    @property
    def remedy(self) -> str: ...


def feedback_pages(
    engine: Engine,
    *,
    state: Callable[[], Mapping[str, Any]],
    training: Callable[[], Mapping[str, Any]] | None = None,
    refused: Refused | None = None,
    label_studio: str = "",
    waiting: Waiting | None = None,
) -> Blueprint:
    """The pages.

    Args:
        engine: The ledger's database.
        state: Gives `model_version` and `model_state`.
        training: Tells how trainings stand; None where this process starts none. It has `running`, `new_hard_examples`
            and `retrain_after`. Of the last training it has `began`, `why`, `doing`, `ended`, `result`, `reason` and
            `model`. Where no training can start in this process it has `unable` and `due`.
        refused: Webhooks that came to this process without their credentials; None where nobody counts them.
        label_studio: Its address, for the link; empty for none.
        waiting: What waits on this process's disk for the ledger; None where nothing can.
    """
    pages = Blueprint("feedback", __name__)

    @pages.get("/metrics")
    def metrics() -> Response:
        number = None if refused is None else refused.count
        with _asking():
            told = exposition(engine, training=training and training(), refused=number, waiting=waiting)
        return Response(told, content_type=CONTENT_TYPE)

    @pages.get("/status")
    def status() -> Response | str:
        with _asking():
            facts, model, trainings = count(engine), state(), training and training()
            with engine.connect() as connection:
                verdicts = acting_verdicts(connection, most=_VERDICTS)
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
            told: dict[str, Any] = {"training": dict(trainings)} if trainings else {}
            told |= {"refused_webhooks": refused.count} if refused else {}
            told |= {"verdicts": [asdict(one) for one in verdicts]}
            if waiting:
                told |= {"storage": {"waiting_bytes": waiting.waiting_bytes, "troubles": waiting.troubles()}}
            return jsonify({"model": dict(model), **told, **facts.as_json()})
        text = render(
            "status.html",
            "backend.server",
            here="/status",
            still=_is_still(),
            label_studio=label_studio,
            facts=facts,
            verdicts=verdicts,
            model=model,
            training=trainings and training_in_words(trainings),
            refused=refused,
            waiting=waiting,
            outcomes=OUTCOMES,
            classes=CLASSES,
            marks=MARKS,
            splits=SPLITS,
            seed=SEED_MISCLASSIFIED,
        )
        return Response(text, content_type="text/html; charset=utf-8", headers=page_headers())

    @pages.post("/status/verdicts/<name>")
    def decide(name: str) -> Any:
        # A page elsewhere must not be able to press this button for whoever looks at it.
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            abort(403)
        wanted = request.form.get("do", "forget")
        if wanted not in ("forget", "restore"):
            raise RequestError("do is forget, or restore")
        if not has_sample(engine, name):
            return refusal(404, "NotFound", f"the ledger has no sample {printable(name, most=100)}: reload /status")
        if wanted == "restore":
            restore_verdict(engine, name)
        else:
            forget_verdict(engine, name, at=time.time())
        return redirect("/status?still=1" if _is_still() else "/status", code=303)

    return pages


def training_in_words(training: Mapping[str, Any]) -> dict[str, Any]:
    """How trainings stand, for a page: what is not told of them is None, and Label Studio's event has a name."""
    told = _NO_TRAINING | dict(training)
    return told | {key: _PRESSED.get(told[key], told[key]) for key in ("why", "due")}


def _is_still() -> bool:
    """Whether the reader asked for a page that does not renew itself, such as to read it with a screen reader."""
    return request.args.get("still") == "1"


@contextmanager
def _asking() -> Iterator[None]:
    """Says that the ledger is away, where it is: no request is to blame for that."""
    try:
        yield
    except SQLAlchemyError as error:
        words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise LedgerError(f"the ledger cannot be asked now: {words}; events wait on disk meanwhile") from error
