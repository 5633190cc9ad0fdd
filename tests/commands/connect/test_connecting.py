"""Connecting brings a project to where it should be, says what it changed, keeps what is there, and repeats nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from backend.commands.connecting import Connected, Wish, connect
from backend.errors import SetupError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.projects import label_config
from tests.commands.connect.conftest import BASIC, SECRET, ServeBackend
from tests.commands.import_documents.loopback import Loopback

OWN_WORDS = """<View>
  <Image name="scan" value="$scan"/>
  <RectangleLabels name="kind" toName="scan"><Label value="Seal" predicted_values="stamp"/></RectangleLabels>
</View>"""
UNFIT = '<View><Text name="text" value="$text"/></View>'
BASIC_HEADER = "Basic " + base64.b64encode(":".join(BASIC).encode()).decode()


@pytest.fixture
def url(serve_backend: ServeBackend) -> str:
    return serve_backend(guarded=True)


def wish(url: str, project: str = "Contracts", **more: Any) -> Wish:
    return Wish(project=project, url=url, basic_auth=BASIC, webhook_secret=SECRET, **more)


def untouched(client: LabelStudio, studio: Loopback, wanted: Wish) -> Connected:
    """Connects, and sees that nothing was written."""
    studio.writes.clear()
    connected = connect(client, wanted)
    assert (studio.writes, connected.changes) == ([], ())
    return connected


@pytest.mark.parametrize("paged", [False, True])
def test_a_new_title_makes_a_project_with_all_it_needs(
    client: LabelStudio, studio: Loopback, url: str, paged: bool
) -> None:
    connected = connect(client, wish(url, paged=paged))
    [project] = studio.projects.values()
    assert project["title"] == "Contracts"
    assert project["label_config"] == label_config(paged=paged)
    assert project["show_collab_predictions"] is True
    assert project["model_version"] == "told-1"
    [connection] = studio.connections.values()
    assert (connection["url"], connection["title"], connection["is_interactive"]) == (url, "told-1", True)
    assert (connection["basic_auth_user"], connection["basic_auth_pass_is_set"]) == (BASIC[0], True)
    assert connection["description"] == f"Dashboard: {url}/  Crop wall: {url}/review"
    [webhook] = studio.webhooks.values()
    assert webhook["url"] == f"{url}/webhook"
    assert webhook["headers"] == {"X-Webhook-Secret": SECRET, "Authorization": BASIC_HEADER}
    assert (connected.project, connected.version, len(connected.changes)) == (project["id"], "told-1", 4)
    assert project["sampling"] == "Uncertainty sampling"
    assert "low scores come first" in project["description"]
    assert f"Dashboard: {url}/" in project["description"]
    assert [tab["data"]["title"] for tab in studio.views] == [
        "Default",
        "Doubtful first",
        "Nothing found",
        "Overlooked?",
        "Done",
    ]


def test_once_more_changes_nothing(client: LabelStudio, studio: Loopback, url: str) -> None:
    connect(client, wish(url))
    untouched(client, studio, wish(url))
    untouched(client, studio, wish(url + "/", project=str(next(iter(studio.projects)))))


@pytest.mark.parametrize("paged", [False, True])
def test_a_dry_run_says_what_a_real_one_does_and_changes_nothing(
    client: LabelStudio, studio: Loopback, url: str, paged: bool
) -> None:
    foretold = connect(client, wish(url, paged=paged), dry_run=True)
    assert (studio.writes, foretold.project) == ([], None)
    assert connect(client, wish(url, paged=paged)).changes == foretold.changes


def test_a_dry_run_over_a_project_that_is_there(client: LabelStudio, studio: Loopback, url: str) -> None:
    studio.add_project("<View></View>", title="Contracts")
    foretold = connect(client, wish(url), dry_run=True)
    assert studio.writes == []
    assert connect(client, wish(url)).changes == foretold.changes
    assert len(foretold.changes) == 5


@pytest.mark.parametrize("there", [False, True])
def test_a_dry_run_foretells_the_secret_that_webhooks_of_other_projects_get(
    client: LabelStudio, studio: Loopback, url: str, there: bool
) -> None:
    for other in ("earlier", "earlier still"):
        connect(client, wish(url, project=other))
    without = next(iter(studio.webhooks.values()))
    without["headers"] = {}
    if there:
        studio.add_project("<View></View>", title="Contracts")
    foretold = connect(client, wish(url), dry_run=True)
    assert without["headers"] == {}
    assert connect(client, wish(url)).changes == foretold.changes
    assert sum("of another project" in change for change in foretold.changes) == 1
    assert without["headers"]["X-Webhook-Secret"] == SECRET
    untouched(client, studio, wish(url))


def test_a_project_that_was_there_is_queued_by_doubt_once_and_again_only_when_asked(
    client: LabelStudio, studio: Loopback, url: str
) -> None:
    project = studio.add_project(OWN_WORDS, title="Contracts")
    assert any("order of their doubt" in change for change in connect(client, wish(url)).changes)
    assert studio.projects[project]["sampling"] == "Uncertainty sampling"
    # Somebody wants them otherwise.
    studio.projects[project]["sampling"] = "Sequential sampling"
    del studio.views[2:]
    untouched(client, studio, wish(url))
    changes = connect(client, wish(url, queue=True)).changes
    assert changes == (
        "tasks come in the order of their doubt (uncertainty sampling)",
        "tabs made: Nothing found, Overlooked?, Done",
    )
    untouched(client, studio, wish(url, queue=True))


def test_without_secrets_the_webhook_of_label_studio_is_as_it_should_be(
    client: LabelStudio, studio: Loopback, serve_backend: ServeBackend
) -> None:
    bare = Wish(project="Contracts", url=serve_backend())
    assert not any("webhook" in change for change in connect(client, bare).changes)
    assert len(studio.webhooks) == 1
    untouched(client, studio, bare)


class TestTheLabelConfig:
    def test_of_ones_own_words_is_kept(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(OWN_WORDS)
        connect(client, wish(url, str(project)))
        assert studio.projects[project]["label_config"] == OWN_WORDS

    def test_sets_the_version(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        strict = label_config(paged=False).replace("smart=", 'model_score_threshold="0.9" smart=')
        project = studio.add_project(strict)
        connected = connect(client, wish(url, str(project)))
        [connection] = studio.connections.values()
        assert connection["title"] == connected.version != "told-1"

    def test_that_is_empty_is_set(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project("<View></View>")
        connect(client, wish(url, str(project), paged=True))
        assert studio.projects[project]["label_config"] == label_config(paged=True)

    def test_that_does_not_fit_is_told_and_kept(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(UNFIT)
        with pytest.raises(SetupError, match=r"no Image tag.*--replace-config"):
            connect(client, wish(url, str(project)))
        assert studio.writes == []

    def test_that_does_not_fit_is_replaced_when_asked(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(UNFIT)
        assert "label config replaced" in connect(client, wish(url, str(project), replace_config=True)).changes
        assert studio.projects[project]["label_config"] == label_config(paged=False)

    def test_of_the_other_kind_does_not_fit(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(label_config(paged=False))
        with pytest.raises(SetupError, match="shows one page a task, not a list of pages"):
            connect(client, wish(url, str(project), paged=True))
        connect(client, wish(url, str(project), paged=True, replace_config=True))
        assert studio.projects[project]["label_config"] == label_config(paged=True)

    def test_is_never_replaced_under_annotations(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(UNFIT, total_annotations_number=1)
        with pytest.raises(SetupError, match="it has annotations"):
            connect(client, wish(url, str(project), replace_config=True))
        assert studio.writes == []

    def test_is_never_replaced_by_one_that_its_tasks_cannot_be_shown_with(
        self, client: LabelStudio, studio: Loopback, url: str
    ) -> None:
        project = studio.add_project(UNFIT)
        client.import_tasks(project, [{"image": "/data/a.png"}])
        with pytest.raises(SetupError, match="no field 'pages'"):
            connect(client, wish(url, str(project), paged=True, replace_config=True))
        connect(client, wish(url, str(project), replace_config=True))


class TestTheConnection:
    def test_gets_the_title_of_a_new_version(
        self, client: LabelStudio, studio: Loopback, url: str, serve_backend: ServeBackend
    ) -> None:
        project = connect(client, wish(url)).project
        [connection] = studio.connections.values()
        connection["title"] = studio.projects[project or 0]["model_version"] = "told-0"
        assert connect(client, wish(url)).changes == ("connection given the title told-1, until now told-0",)
        assert connection["title"] == studio.projects[project or 0]["model_version"] == "told-1"
        assert connection["basic_auth_pass_is_set"], "its credentials are still there"

    def test_gets_the_address_of_the_dashboard_and_keeps_what_a_person_wrote(
        self, client: LabelStudio, studio: Loopback, url: str
    ) -> None:
        connect(client, wish(url))
        [connection] = studio.connections.values()
        connection["description"] = ""  # connected before it was given
        assert connect(client, wish(url)).changes == ("connection given the address of the dashboard",)
        assert f"{url}/review" in connection["description"]
        connection["description"] = "Ada's"
        untouched(client, studio, wish(url))

    @pytest.mark.parametrize(
        "lacking",
        [
            # connected before the backend asked for credentials
            {"auth_method": "NONE", "basic_auth_user": "", "basic_auth_pass_is_set": False},
            # with another user
            {"basic_auth_user": "somebody"},
            # with a password that is not let in
            {"state": "DI"},
        ],
    )
    def test_gets_the_credentials(
        self, client: LabelStudio, studio: Loopback, url: str, lacking: dict[str, Any]
    ) -> None:
        connect(client, wish(url))
        [connection] = studio.connections.values()
        connection |= lacking
        assert connect(client, wish(url)).changes == ("connection given the credentials of BASIC_AUTH_USER",)
        assert (connection["basic_auth_user"], connection["basic_auth_pass_is_set"]) == (BASIC[0], True)

    def test_of_another_backend_is_left_alone(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = studio.add_project(label_config(paged=False), title="Contracts")
        client.connect_backend(project, "http://sam:9090", title="sam")
        connected = connect(client, wish(url))
        assert [one["title"] for one in studio.connections.values()] == ["sam", "told-1"]
        assert connected.notes[0] == "the project has other backends, too: http://sam:9090"
        assert "the project shows the predictions of sam" in connected.notes[1]
        untouched(client, studio, wish(url))

    def test_that_label_studio_does_not_reach_is_an_error(
        self, client: LabelStudio, studio: Loopback, serve_backend: ServeBackend
    ) -> None:
        bare = Wish(project="Contracts", url=serve_backend())
        connect(client, bare)
        [connection] = studio.connections.values()
        connection["state"] = "DI"
        with pytest.raises(SetupError, match="ML_BLOCK_LOCAL_IP=false"):
            connect(client, bare)

    def test_may_have_another_address_for_label_studio(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        connect(client, wish("http://backend:9090", from_here=url))
        [connection] = studio.connections.values()
        assert connection["url"] == "http://backend:9090"

    def test_makes_the_project_show_its_version(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        project = connect(client, wish(url)).project
        studio.projects[project or 0]["model_version"] = ""
        assert connect(client, wish(url)).changes == ("project shows the predictions of told-1",)
        assert studio.projects[project or 0]["model_version"] == "told-1"
        untouched(client, studio, wish(url))

    def test_tells_of_a_project_that_does_not_show_predictions(
        self, client: LabelStudio, studio: Loopback, url: str
    ) -> None:
        studio.add_project(label_config(paged=False), title="Contracts", show_collab_predictions=False)
        assert "Settings, Annotation" in connect(client, wish(url)).notes[0]


class TestTheWebhook:
    @pytest.fixture
    def webhook(self, client: LabelStudio, studio: Loopback, url: str) -> dict[str, Any]:
        connect(client, wish(url))
        [made] = studio.webhooks.values()
        return made

    def test_keeps_its_other_headers(
        self, client: LabelStudio, studio: Loopback, url: str, webhook: dict[str, Any]
    ) -> None:
        webhook["headers"] = {"X-Proxy": "a", "X-Webhook-Secret": "old", "Authorization": BASIC_HEADER}
        assert connect(client, wish(url)).changes == ("webhook given the header X-Webhook-Secret",)
        assert webhook["headers"] == {"X-Proxy": "a", "X-Webhook-Secret": SECRET, "Authorization": BASIC_HEADER}

    @pytest.mark.parametrize(
        ("broken", "change"),
        [
            # switched off
            ({"is_active": False}, "webhook given being switched on"),
            # says only that something happened
            ({"send_payload": False}, "webhook given its payload"),
        ],
    )
    def test_is_put_right(
        self, client: LabelStudio, url: str, webhook: dict[str, Any], broken: dict[str, Any], change: str
    ) -> None:
        webhook |= broken
        assert connect(client, wish(url)).changes == (change,)
        assert (webhook["is_active"], webhook["send_payload"]) == (True, True)

    def test_gets_the_events_that_corrections_come_by_and_keeps_its_own(
        self, client: LabelStudio, studio: Loopback, url: str, webhook: dict[str, Any]
    ) -> None:
        webhook |= {"send_for_all_actions": False, "actions": ["TASKS_CREATED", "ANNOTATION_CREATED"]}
        assert connect(client, wish(url)).changes == ("webhook given events of annotations",)
        assert set(webhook["actions"]) == {
            "TASKS_CREATED",
            "ANNOTATION_CREATED",
            "ANNOTATIONS_CREATED",
            "ANNOTATION_UPDATED",
            "ANNOTATIONS_DELETED",
        }
        untouched(client, studio, wish(url))

    def test_that_is_gone_is_made_again(
        self, client: LabelStudio, studio: Loopback, url: str, webhook: dict[str, Any]
    ) -> None:
        studio.webhooks.clear()
        assert connect(client, wish(url)).changes == (f"webhook {url}/webhook made",)
        [made] = studio.webhooks.values()
        assert made["headers"] == webhook["headers"]
        untouched(client, studio, wish(url))

    def test_to_other_places_is_left_alone(
        self, client: LabelStudio, studio: Loopback, url: str, webhook: dict[str, Any]
    ) -> None:
        other = {**webhook, "id": 99, "url": "http://elsewhere/webhook", "headers": {}}
        studio.webhooks[99] = dict(other)
        untouched(client, studio, wish(url))
        assert studio.webhooks[99] == other

    def test_that_label_studio_refuses_names_its_setting(self, client: LabelStudio, studio: Loopback, url: str) -> None:
        studio.makes_webhooks = studio.takes_webhooks = False
        with pytest.raises(SetupError, match="SSRF_PROTECTION_ENABLED=false"):
            connect(client, wish(url))


@pytest.mark.parametrize("title", ["ab", "x" * 51])
def test_a_title_that_label_studio_would_refuse(client: LabelStudio, studio: Loopback, url: str, title: str) -> None:
    with pytest.raises(SetupError, match="3 to 50 characters"):
        connect(client, wish(url, title))


def test_secrets_are_not_shown(url: str, client: LabelStudio, studio: Loopback) -> None:
    connected = connect(client, wish(url))
    shown = repr(wish(url)) + repr(connected)
    assert SECRET not in shown
    assert BASIC[1] not in shown


def test_a_backend_that_is_not_running_changes_nothing(client: LabelStudio, studio: Loopback) -> None:
    with pytest.raises(SetupError, match="no backend answers"):
        connect(client, wish("http://127.0.0.1:9"))
    assert studio.writes == []
