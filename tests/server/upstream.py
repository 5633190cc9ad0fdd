"""A stand-in for label_studio_ml 2.x: its shape, as its own server relies on it, in a folder that is put on the path.

Written after the package's contract (see ml_backend.py): the base is an ABC with a cache beside its objects, the server
takes nothing but its subclasses, makes one for each request, and lets a few singular events through.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["put_upstream"]

_MODEL = """
from abc import ABC

KEPT = {}


class LabelStudioMLBase(ABC):
    TRAIN_EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING")

    def __init__(self, project_id=None, label_config=None):
        self.project_id = project_id or ""
        if label_config is not None:
            self.set("label_config", label_config)
        if not self.get("model_version"):
            self.set("model_version", "0.0.1")
        self.setup()

    def setup(self):
        pass

    def get(self, key):
        return KEPT.get((self.project_id, key))

    def set(self, key, value):
        if not isinstance(value, str):
            raise TypeError(value)
        KEPT[self.project_id, key] = value

    def has(self, key):
        return (self.project_id, key) in KEPT

    def predict(self, tasks, context=None, **kwargs):
        pass

    def fit(self, event, data, **kwargs):
        pass
"""
_RESPONSE = """
from dataclasses import dataclass


@dataclass
class ModelResponse:
    model_version: str | None
    predictions: list

    def model_dump(self):
        return {"model_version": self.model_version, "predictions": self.predictions}
"""
_API = """
from flask import Flask, jsonify, request

from .model import LabelStudioMLBase

_server = Flask(__name__)
_served = []


def init_app(model_class):
    if not issubclass(model_class, LabelStudioMLBase):
        raise ValueError("Inference class should be the subclass of " + LabelStudioMLBase.__class__.__name__)
    _served[:] = [model_class]
    return _server


@_server.post("/setup")
def setup():
    body = request.json
    model = _served[0](project_id=body["project"].split(".")[0], label_config=body["schema"])
    return jsonify({"model_version": model.get("model_version")})


@_server.post("/predict")
def predict():
    body = request.json
    model = _served[0](project_id=str(body["project"]).split(".")[0], label_config=body["label_config"])
    return jsonify({"results": model.predict(body["tasks"], context=None).model_dump()["predictions"]})


@_server.post("/webhook")
def webhook():
    body = request.json
    event = body.pop("action")
    if event not in LabelStudioMLBase.TRAIN_EVENTS:
        return {"status": "Unknown event"}
    project = body["project"]
    model = _served[0](str(project["id"]), label_config=project["label_config"])
    return jsonify({"result": model.fit(event, body)})
"""


def put_upstream(folder: Path) -> None:
    """Puts the stand-in into a folder, as a checkout lies there: without the metadata of an installed package."""
    package = folder / "label_studio_ml"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("model", _MODEL), ("response", _RESPONSE), ("api", _API)):
        (package / f"{name}.py").write_text(text.lstrip())
