"""The project's connection to this backend: whether there is one, whether Label Studio gets through, and its title.

The webhook that corrections come by: whether it is there, lets itself in, and is let through.

The webhook's last delivery, of which Label Studio keeps no record: what it saved last beside what arrived here.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import httpx2

from backend.commands.doctor.findings import Checked, Fields, doubtful, failed, span, well
from backend.corrections.journal import Journal
from backend.errors import SettingsError
from backend.labelstudio.connections import same_origin
from backend.labelstudio.probing import AddressReach, Latest, latest_annotation, reach, takes_backend, takes_webhook
from backend.labelstudio.webhooks import NEEDED_ACTIONS, Webhook, webhook_headers, webhook_url, webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.probing import Reached

__all__ = [
    "CONNECTION_CHECK",
    "CREDENTIALS",
    "DELIVERY_CHECK",
    "THROUGH",
    "TITLE",
    "WAY",
    "WEBHOOK_CHECK",
    "check_connection",
    "check_delivery",
    "check_let_through",
    "check_title",
    "check_way",
    "check_webhook",
    "check_webhook_credentials",
    "connecting",
    "judge_delivery",
]

DELIVERY_CHECK = "last delivery"
# The moments of two clocks are compared; and an event is sent when the annotation was saved already.
_CLOCKS_SECONDS = 120.0
CONNECTION_CHECK = "connection"
WAY = "way to the backend"
TITLE = "title"
_UNBLOCK = "start Label Studio with ML_BLOCK_LOCAL_IP=false SSRF_PROTECTION_ENABLED=false"
"""The way out where Label Studio refuses private addresses: the first for backends, the second for webhooks."""
_CONNECTED = "CO"
_LISTEN = (
    "let `serve` listen where Label Studio looks (HOST=0.0.0.0 for other machines and containers), and connect it by "
    "an address that Label Studio reaches: inside a container, localhost is the container itself"
)
WEBHOOK_CHECK = "webhook"
CREDENTIALS = "webhook credentials"
THROUGH = "webhook address"


def check_delivery(studio: LabelStudio, state: Fields, webhook: Webhook, engine: Engine) -> Checked[bool]:
    """Whether the annotation that was saved last arrived here."""
    project = int(state["id"])
    return judge_delivery(
        latest_annotation(studio, project),
        Journal(engine).newest(project, NEEDED_ACTIONS),
        project=project,
        since=webhook.changed,
        now=time.time(),
    )


def judge_delivery(
    saved: Latest | None, event: tuple[str, float] | None, *, project: int, since: float | None, now: float
) -> Checked[bool]:
    """What the two sides together tell.

    Args:
        saved: The annotation that Label Studio saved last.
        event: The newest event of an annotation in the journal, and when it came.
        project: The project's id.
        since: When the webhook was last changed: what was saved before need not have been sent.
        now: This moment; as all of these, in seconds since the epoch.
    """
    came = f"{event[0]} came {span(now - event[1])} ago" if event else "no event of an annotation ever came"
    if saved is None:
        return well(DELIVERY_CHECK, f"nothing is annotated yet, and {came}", value=True)
    told = f"annotation {saved.id} was saved {span(now - saved.updated)} ago; {came}"
    if event is not None and event[1] >= saved.updated - _CLOCKS_SECONDS:
        return well(DELIVERY_CHECK, told, value=True)
    fetch = f"python -m backend sync --project {project} fetches what did not come"
    if since is not None and saved.updated <= since:
        return doubtful(
            DELIVERY_CHECK,
            f"{told}, and nothing was saved since the webhook was last changed",
            remedy=f"save an annotation, and ask `doctor` again; {fetch}",
        )
    if event is None or (since is not None and event[1] < since):
        return failed(
            DELIVERY_CHECK, f"{told}: the webhook does not arrive", remedy=f"mend the failures above; {fetch}"
        )
    return doubtful(
        DELIVERY_CHECK,
        f"{told}: one event at least was lost, which Label Studio sends once and does not wait for",
        remedy=f"{fetch}, as `serve` does at its start",
    )


def connecting(state: Fields, url: str) -> str:
    """The command that brings a project to where it should be."""
    return f"python -m backend connect --project {state['id']} --url {shlex.quote(url)}"


def check_connection(studio: LabelStudio, state: Fields, *, url: str, serves: str | None) -> Checked[Fields]:
    """Whether the project is connected to this backend; gives the connection.

    Args:
        studio: Label Studio, which asks each backend of the project for its state first.
        state: The project's fields.
        url: This backend's address as Label Studio reaches it.
        serves: The version that it serves; None where that is not known.
    """
    listed = studio.backends(int(state["id"]))
    ours = [one for one in listed if _same(str(one["url"]), url)]
    others = [one for one in listed if one not in ours]
    if ours:
        beside = f"; also to {', '.join(str(one['url']) for one in others)}" if others else ""
        return well(CONNECTION_CHECK, f"the project is connected to {ours[0]['url']}{beside}", ours[0])
    alike = [one for one in others if serves and str(one.get("model_version") or "").startswith(serves)]
    if alike:
        return doubtful(
            CONNECTION_CHECK,
            f"the project is connected to {alike[0]['url']}, which serves {alike[0]['model_version']}, not to {url}",
            remedy=f"if Label Studio reaches this backend there, say so: --url {shlex.quote(str(alike[0]['url']))}",
            value=alike[0],
        )
    return _unconnected(takes_backend(studio, int(state["id"]), url), state, url=url, others=others)


def check_way(studio: LabelStudio, state: Fields, connection: Fields) -> Checked[bool]:
    """Whether Label Studio gets through to the backend, by what it found when it was asked a moment ago."""
    url = str(connection["url"])
    if connection["state"] == _CONNECTED:
        return well(WAY, f"Label Studio reaches {url}, and is let in", value=True)
    found = reach(studio, int(connection["id"]))
    why = f" ({found.reason})" if found.reason else ""
    match found.reach:
        case AddressReach.BLOCKED:
            return failed(WAY, f"Label Studio refuses {url}: it is a private address", remedy=_UNBLOCK)
        case AddressReach.REFUSED:
            brings = connection.get("basic_auth_user") if connection.get("auth_method") == "BASIC_AUTH" else None
            return failed(
                WAY,
                f"the backend at {url} does not let Label Studio in, which brings "
                f"{'another password or user name' if brings else 'no user name and password'}",
                remedy=f"{connecting(state, url)}, with BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
            )
        case AddressReach.UNREACHABLE:
            return failed(WAY, f"Label Studio does not reach {url}{why}", remedy=_LISTEN)
        case _:
            said = connection.get("error_message") or "it took longer than a second to answer /health"
            return failed(
                WAY,
                f"Label Studio reaches {url}, but does not use it: {said}",
                remedy="mend what it says (the log of `serve` has it, too), then open the project's Settings, Model",
            )


def check_title(state: Fields, connection: Fields, version: str) -> Checked[bool]:
    """Whether the connection bears the version as its title: by that Label Studio shows and sorts."""
    if connection["title"] != version:
        return failed(
            TITLE,
            f"the connection's title is {connection['title']!r}, not the version {version}: its boxes are not shown, "
            "and its scores not sorted by",
            remedy=connecting(state, str(connection["url"])),
        )
    return well(TITLE, f"the connection's title is the version, {version}", value=True)


def _same(one: str, other: str) -> bool:
    """Whether two addresses are one: Label Studio may have been told `localhost` where HOST says 127.0.0.1."""
    return same_origin(one, other) and httpx2.URL(one).path.rstrip("/") == httpx2.URL(other).path.rstrip("/")


def _unconnected(found: Reached, state: Fields, *, url: str, others: list[dict[str, Any]]) -> Checked[Fields]:
    there = f"but to {', '.join(str(one['url']) for one in others)}" if others else "nor to any other"
    start = f"the project is not connected to {url}, {there}"
    match found.reach:
        case AddressReach.BLOCKED:
            return failed(
                CONNECTION_CHECK,
                f"{start}; and Label Studio refuses that address, a private one",
                remedy=f"{_UNBLOCK}, then {connecting(state, url)}",
            )
        case AddressReach.UNREACHABLE:
            return failed(
                CONNECTION_CHECK,
                f"{start}; and Label Studio does not know the host of that address",
                remedy=f"{connecting(state, 'ADDRESS')}, with an address that Label Studio reaches",
            )
        case _:
            return failed(CONNECTION_CHECK, start, remedy=connecting(state, url))


def check_webhook(studio: LabelStudio, state: Fields, connection: Fields) -> Checked[Webhook]:
    """Whether the project sends the events of annotations to the backend; gives the webhook."""
    url = webhook_url(str(connection["url"]))
    mend = connecting(state, str(connection["url"]))
    ours = [one for one in webhooks(studio, int(state["id"])) if one.url.rstrip("/") == url]
    if not ours:
        return failed(WEBHOOK_CHECK, f"no webhook sends events to {url}: no correction is learnt from", remedy=mend)
    best = min(ours, key=lambda one: len(one.lacks({})))
    if lacking := best.lacks({}):
        return failed(WEBHOOK_CHECK, f"the webhook to {url} lacks {', '.join(lacking)}", remedy=mend, value=best)
    return well(
        WEBHOOK_CHECK, f"events go to {url}: {'all' if best.actions is None else ', '.join(sorted(best.actions))}", best
    )


def check_webhook_credentials(
    state: Fields,
    connection: Fields,
    webhook: Webhook,
    *,
    basic_auth: tuple[str, str] | None,
    known: Callable[[], str],
) -> Checked[bool]:
    """Whether the webhook brings what this backend asks for: the secret, or HTTP Basic, whichever there is."""
    try:
        secret = known()
    except SettingsError as error:
        return failed(CREDENTIALS, str(error), remedy=connecting(state, str(connection["url"])))
    wanted = webhook_headers(basic_auth=basic_auth, secret=secret)
    brought = [name for name, value in wanted.items() if webhook.headers.get(name) == value]
    if not wanted:
        return well(CREDENTIALS, "none are asked for: WEBHOOK_SECRET and BASIC_AUTH_USER are empty", value=True)
    if not brought:
        names = ["WEBHOOK_SECRET"] * bool(secret) + ["BASIC_AUTH_USER and BASIC_AUTH_PASS"] * (basic_auth is not None)
        said = ", ".join(f"{name} ({'another' if name in webhook.headers else 'missing'})" for name in wanted)
        return failed(
            CREDENTIALS,
            f"the webhook is refused (401), by its headers: {said}",
            remedy=f"{connecting(state, str(connection['url']))}, with {' and '.join(names)} as for `serve`",
        )
    return well(CREDENTIALS, f"the webhook is let in by its header {' and '.join(brought)}", value=True)


def check_let_through(studio: LabelStudio, state: Fields, webhook: Webhook) -> Checked[bool]:
    """Whether Label Studio sends events to that address at all; where it does not, it says so nowhere."""
    found = takes_webhook(studio, int(state["id"]), webhook.url)
    if found.reach is AddressReach.BLOCKED:
        return failed(THROUGH, f"Label Studio sends nothing to {webhook.url}: it is a private address", remedy=_UNBLOCK)
    if found.reach is AddressReach.UNREACHABLE:
        return failed(
            THROUGH,
            f"Label Studio does not know the host of {webhook.url}",
            remedy="connect the backend by an address that Label Studio reaches, and delete this webhook",
        )
    return well(THROUGH, f"Label Studio lets events through to {webhook.url}", value=True)
