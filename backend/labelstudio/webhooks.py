"""A project's webhooks, and what they and all that Label Studio sends must bring to be let in by this backend."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backend.labelstudio.json_fields import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.labelstudio.client import LabelStudio

__all__ = [
    "LABEL_STUDIO_ENCODING",
    "NEEDED_ACTIONS",
    "SECRET_HEADER",
    "Webhook",
    "can_send",
    "create_webhook",
    "give_headers",
    "sent_credentials",
    "update_webhook",
    "webhook_headers",
    "webhook_url",
    "webhooks",
]

SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  a name
BROWSER_ENCODING = "utf-8"
LABEL_STUDIO_ENCODING = "latin-1"
"""Its `requests` writes credentials in Latin-1, and can send no letters beyond."""

NEEDED_ACTIONS = frozenset({"ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"})
"""Events that corrections are learnt from."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook of a project.

    Attributes:
        id: Label Studio's id of it.
        url: Where events go.
        headers: What they bring; kept out of `repr`, because some of it is secret.
        active: Whether it is switched on.
        payload: Whether events say more than that they happened.
        actions: The events that it is for; None for all.
        changed: When it was made or last changed, in seconds since the epoch; None where that is not known.
    """

    id: int
    url: str
    headers: Mapping[str, str] = field(repr=False)
    active: bool
    payload: bool
    actions: frozenset[str] | None
    changed: float | None = None

    def lacks(self, headers: Mapping[str, str]) -> list[str]:
        """What is missing for corrections to arrive, in words; empty when nothing is."""
        wrong = [f"the header {name}" for name, value in headers.items() if self.headers.get(name) != value]
        if not self.active:
            wrong.append("being switched on")
        if not self.payload:
            wrong.append("its payload")
        if self.actions is not None and not self.actions >= NEEDED_ACTIONS:
            wrong.append("events of annotations")
        return wrong


def webhook_url(backend: str) -> str:
    """Where a backend takes events; Label Studio makes the same of a connection's address."""
    return f"{backend.rstrip('/')}/webhook"


def webhook_headers(*, basic_auth: tuple[str, str] | None, secret: str) -> dict[str, str]:
    """What events must bring to be let in: the secret, HTTP Basic, both, or nothing."""
    headers = {SECRET_HEADER: secret} if secret else {}
    if basic_auth is not None:
        encoded = base64.b64encode(":".join(basic_auth).encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
    return headers


def can_send(user: str, password: str) -> bool:
    """Whether Label Studio can send these credentials.

    Example:
        >>> can_send("anna", "grün"), can_send("anna", "ключ")
        (True, False)
    """
    try:
        f"{user}:{password}".encode(LABEL_STUDIO_ENCODING)
    except UnicodeEncodeError:
        return False
    return True


def sent_credentials(user: str, password: str) -> tuple[bytes, ...]:
    """The credentials of HTTP Basic as they may arrive: as browsers send them, and as Label Studio does."""
    pair = f"{user}:{password}"
    encodings = (BROWSER_ENCODING, LABEL_STUDIO_ENCODING) if can_send(user, password) else (BROWSER_ENCODING,)
    return tuple(pair.encode(encoding) for encoding in encodings)


def webhooks(studio: LabelStudio, project: int | None) -> list[Webhook]:
    """The webhooks of a project, not those of its whole organisation; with None, all that the token's user may see."""
    which = {} if project is None else {"project": project}
    return [_webhook(one) for one in studio.call("GET", "/api/webhooks/", params=which)]


def create_webhook(studio: LabelStudio, project: int, url: str, headers: Mapping[str, str]) -> None:
    """Creates a webhook for all events."""
    body = {"project": project, "url": url, "headers": dict(headers), "send_payload": True}
    studio.call("POST", "/api/webhooks/", json=body | {"send_for_all_actions": True, "is_active": True})


def update_webhook(studio: LabelStudio, webhook: Webhook, headers: Mapping[str, str]) -> None:
    """Gives a webhook what it lacks: these headers beside its own, being active, its payload, the needed events."""
    # Label Studio forgets the events of a webhook when they are not said again (1.23.2).
    actions = [] if webhook.actions is None else sorted(webhook.actions | NEEDED_ACTIONS)
    body = {"headers": {**webhook.headers, **headers}, "is_active": True, "send_payload": True, "actions": actions}
    studio.call("PATCH", f"/api/webhooks/{webhook.id}/", json=body)


def give_headers(studio: LabelStudio, webhook: Webhook, headers: Mapping[str, str]) -> None:
    """Gives a webhook these headers beside its own, and leaves all else as it is."""
    body = {"headers": {**webhook.headers, **headers}, "actions": sorted(webhook.actions or ())}
    studio.call("PATCH", f"/api/webhooks/{webhook.id}/", json=body)


def _webhook(one: Mapping[str, Any]) -> Webhook:
    return Webhook(
        id=int(one["id"]),
        url=str(one["url"]),
        headers=dict(one.get("headers") or {}),
        active=bool(one["is_active"]),
        payload=bool(one["send_payload"]),
        actions=None if one["send_for_all_actions"] else frozenset(one["actions"]),
        changed=moment(one["updated_at"]) if one.get("updated_at") else None,
    )
