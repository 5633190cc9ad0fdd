"""Two pages about the ledger: `/metrics` for Prometheus, `/status` for a person or, asked for JSON, a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from flask import Blueprint, Response, jsonify, render_template, request
from sqlalchemy import Engine

from backend.feedback.matching import Outcome
from backend.feedback.metrics import CONTENT_TYPE, exposition
from backend.feedback.report import SEED_MISCLASSIFIED, SPLITS, count
from backend.nets.config import CLASSES, MARKS

__all__ = ["feedback_pages"]


class Refused(Protocol):
    """Webhooks that came without their credentials; `backend.labelstudio.credentials.RefusedWebhooks` counts them."""

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
) -> Blueprint:
    """The pages.

    Args:
        engine: The ledger's database.
        state: Gives `model_version` and `model_state`.
        training: Gives how trainings stand: `running`, `new_hard_examples`, `retrain_after`, and of the last one, if
            there was one, `began`, `why`, `doing`, `ended`, `result`, `reason`, `model`; None where this process starts
            none.
        refused: Webhooks that came to this process without their credentials; None where nobody counts them.
    """
    pages = Blueprint("feedback", __name__, template_folder="templates")

    @pages.get("/metrics")
    def metrics() -> Response:
        number = None if refused is None else refused.count
        told = exposition(engine, training=training and training(), refused=number)
        return Response(told, content_type=CONTENT_TYPE)

    @pages.get("/status")
    def status() -> Response | str:
        facts, model, trainings = count(engine), state(), training and training()
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
            told: dict[str, Any] = {"training": dict(trainings)} if trainings else {}
            told |= {"refused_webhooks": refused.count} if refused else {}
            return jsonify({"model": dict(model), **told, **facts.as_json()})
        return render_template(
            "status.html",
            facts=facts,
            model=model,
            training=trainings,
            refused=refused,
            moment=_moment,
            outcomes=[str(outcome) for outcome in Outcome],
            classes=CLASSES,
            marks=MARKS,
            splits=SPLITS,
            seed=SEED_MISCLASSIFIED,
        )

    return pages


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
