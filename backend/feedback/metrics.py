"""The ledger's numbers in Prometheus' words; read from the database, so that every process tells the same."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from backend.feedback.report import Facts, count

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "contract_marks"


def exposition(engine: Engine) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry()
    registry.register(_Ledger(count(engine)))
    return generate_latest(registry)


class _Ledger(Collector):
    """Metrics of one moment's facts."""

    def __init__(self, facts: Facts) -> None:
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
            ("quarantined_samples", "Samples that annotators contradict each other about.", facts.quarantined),
            ("recalled_proposals", "Shown regions that followed an annotator's verdict.", facts.recalled),
            ("remembered_crops", "Corrected crops in the memory.", facts.remembered),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)
