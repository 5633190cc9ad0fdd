"""Whether the backend serves, and as what; each way in which it does not is told with the way out."""

from __future__ import annotations

import pytest
from flask import Flask

from backend.commands.running_backend import serving_version, version_for
from backend.errors import SetupError
from backend.labelstudio.projects import label_config
from tests.commands.connect.conftest import BASIC, ServeBackend
from tests.served import serving


def test_the_version_that_serves(serve_backend: ServeBackend) -> None:
    assert serving_version(serve_backend(version="told-7") + "/") == "told-7"


def test_the_version_of_a_project_has_the_thresholds_of_its_label_config(serve_backend: ServeBackend) -> None:
    url = serve_backend()
    plain = version_for(url, label_config(paged=False))
    strict = version_for(url, label_config(paged=False).replace("smart=", 'model_score_threshold="0.9" smart='))
    assert plain == serving_version(url)
    assert strict != plain
    assert strict.startswith(plain)


def test_credentials_are_brought(serve_backend: ServeBackend) -> None:
    url = serve_backend(guarded=True)
    assert serving_version(url, basic_auth=BASIC) == "told-1"
    assert version_for(url, label_config(paged=True), basic_auth=BASIC) == "told-1"


def refused(url: str, **more: object) -> str:
    with pytest.raises(SetupError) as caught:
        serving_version(url, **more)  # type: ignore[arg-type]
    assert url in str(caught.value)
    return str(caught.value)


def test_a_backend_that_is_not_running_is_to_be_started() -> None:
    assert "`serve`" in refused("http://127.0.0.1:9")


def test_what_is_no_address() -> None:
    assert "--url" in refused("http://[bad")


def test_wrong_credentials_name_their_settings(serve_backend: ServeBackend) -> None:
    assert "BASIC_AUTH_USER" in refused(serve_backend(guarded=True), basic_auth=("annotator", "other"))


def test_a_model_that_cannot_be_loaded_is_told_with_its_reason() -> None:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/health", view_func=lambda: {"model_state": "failed", "model_error": "weights are damaged"})
    with serving(app) as url:
        assert "weights are damaged" in refused(url)


def test_a_model_that_takes_for_ever_is_not_waited_for(serve_backend: ServeBackend) -> None:
    assert "still loading" in refused(serve_backend(loading=True), seconds=0.0)


@pytest.mark.parametrize("answer", ["<html>", '["a list"]', '{"status": "UP"}'])
def test_another_program_at_that_address_is_recognised(answer: str) -> None:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/health", view_func=lambda: answer)
    with serving(app) as url:
        assert "another program" in refused(url)


def test_a_label_config_without_a_place_for_marks_is_refused_with_the_backends_own_words(
    serve_backend: ServeBackend,
) -> None:
    with pytest.raises(SetupError, match="422 to /setup: The label config has no Image tag"):
        version_for(serve_backend(), "<View></View>")
