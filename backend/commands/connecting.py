"""Connects a Label Studio project to this backend: makes what is missing, keeps what is there, and says both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.commands.running_backend import described, serving_version, version_for
from backend.errors import LabelConfigError, LabelStudioError, SetupError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import find_project, label_config
from backend.labelstudio.tabs import DOUBTFUL_FIRST, SCORE_MEANS, TABS, make_tabs, missing_tabs
from backend.labelstudio.webhooks import (
    Webhook,
    create_webhook,
    give_headers,
    update_webhook,
    webhook_headers,
    webhook_url,
    webhooks,
)
from backend.server.callers import SECRET_USER

if TYPE_CHECKING:
    from backend.labelstudio.tabs import Tab

__all__ = ["Connected", "Wish", "connect"]

_TITLE_LENGTHS = range(3, 51)
_CONNECTED = "CO"
# What Label Studio gives a project that was made without a label config, and the field of what was uploaded to it.
_EMPTY_CONFIG = "<View></View>"
_UNNAMED_FIELD = "$undefined$"
# The webhook that Label Studio makes beside a new connection.
_BARE_WEBHOOK = Webhook(id=0, url="", headers={}, active=True, payload=True, actions=None)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be connected.

    Attributes:
        project: Its id or title; a title that no project has makes one.
        url: The backend's address, as Label Studio reaches it.
        from_here: The backend's address, as this process reaches it; the same when empty.
        paged: Whether a task is a document of several pages, or one page. None keeps what the project has; in a new
            project, a task is one page.
        replace_config: Whether a label config that does not fit may be replaced, where nobody annotated yet.
        queue: Whether a project that was connected earlier gets the order of tasks and the tabs of a new one.
        basic_auth: User and password that the backend asks for.
        webhook_secret: The secret that it asks webhooks for, or will ask. This backend's webhooks in other projects get
            it, too. So does the connection, if it needs no other credentials: "Start training" brings only these.
    """

    project: str
    url: str
    from_here: str = ""
    paged: bool | None = None
    replace_config: bool = False
    queue: bool = False
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Connected:
    """What connecting has changed, and what it has left.

    Attributes:
        project: The project's id; None where a dry run did not make one.
        version: The version under which the backend serves this project.
        changes: What was changed, or would be; empty when all was as it should be.
        notes: What was left as it is, though it may be a mistake.
    """

    project: int | None
    version: str
    changes: tuple[str, ...]
    notes: tuple[str, ...]


def connect(studio: LabelStudio, wish: Wish, *, dry_run: bool = False) -> Connected:
    """Connects a project to this backend; safe to repeat, also after it was cut off.

    Label Studio sorts and samples by the scores of the version in the connection's title. So the title is the version
    under which the backend serves this project.

    Args:
        studio: Label Studio.
        wish: What is to be connected.
        dry_run: Whether to change nothing.

    Raises:
        SetupError: The backend is not running, or the project's label config neither fits nor may be replaced.
        LabelStudioError: Label Studio refused or did not answer.
    """
    work = _Work(studio, wish, dry_run=dry_run)
    serving_version(work.asked_at, basic_auth=wish.basic_auth)
    project = find_project(studio, wish.project)
    if project is None:
        project, config = work.create()
    else:
        config = work.config(project)
    version = version_for(work.asked_at, config, basic_auth=wish.basic_auth)
    if project is None:
        work.foretell(version)
    else:
        new = work.connection(project, version)
        work.webhook(project)
        if new or wish.queue:
            work.queue(project)
    return Connected(project=project, version=version, changes=tuple(work.changes), notes=tuple(work.notes))


class _Work:
    """One run of `connect`: each method puts one thing right, or only says what it would change."""

    def __init__(self, studio: LabelStudio, wish: Wish, *, dry_run: bool) -> None:
        self._studio = studio
        self._wish = wish
        self._dry_run = dry_run
        self._url = wish.url.rstrip("/")
        secret = wish.webhook_secret
        self._connection_auth = wish.basic_auth or ((SECRET_USER, secret) if secret else None)
        self._headers = webhook_headers(basic_auth=wish.basic_auth, secret=wish.webhook_secret)
        self.asked_at = (wish.from_here or wish.url).rstrip("/")
        self.changes: list[str] = []
        self.notes: list[str] = []

    def create(self) -> tuple[int | None, str]:
        """A project of that title, None in a dry run, and its label config."""
        title, config = self._wish.project, label_config(paged=bool(self._wish.paged))
        if len(title) not in _TITLE_LENGTHS:
            raise SetupError(f"Label Studio's titles have 3 to 50 characters, {title!r} has {len(title)}")

        def create() -> int:
            # Predictions are shown as the first draft of an annotation; without this they wait in a list beside it.
            return self._studio.create_project(
                title,
                config,
                show_collab_predictions=True,
                sampling=DOUBTFUL_FIRST,
                description=f"{SCORE_MEANS} {described(self._url)}",
            )

        kind = "documents of several pages" if self._wish.paged else "single pages"
        return self._change(f"project {title!r} made, for {kind}", create), config

    def config(self, project: int) -> str:
        """The label config that a project has, or gets."""
        state = self._studio.project(project)
        current = str(state.get("label_config") or "")
        reason = _unfit(current, paged=self._wish.paged)
        if not reason:
            return current
        empty = current.strip() in ("", _EMPTY_CONFIG)
        if not empty and not self._wish.replace_config:
            raise SetupError(f"project {project}: {reason} (--replace-config puts this program's own in its place)")
        wanted = label_config(paged=bool(self._wish.paged))
        self._check_replaceable(project, state, wanted, reason)
        self._change(
            f"label config {'set' if empty else 'replaced'}", partial(self._patch, project, label_config=wanted)
        )
        return wanted

    def connection(self, project: int, version: str) -> bool:
        """This backend among the project's connections, its version as title; others are left alone.

        Returns:
            Whether it was not among them yet.
        """
        listed = self._studio.backends(project)
        ours = [one for one in listed if _same(one["url"], self._url)]
        others = [str(one["url"]) for one in listed if not _same(one["url"], self._url)]
        if others:
            self.notes.append(f"the project has other backends, too: {', '.join(others)}")
        before = self._studio.project(project)
        for one in ours:
            self._renew(project, one, version)
        if not ours:
            self._change(self._connecting(version), partial(self._connect, project, version))
        self._show(project, before, version, titles={version, *(str(one["title"]) for one in ours)}, new=not ours)
        return not ours

    def queue(self, project: int) -> None:
        """Sorts the tasks by doubt, and makes the tabs that show them in that order."""
        if self._studio.project(project).get("sampling") != DOUBTFUL_FIRST:
            self._change(_ORDERED, partial(self._patch, project, sampling=DOUBTFUL_FIRST))
        if lacking := missing_tabs(self._studio, project):
            self._change(_made(lacking), partial(make_tabs, self._studio, project, lacking))

    def webhook(self, project: int) -> None:
        """The webhook that brings corrections, with the secret that lets it in."""
        url = webhook_url(self._url)
        ours = [one for one in webhooks(self._studio, project) if _same(one.url, url)]
        for one in ours:
            if lacking := one.lacks(self._headers):
                self._change(f"webhook given {', '.join(lacking)}", partial(self._give, one))
        if not ours and self._dry_run and any("connected as" in change for change in self.changes):
            self._foretell_webhook()
        elif not ours:
            self._change(f"webhook {url} made", partial(self._create_webhook, project, url))
        self._other_webhooks(url, {one.id for one in ours})

    def _other_webhooks(self, url: str, done: Collection[int]) -> None:
        """Gives the secret to webhooks of other projects: without it they would be refused from now on."""
        if not self._wish.webhook_secret:
            return
        for one in webhooks(self._studio, None):
            lacking = [name for name, value in self._headers.items() if one.headers.get(name) != value]
            if _same(one.url, url) and one.id not in done and lacking and one.active:
                what = f"webhook {one.id} of another project given the header {' and '.join(lacking)}"
                self._change(what, partial(give_headers, self._studio, one, self._headers))

    def foretell(self, version: str) -> None:
        """What would be changed in a project that a dry run did not make."""
        self.changes.append(self._connecting(version))
        self._foretell_webhook()
        self._other_webhooks(webhook_url(self._url), ())
        self.changes.append(_made(TABS))

    def _foretell_webhook(self) -> None:
        if lacking := _BARE_WEBHOOK.lacks(self._headers):
            self.changes.append(f"webhook given {', '.join(lacking)}")

    def _change(self, what: str, change: Callable[[], Any]) -> Any:
        """Notes a change and makes it; gives its result, or None in a dry run."""
        self.changes.append(what)
        return None if self._dry_run else change()

    def _check_replaceable(self, project: int, state: Mapping[str, Any], wanted: str, reason: str) -> None:
        if state.get("total_annotations_number"):
            raise SetupError(
                f"project {project}: {reason} (it has annotations, so the label config is not replaced: change it in "
                "Label Studio, Settings, Labeling Interface, or take another project)"
            )
        if state.get("task_number"):
            field, paged = bind(wanted)[0].field, bool(self._wish.paged)
            there = self._studio.call("GET", f"/api/projects/{project}/summary/")["common_data_columns"]
            if field not in there and (paged or _UNNAMED_FIELD not in there):
                raise SetupError(
                    f"project {project}: {reason} (its tasks have no field {field!r}, which this program's own label "
                    "config shows, so it is not replaced: take another project)"
                )

    def _connecting(self, version: str) -> str:
        return f"backend {self._url} connected as {version}"

    def _connect(self, project: int, version: str) -> None:
        self._studio.connect_backend(
            project,
            self._url,
            title=version,
            description=described(self._url),
            interactive=True,
            basic_auth=self._connection_auth,
        )

    def _renew(self, project: int, one: Mapping[str, Any], version: str) -> None:
        """Gives a connection its title and its credentials, as far as it lacks them."""
        lacking = [f"the title {version}, until now {one['title']}"] if one["title"] != version else []
        reached = one["state"] == _CONNECTED
        if self._connection_auth is not None:
            named = one.get("auth_method") == "BASIC_AUTH" and one.get("basic_auth_user") == self._connection_auth[0]
            # Label Studio never shows a password: a wrong one is noticed only where the backend refuses it.
            if not (named and one.get("basic_auth_pass_is_set") and reached):
                given = "the credentials of BASIC_AUTH_USER" if self._wish.basic_auth else "the secret of webhooks"
                lacking.append(given)
        description = ""
        if reached and not one.get("description"):
            description = described(self._url)
            lacking.append("the address of the dashboard")
        if lacking:
            where = int(one["id"]), project, str(one["url"])
            renew = partial(self._studio.rename_backend, *where, description=description)
            self._change(
                f"connection given {' and '.join(lacking)}",
                partial(renew, title=version, basic_auth=self._connection_auth),
            )
        elif not reached:
            raise SetupError(
                f"Label Studio does not reach the backend at {one['url']} ({one.get('error_message') or 'no answer'}): "
                "is that its address for Label Studio, and was that started with ML_BLOCK_LOCAL_IP=false?"
            )

    def _show(self, project: int, before: Mapping[str, Any], version: str, *, titles: set[str], new: bool) -> None:
        """The version that the project shows and sorts by: Label Studio moves it along with the title."""
        shown = str(before.get("model_version") or "")
        if not before.get("show_collab_predictions"):
            self.notes.append(
                "the project does not begin annotations with predictions: see Settings, Annotation, Live Predictions"
            )
        elif not shown and not new:
            self._change(
                f"project shows the predictions of {version}", partial(self._patch, project, model_version=version)
            )
        elif shown and shown not in titles:
            self.notes.append(f"the project shows the predictions of {shown}: choose {version} in Settings, Annotation")

    def _patch(self, project: int, **fields: Any) -> None:
        self._studio.call("PATCH", f"/api/projects/{project}/", json=fields)

    def _give(self, webhook: Webhook) -> None:
        update_webhook(self._studio, webhook, self._headers)

    def _create_webhook(self, project: int, url: str) -> None:
        try:
            create_webhook(self._studio, project, url, self._headers)
        except LabelStudioError as error:
            raise SetupError(
                f"the webhook {url} is not taken, so that no correction would arrive: {error} (a loopback or private "
                "address needs a Label Studio that was started with SSRF_PROTECTION_ENABLED=false)"
            ) from error


_ORDERED = "tasks come in the order of their doubt (uncertainty sampling)"


def _made(tabs: Sequence[Tab]) -> str:
    return f"tabs made: {', '.join(tab.title for tab in tabs)}"


def _unfit(config: str, *, paged: bool | None) -> str:
    """Why a label config is not what is wished for; empty when it is."""
    try:
        shows_list = bind(config)[0].paged
    except LabelConfigError as error:
        return str(error)
    if paged in (None, shows_list):
        return ""
    shown, wanted = ("a list of pages", "one page") if shows_list else ("one page", "a list of pages")
    return f"its label config shows {shown} a task, not {wanted}"


def _same(one: object, other: str) -> bool:
    return str(one).rstrip("/") == other.rstrip("/")
