"""The backend that is running: whether it serves, and under which version it serves a project."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx2

from backend.errors import SetupError
from backend.outgoing import certificates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.settings import Settings

__all__ = ["address_of", "described", "health", "serving_version", "takes_webhooks", "version_for"]

_ANSWER_SECONDS = 10.0
_LOAD_SECONDS = 60.0
_LOOK_SECONDS = 0.5

_UNAUTHORIZED = 401
_EVERY_INTERFACE = ("0.0.0.0", "::", "")  # noqa: S104 - read, not bound

BasicAuth = tuple[str, str] | None


def address_of(settings: Settings) -> str:
    """Where `serve` listens with these settings."""
    host = "localhost" if settings.host in _EVERY_INTERFACE else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def described(url: str) -> str:
    """What Label Studio shows beside a connection: where people find this backend's own pages."""
    return f"Dashboard: {url.rstrip('/')}/  Crop wall: {url.rstrip('/')}/review"


def health(url: str, *, basic_auth: BasicAuth = None) -> dict[str, Any]:
    """What the backend at `url` says of itself: `model_state`, `model_version`, and the rest of /health.

    Raises:
        SetupError: It is not running, does not let these credentials in, or is something else.
    """
    state = _ask("GET", url, "/health", basic_auth)
    if state.get("model_state") not in ("ready", "failed", "loading"):
        raise SetupError(f"{url} answers, but is another program: name this backend with --url")
    return state


def serving_version(url: str, *, basic_auth: BasicAuth = None, seconds: float = _LOAD_SECONDS) -> str:
    """The version of the model that the backend at `url` serves, once it is loaded.

    Args:
        url: The backend's address.
        basic_auth: What it asks for.
        seconds: How long to wait for a model that is still being loaded.

    Raises:
        SetupError: It is not running, does not let these credentials in, is something else, or has no model.
    """
    give_up = time.monotonic() + seconds
    while True:
        state = health(url, basic_auth=basic_auth)
        match state["model_state"]:
            case "ready":
                return str(state["model_version"])
            case "failed":
                raise SetupError(f"the backend at {url} has no model to serve: {state.get('model_error')}")
            case "loading" if time.monotonic() < give_up:
                time.sleep(_LOOK_SECONDS)
            case _:
                raise SetupError(f"the backend at {url} is still loading its model after {seconds:.0f} s: try again")


def version_for(url: str, label_config: str, *, basic_auth: BasicAuth = None) -> str:
    """The version under which the backend serves a project of this label config, whose thresholds are part of it.

    Raises:
        SetupError: It is not running, or can do nothing with this label config.
    """
    # As Label Studio introduces a project, but without an id or a token: nothing is to be remembered of it.
    answer = _ask("POST", url, "/setup", basic_auth, json={"schema": label_config})
    return str(answer.get("model_version") or "") or serving_version(url, basic_auth=basic_auth)


def takes_webhooks(url: str, *, headers: Mapping[str, str] | None = None) -> bool:
    """Whether the backend at `url` lets a webhook in that brings these headers; nothing is sent to it.

    Raises:
        SetupError: It is not running.
    """
    return _request("OPTIONS", url, "/webhook", None, headers=dict(headers or {})).status_code != _UNAUTHORIZED


def _ask(method: str, url: str, path: str, basic_auth: BasicAuth, **request: Any) -> dict[str, Any]:
    answer = _request(method, url, path, basic_auth, **request)
    if answer.status_code == _UNAUTHORIZED:
        raise SetupError(
            f"the backend at {url} wants other credentials: set BASIC_AUTH_USER and BASIC_AUTH_PASS as for `serve`"
        )
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise SetupError(f"{url} answers, but is another program: name this backend with --url")
    if answer.is_error:
        raise SetupError(
            f"the backend at {url} answered {answer.status_code} to {path}: {body.get('message') or 'no reason given'}"
        )
    return body


def _request(method: str, url: str, path: str, basic_auth: BasicAuth, **request: Any) -> httpx2.Response:
    try:
        return httpx2.request(
            method,
            url.rstrip("/") + path,
            auth=basic_auth,
            timeout=_ANSWER_SECONDS,
            verify=certificates(),
            trust_env=False,
            **request,
        )
    except httpx2.UnsupportedProtocol as error:
        raise SetupError(
            f"{url!r} is no address of a backend: it begins with http:// or https://, such as http://localhost:9090"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise SetupError(
            f"no backend answers at {url} ({type(error).__name__}): start it with `serve`, or name its address with "
            "--url (as Label Studio reaches it) and --from-here (as this machine reaches it)"
        ) from error
