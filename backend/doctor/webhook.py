"""The webhook that corrections come by: whether it is there, lets itself in, and is let through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.doctor.connection import UNBLOCK, connecting
from backend.doctor.findings import Checked, Fields, failed, well
from backend.labelstudio.probing import Reach, takes_webhook
from backend.labelstudio.webhooks import Webhook, webhook_headers, webhook_url, webhooks

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["CREDENTIALS", "NAME", "THROUGH", "check_credentials", "check_let_through", "check_webhook"]

NAME = "webhook"
CREDENTIALS = "webhook credentials"
THROUGH = "webhook address"


def check_webhook(studio: LabelStudio, state: Fields, connection: Fields) -> Checked[Webhook]:
    """Whether the project sends the events of annotations to the backend; gives the webhook."""
    url = webhook_url(str(connection["url"]))
    mend = connecting(state, str(connection["url"]))
    ours = [one for one in webhooks(studio, int(state["id"])) if one.url.rstrip("/") == url]
    if not ours:
        return failed(NAME, f"no webhook sends events to {url}: no correction is learnt from", remedy=mend)
    best = min(ours, key=lambda one: len(one.lacks({})))
    if lacking := best.lacks({}):
        return failed(NAME, f"the webhook to {url} lacks {', '.join(lacking)}", remedy=mend, value=best)
    return well(NAME, f"events go to {url}: {'all' if best.actions is None else ', '.join(sorted(best.actions))}", best)


def check_credentials(
    state: Fields,
    connection: Fields,
    webhook: Webhook,
    *,
    basic_auth: tuple[str, str] | None,
    secret: str,
) -> Checked[bool]:
    """Whether the webhook brings what this backend asks for: the secret, or HTTP Basic, whichever there is."""
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
    if found.reach is Reach.BLOCKED:
        return failed(THROUGH, f"Label Studio sends nothing to {webhook.url}: it is a private address", remedy=UNBLOCK)
    if found.reach is Reach.UNREACHABLE:
        return failed(
            THROUGH,
            f"Label Studio does not know the host of {webhook.url}",
            remedy="connect the backend by an address that Label Studio reaches, and delete this webhook",
        )
    return well(THROUGH, f"Label Studio lets events through to {webhook.url}", value=True)
