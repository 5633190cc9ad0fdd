"""How Label Studio's REST API is asked: with either kind of token, and with its refusals put in words."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import httpx2

from backend.errors import LabelStudioError
from backend.outgoing import Connector, Transport, refuse_packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["ApiAccess"]

# A bearer lives 300 s; renewed earlier, it does not run out between the check and the request that carries it.
_BEARER_SECONDS = 240.0
# How many times `timeout` a whole answer may take: large ones come in many pieces, each of which may take as long.
_PATIENCE = 10

_WAYS_OUT = {
    400: "the request was not accepted; the reason in brackets says what to change",
    401: "check LABEL_STUDIO_API_KEY; a new organisation accepts personal access tokens only, not legacy tokens",
    403: "the token's user may not do this; if it is the backend's address, Label Studio needs ML_BLOCK_LOCAL_IP=false",
    404: "check LABEL_STUDIO_URL and the id",
}


class ApiAccess:
    """One Label Studio, reached with one token; safe to share between threads.

    A personal access token (a JWT) is exchanged for short-lived bearers, renewed as needed; any other token is sent as
    a legacy one. Without a token nothing is sent, and Label Studio answers only what it answers to anybody.

    Args:
        url: Its address, such as `http://localhost:8080`.
        token: Legacy token, personal access token, or "".
        timeout: Seconds that Label Studio may be silent; ten times as long for a whole answer.
        most_bytes: Largest answer; a hundred tasks with brushed regions have some megabytes.
        transport: Replaces the network, for tests.
        clock: Seconds that never go back; decides when a bearer is renewed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        most_bytes: int = 256 << 20,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = url.rstrip("/")
        self._token = token
        self._clock = clock
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._transport = transport
        self._lock = threading.Lock()
        self._bearer = ""
        self._renew_at = 0.0
        self._refused: tuple[float, LabelStudioError] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if "_http" in vars(self):
            self._http.close()

    @cached_property
    def _http(self) -> httpx2.Client:
        # Made when first needed: it reads the certificates for a quarter of a second, and headers alone need none.
        # Not by a proxy of the environment's: pages and tokens would leave by a way that nobody chose for them.
        hooks = {"response": [refuse_packed]}
        transport = self._transport or Transport(Connector())
        return httpx2.Client(timeout=self._timeout, transport=transport, trust_env=False, event_hooks=hooks)

    @property
    def has_token(self) -> bool:
        """Whether there is a token to send."""
        return bool(self._token)

    def headers(self) -> dict[str, str]:
        """Authorisation for this Label Studio, and for no other host.

        Raises:
            LabelStudioError: A personal access token could not be exchanged.
        """
        if not self._token:
            return {}
        if self._token.count(".") != 2:
            return {"Authorization": f"Token {self._token}"}
        asked = self._clock()
        with self._lock:
            if self._refused and self._refused[0] >= asked:
                # Whoever waited here for one who was refused would wait as long again, one after the other.
                raise LabelStudioError(str(self._refused[1]), answered=self._refused[1].answered)
            if self._clock() >= self._renew_at:
                try:
                    self._bearer = self._exchange()
                except LabelStudioError as error:
                    self._refused = self._clock(), error
                    raise
                self._renew_at = self._clock() + _BEARER_SECONDS
            return {"Authorization": f"Bearer {self._bearer}"}

    def call(self, method: str, path: str, **request: Any) -> Any:
        """One authorised request; gives the parsed JSON of the answer."""
        return self._answer(method, path, headers=self.headers(), **request)

    def _exchange(self) -> str:
        """Trades the personal access token for a bearer."""
        path = "/api/token/refresh/"
        answer = self._answer("POST", path, json={"refresh": self._token})
        bearer = answer.get("access") if isinstance(answer, dict) else None
        if not (isinstance(bearer, str) and bearer.isascii() and bearer.isprintable()):
            raise LabelStudioError(f"{self.base_url} answered POST {path} with no token: is it a Label Studio?")
        return bearer

    def _answer(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = self._whole(method, path, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LabelStudioError(
                f"Label Studio at {self.base_url} did not answer {method} {path} ({type(error).__name__}): "
                "is it running, and is LABEL_STUDIO_URL its address?"
            ) from error
        if response.is_redirect:
            target = response.headers.get("location", "elsewhere")
            raise LabelStudioError(
                f"{self.base_url} sent {method} {path} on to {target}: set LABEL_STUDIO_URL to the final address",
                answered=response.status_code,
            )
        if response.is_error:
            way_out = _WAYS_OUT.get(response.status_code, "see Label Studio's own log")
            raise LabelStudioError(
                f"Label Studio answered {response.status_code} to {method} {path}{_reason(response)}: {way_out}",
                answered=response.status_code,
            )
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise LabelStudioError(
                f"{self.base_url} answered {method} {path} with something that is not JSON: is it a Label Studio?",
                answered=response.status_code,
            ) from error

    def _whole(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """An answer, read to its end or to a limit; raises what the client raises."""
        give_up = self._clock() + _PATIENCE * float(request.get("timeout", self._timeout))
        body = bytearray()
        with self._http.stream(method, self.base_url + path, **request) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > self._most_bytes or self._clock() > give_up:
                    much = f"more than {self._most_bytes} bytes" if self._clock() <= give_up else "no end"
                    way_out = "is LABEL_STUDIO_URL its address, and is it well?"
                    raise LabelStudioError(f"{self.base_url} answered {method} {path} with {much}: {way_out}")
        kept = {name: value for name, value in response.headers.items() if name == "location"}
        return httpx2.Response(response.status_code, headers=kept, content=bytes(body), request=response.request)


def _reason(response: httpx2.Response) -> str:
    """The reason in Label Studio's own words, shortened, when it gave one."""
    try:
        body = response.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    reason = body.get("validation_errors") or body.get("detail") or body.get("error") or ""
    return f" ({str(reason)[:800]})" if reason else ""
