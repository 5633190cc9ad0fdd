"""Label Studio, its project or the way to the backend is broken: `doctor` names it, and nothing beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.commands.doctor.conftest import (
    NEEDS_PROJECT,
    OTHER_PASSWORD,
    UNSENDABLE,
    Broken,
    Setup,
    assert_named,
    set_to,
    skipped,
    token_of,
)
from tests.commands.import_documents.loopback import TOKEN

CONFIG = '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i">{}</RectangleLabels></View>'
# Of another label config, the version is another one; until `serve` has told Label Studio, the title is not it.
OTHER_NAMES = {"title": "failure"} | skipped("shown boxes")
BLIND = skipped("same model", "version", "title", "shown boxes")


def stop_backend(setup: Setup) -> None:
    setup.stack.close()


def relabel(config: str) -> Callable[[Setup], object]:
    return lambda setup: setup.state.update(label_config=config)


def forget(setup: Setup) -> None:
    setup.studio.webhooks.clear()


def disconnect(setup: Setup) -> None:
    setup.studio.connections.clear()
    setup.studio.webhooks.clear()


def block_before_connecting(setup: Setup) -> None:
    disconnect(setup)
    setup.studio.takes_backends = False


def lose_an_event(setup: Setup) -> None:
    setup.webhook["updated_at"] = "2026-01-01T00:00:00+00:00"
    setup.annotate(ago=7200)
    setup.add_task(setup.upload())
    setup.annotate(arrives=False)


BROKEN = {
    "a Label Studio that is not there": Broken(
        how=set_to(LABEL_STUDIO_URL="http://127.0.0.1:9"),
        named="Label Studio",
        found="did not answer",
        remedy="LABEL_STUDIO_URL",
        also=skipped("token", "project", *NEEDS_PROJECT),
    ),
    "another program in the place of Label Studio": Broken(
        how=lambda setup: setup.environment.update(LABEL_STUDIO_URL=setup.url),
        named="Label Studio",
        found="401",
        remedy="LABEL_STUDIO_URL",
        also=skipped("token", "project", *NEEDS_PROJECT),
    ),
    "a wrong token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY="fedcba9876543210"),
        named="token",
        found="does not accept LABEL_STUDIO_API_KEY, a legacy token",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a bearer in the place of a token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=token_of("access", expires=time.time() + 300)),
        named="token",
        found="is a bearer",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a personal access token that ran out": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=token_of("refresh", expires=time.time() - 3 * 86400)),
        named="token",
        found="a personal access token that ran out 3 days ago",
        remedy="make a personal access token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a token with a word before it": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=f"Token {TOKEN}"),
        named="token",
        found="a character in it that no token has",
        remedy="copy the token",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "no token": Broken(
        how=set_to(LABEL_STUDIO_API_KEY=""),
        named="token",
        found="is empty",
        remedy="make a personal access token",
        state="warning",
        also=skipped("project", *NEEDS_PROJECT),
    ),
    "a password that Label Studio cannot send": Broken(
        how=set_to(BASIC_AUTH_PASS=UNSENDABLE),
        named="credentials",
        found="letters beyond Latin-1",
        remedy="set both to Latin-1 letters",
        also=BLIND | {"backend": "failure"},
    ),
    "a backend that is not running": Broken(
        how=stop_backend,
        named="backend",
        found="no backend answers",
        remedy="start it with `serve`",
        also=BLIND | {"way to the backend": "failure"},
    ),
    "a backend that Label Studio does not reach": Broken(
        how=lambda setup: setup.connection.update(url="http://127.0.0.1:9"),
        named="connection",
        found="not connected to",
        remedy="connect --project 1 --url http://127.0.0.1",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "a password that the backend does not know": Broken(
        how=lambda setup: setup.studio.passwords.update({setup.connection["id"]: OTHER_PASSWORD}),
        named="way to the backend",
        found="does not let Label Studio in, which brings another password or user name",
        remedy="BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
    ),
    "credentials that Label Studio was not given": Broken(
        how=lambda setup: setup.connection.update(basic_auth_user="", auth_method="NONE"),
        named="way to the backend",
        found="which brings no user name and password",
        remedy="connect --project 1",
    ),
    "an address that Label Studio blocks": Broken(
        how=lambda setup: setattr(setup.studio, "takes_backends", False),
        named="way to the backend",
        found="it is a private address",
        remedy="ML_BLOCK_LOCAL_IP=false",
    ),
    "an address that Label Studio blocks, not connected yet": Broken(
        how=block_before_connecting,
        named="connection",
        found="refuses that address, a private one",
        remedy="ML_BLOCK_LOCAL_IP=false",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "a project that is not connected": Broken(
        how=disconnect,
        named="connection",
        found="nor to any other",
        remedy="python -m backend connect --project 1 --url",
        also=skipped("way to the backend", "title", "shown boxes", "webhook", *NEEDS_PROJECT[7:10]),
    ),
    "another title": Broken(
        how=lambda setup: setup.connection.update(title="my model"),
        named="title",
        found="'my model', not the version random-",
        remedy="python -m backend connect --project 1 --url",
        also=skipped("shown boxes"),
    ),
    "another version that the project shows": Broken(
        how=lambda setup: setup.state.update(model_version="last year's"),
        named="shown boxes",
        found="predictions of last year's",
        remedy="Settings, Annotation: choose random-",
    ),
    "predictions that are not shown": Broken(
        how=lambda setup: setup.state.update(show_collab_predictions=False),
        named="shown boxes",
        found="begin without boxes",
        remedy="Settings, Annotation",
        state="warning",
    ),
    "no webhook": Broken(
        how=forget,
        named="webhook",
        found="no correction is learnt from",
        remedy="python -m backend connect --project 1 --url",
        also=skipped(*NEEDS_PROJECT[7:10]),
    ),
    "a webhook that is switched off": Broken(
        how=lambda setup: setup.webhook.update(is_active=False),
        named="webhook",
        found="lacks being switched on",
        remedy="connect --project 1",
    ),
    "a webhook for other events": Broken(
        how=lambda setup: setup.webhook.update(send_for_all_actions=False, actions=["TASKS_CREATED"]),
        named="webhook",
        found="lacks events of annotations",
        remedy="connect --project 1",
    ),
    "a webhook without its secret": Broken(
        how=lambda setup: setup.webhook.update(headers={"X-Webhook-Secret": "old"}),
        named="webhook credentials",
        found="X-Webhook-Secret (another), Authorization (missing)",
        remedy="with WEBHOOK_SECRET and BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
    ),
    "a webhook that Label Studio keeps back": Broken(
        how=lambda setup: setattr(setup.studio, "takes_webhooks", False),
        named="webhook address",
        found="sends nothing to",
        remedy="SSRF_PROTECTION_ENABLED=false",
    ),
    "an event that did not arrive": Broken(
        how=lose_an_event,
        named="last delivery",
        found="ANNOTATION_CREATED came 2 hours ago: one event at least was lost",
        remedy="sync --project 1",
        state="warning",
    ),
    "wrong labels": Broken(
        how=relabel(CONFIG.format('<Label value="Dog"/>')),
        named="label config",
        found="(found: Dog)",
        remedy="Settings, Labeling Interface",
        also=skipped("version", "title", "shown boxes", "pages") | {"way to the backend": "failure"},
    ),
    "a label that is missing": Broken(
        how=relabel(CONFIG.format('<Label value="Seal" predicted_values="stamp"/><Label value="Signature"/>')),
        named="label config",
        found="no label stands for thumb",
        remedy='<Label value="Thumb" predicted_values="thumb"/>',
        state="warning",
        also=OTHER_NAMES,
    ),
    "a label config for another field": Broken(
        how=lambda setup: setup.state.update(label_config=setup.state["label_config"].replace("$image", "$scan")),
        named="pages",
        found="has no field 'scan'",
        remedy="Labeling Interface",
        also=OTHER_NAMES,
    ),
    "a project that is not there": Broken(
        how=lambda setup: setup.state.update(title="Renamed"),
        named="project",
        found="no project of the title 'Contracts'",
        remedy="connect --project Contracts",
        also=skipped(*NEEDS_PROJECT),
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_named_with_its_remedy(healthy: Setup, broken: Broken) -> None:
    assert_named(healthy, broken)
