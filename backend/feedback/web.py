"""Two pages about the ledger: `/metrics` for Prometheus, `/status` for a person or, asked for JSON, a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request
from sqlalchemy import Engine

from backend.feedback.matching import Outcome
from backend.feedback.metrics import CONTENT_TYPE, exposition
from backend.feedback.report import SEED_MISCLASSIFIED, SPLITS, count
from backend.nets.config import CLASSES, MARKS

__all__ = ["feedback_pages"]


def feedback_pages(engine: Engine, *, state: Callable[[], Mapping[str, Any]]) -> Blueprint:
    """The pages.

    Args:
        engine: The ledger's database.
        state: Gives `model_version` and `model_state`.
    """
    pages = Blueprint("feedback", __name__, template_folder="templates")

    @pages.get("/metrics")
    def metrics() -> Response:
        return Response(exposition(engine), content_type=CONTENT_TYPE)

    @pages.get("/status")
    def status() -> Response | str:
        facts, model = count(engine), state()
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
            return jsonify({"model": dict(model), **facts.as_json()})
        return render_template(
            "status.html",
            facts=facts,
            model=model,
            outcomes=[str(outcome) for outcome in Outcome],
            classes=CLASSES,
            marks=MARKS,
            splits=SPLITS,
            seed=SEED_MISCLASSIFIED,
        )

    return pages
