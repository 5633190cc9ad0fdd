"""The project's connection to this backend: whether there is one, whether Label Studio gets through, and its title."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import httpx2

from backend.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.labelstudio.connections import same_origin
from backend.labelstudio.probing import Reach, reach, takes_backend

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.probing import Reached

__all__ = ["NAME", "TITLE", "UNBLOCK", "WAY", "check_connection", "check_title", "check_way", "connecting"]

NAME = "connection"
WAY = "way to the backend"
TITLE = "title"
UNBLOCK = "start Label Studio with ML_BLOCK_LOCAL_IP=false SSRF_PROTECTION_ENABLED=false"
"""The way out where Label Studio refuses private addresses: the first for backends, the second for webhooks."""
_CONNECTED = "CO"
_LISTEN = (
    "let `serve` listen where Label Studio looks (HOST=0.0.0.0 for other machines and containers), and connect it by "
    "an address that Label Studio reaches: inside a container, localhost is the container itself"
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
        return well(NAME, f"the project is connected to {ours[0]['url']}{beside}", ours[0])
    alike = [one for one in others if serves and str(one.get("model_version") or "").startswith(serves)]
    if alike:
        return doubtful(
            NAME,
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
        case Reach.BLOCKED:
            return failed(WAY, f"Label Studio refuses {url}: it is a private address", remedy=UNBLOCK)
        case Reach.REFUSED:
            brings = connection.get("basic_auth_user") if connection.get("auth_method") == "BASIC_AUTH" else None
            return failed(
                WAY,
                f"the backend at {url} does not let Label Studio in, which brings "
                f"{'another password or user name' if brings else 'no user name and password'}",
                remedy=f"{connecting(state, url)}, with BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`",
            )
        case Reach.UNREACHABLE:
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
        case Reach.BLOCKED:
            return failed(
                NAME,
                f"{start}; and Label Studio refuses that address, a private one",
                remedy=f"{UNBLOCK}, then {connecting(state, url)}",
            )
        case Reach.UNREACHABLE:
            return failed(
                NAME,
                f"{start}; and Label Studio does not know the host of that address",
                remedy=f"{connecting(state, 'ADDRESS')}, with an address that Label Studio reaches",
            )
        case _:
            return failed(NAME, start, remedy=connecting(state, url))
