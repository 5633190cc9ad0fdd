"""The class keeps the contract of label_studio_ml 2.x, with that package or without it."""

import inspect

import pytest

from backend.errors import LabelConfigError
from backend.labelstudio.connections import Connections
from backend.server import ml_backend
from backend.server.ml_backend import LabelStudioMLBase, MarksBackend, has_framework
from backend.server.predictor import Predictor
from backend.settings import Settings
from tests.server.conftest import NAMED, MemoryLedger, ToldServing, found, payload
from tests.server.upstream import put_upstream


@pytest.fixture
def model_class(pipeline, pages):
    ledger = MemoryLedger()
    connections = Connections(Settings(), source=pages)
    return MarksBackend.served_by(Predictor(Settings(), ToldServing(pipeline), connections, ledger=ledger), ledger)


def test_the_framework_counts_when_it_is_merely_on_the_path(monkeypatch, tmp_path):
    put_upstream(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert has_framework()


@pytest.mark.parametrize("modules", [("__init__", "model", "api", "exceptions"), ("model", "api"), ()])
def test_the_package_of_that_name_on_pypi_does_not_count(monkeypatch, tmp_path, modules):
    # 1.0.9 has other modules, and classes of another shape.
    package = tmp_path / "label_studio_ml"
    package.mkdir()
    for name in modules:
        (package / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not has_framework()


def parameters(function) -> list[tuple[str, object]]:
    found_ = [one for one in inspect.signature(function).parameters.values() if one.kind != one.VAR_KEYWORD]
    return [(one.name, one.default) for one in found_]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("__init__", [("self", inspect.Parameter.empty), ("project_id", None), ("label_config", None)]),
        ("setup", [("self", inspect.Parameter.empty)]),
        (
            "predict",
            [("self", inspect.Parameter.empty), ("tasks", inspect.Parameter.empty), ("context", None)],
        ),
        (
            "fit",
            [("self", inspect.Parameter.empty), ("event", inspect.Parameter.empty), ("data", inspect.Parameter.empty)],
        ),
    ],
)
def test_the_methods_have_the_shape_of_the_2_x_class(name, shape):
    assert parameters(getattr(MarksBackend, name)) == shape


def test_it_is_made_as_the_frameworks_server_makes_it(model_class, pipeline):
    body = payload("predict")
    pipeline.on_page["/data/upload/2/062571dc-page.jpg"] = found(("stamp", (0, 0, 9, 9), 0.9))
    model = model_class(project_id="2", label_config=body["label_config"])
    response = model.predict(body["tasks"], context=None, login=None, password=None)
    answer = response.model_dump()
    assert (model.get("model_version"), answer["model_version"]) == (NAMED, NAMED)
    assert [len(prediction["result"]) for prediction in answer["predictions"]] == [1]
    assert isinstance(model, LabelStudioMLBase)


def test_it_can_be_made_without_a_label_config_but_not_predict(model_class):
    model = model_class()
    assert model.fit("START_TRAINING", {}) == {"status": "stored", "action": "START_TRAINING"}
    with pytest.raises(LabelConfigError, match="no label config"):
        model.predict([])


@pytest.mark.skipif(not has_framework(), reason="label_studio_ml 2.x is not installed; it is not on PyPI")
def test_the_frameworks_own_server_serves_it(model_class):
    from label_studio_ml.api import init_app

    client = init_app(model_class).test_client()
    assert client.post("/setup", json=payload("setup")).json == {"model_version": NAMED}
    [prediction] = client.post("/predict", json=payload("predict")).json["results"]
    assert prediction["model_version"] == NAMED


@pytest.mark.skipif(not has_framework(), reason="label_studio_ml 2.x is not installed; it is not on PyPI")
def test_the_own_base_has_what_the_framework_has():
    from label_studio_ml.model import LabelStudioMLBase as Theirs

    for name in ("__init__", "setup", "predict", "fit", "get", "set", "has"):
        assert parameters(getattr(ml_backend._LabelStudioMLBase, name)) == parameters(getattr(Theirs, name))
