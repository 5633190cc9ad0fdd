"""The wall's page, its crops and pictures, and the way of decisions in; nothing of it for strangers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from backend.errors import LabelStudioError, RequestError
from backend.labelstudio.protocol import parse_body
from backend.labelstudio.revising import People, people
from backend.markup import page_headers, render
from backend.server.callers import refusal
from backend.server.wall.wall_decisions import Decided, Decision, Decisions, is_identity, is_name
from backend.server.wall.wall_queue import CropItem, Looks, alike_first, crops_on_page, in_likeness, queue, totals
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio

__all__ = ["Wall", "wall_pages"]

DOUBT, LIKENESS = "doubt", "likeness"
_MOST = 200
_SORTED = 400
"""Crops that likeness orders, the most doubtful: each has to be looked at first."""
_HEADER = "X-Review"
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_MOST_DIGITS = 19
_OPEN = (
    "the crop wall shows contracts and writes annotations, and this backend asks nobody who they are: set "
    "BASIC_AUTH_USER and BASIC_AUTH_PASS, or open the wall on the machine itself"
)


@dataclass(frozen=True, kw_only=True)
class Wall:
    """What the wall stands on.

    Attributes:
        engine: The ledger's database.
        label_studio: Its address, for links.
        studio: Gives Label Studio's API by project.
        projects: Gives the projects that the ledger knows.
        looks: How crops look.
        decisions: Makes decisions, and takes them back.
        guarded: Whether requests have to bring credentials.
    """

    engine: Engine
    label_studio: str
    studio: Callable[[str], LabelStudio]
    projects: Callable[[], list[int]]
    looks: Looks
    decisions: Decisions
    guarded: bool


def wall_pages(wall: Wall) -> Blueprint:
    """The routes below `/review`."""
    pages = Blueprint("wall", __name__)

    @pages.before_request
    def check() -> Response | None:
        if not wall.guarded and (not _is_loopback(request.remote_addr) or _is_passed_on()):
            return refusal(403, "Forbidden", _OPEN)
        if request.method == "POST" and not _is_of_our_page():
            return refusal(403, "Forbidden", "this request does not come from the crop wall's own page: reload it")
        return None

    @pages.get("/review")
    def page() -> Response:
        return Response(_page(wall), content_type="text/html; charset=utf-8", headers=page_headers())

    @pages.get("/review/wall.js")
    def script() -> Response:
        text = (files("backend.server.wall") / "wall.js").read_text(encoding="utf-8")
        return Response(text, content_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @pages.get("/review/crops")
    def crops() -> Any:
        project, label = _number("project"), _one_of("class", MARKS)
        every = request.args.get("every") == "1"
        found = queue(wall.engine, project=project, label=label, every=every)
        shown = _ordered(found, wall.looks)[: min(_number("most", 100), _MOST)]
        return jsonify({"total": len(found), "crops": [one.as_json() for one in shown]})

    @pages.get("/review/crop")
    def crop() -> Response:
        item = _item(wall.engine)
        if item is None:
            return refusal(404, "NotFound", "the ledger has no such crop: reload the wall")
        jpeg = wall.looks.around(item) if request.args.get("around") == "1" else wall.looks.get(item).jpeg
        return Response(jpeg, content_type="image/jpeg")

    @pages.post("/review/decisions")
    def decide() -> Any:
        body = parse_body(request.get_data())
        told, reviewer, project = body.get("decisions"), body.get("reviewer"), body.get("project")
        if not isinstance(told, list) or not is_identity(project) or not (reviewer is None or is_identity(reviewer)):
            raise RequestError("the body names project, reviewer and a list of decisions")
        made = wall.decisions.make(project, [Decision.read(one) for one in told], reviewer=reviewer)
        return jsonify({"results": [vars(one) for one in made]})

    @pages.post("/review/undo")
    def undo() -> Any:
        told = parse_body(request.get_data()).get("ids")
        if not isinstance(told, list) or not all(map(is_name, told)) or len(told) > _MOST:
            raise RequestError("the body names the ids of decisions")
        # The last one first: what it found is what the one before had left.
        made: list[Decided] = [wall.decisions.undo(one) for one in reversed(told)]
        return jsonify({"results": [vars(one) for one in made]})

    return pages


def _page(wall: Wall) -> str:
    known = wall.projects()
    asked = _number("project", 0)
    trouble, reviewers = "", People(names={}, self=None)
    titles = {one: f"Project {one}" for one in known}
    living = known
    try:
        studio = wall.studio(str(asked or next(iter(known), 0)))
        reviewers = people(studio)
        answer = studio.call("GET", "/api/projects/", params={"page_size": 1000})
        listed = {int(one["id"]): str(one["title"]) for one in answer["results"]}
        living = [one for one in known if one in listed or answer.get("next")]
        titles |= {one: f"Project {one} (not in Label Studio)" for one in known if one not in living}
        titles |= {one: title for one, title in listed.items() if one in titles}
    except LabelStudioError as error:
        trouble = str(error)
    project = asked or _to_begin_with(wall.engine, living or known)
    waiting = totals(wall.engine, project=project)
    label = _one_of("class", MARKS, max(MARKS, key=lambda name: waiting[name]))
    return render(
        "wall.html",
        "backend.server.wall",
        "backend.server",
        here="/review",
        label_studio=wall.label_studio,
        projects=dict(sorted(titles.items(), key=lambda one: (one[0] not in living, one[1].casefold(), one[0]))),
        project=project,
        label=label,
        sort=_one_of("sort", (DOUBT, LIKENESS), DOUBT),
        every=request.args.get("every") == "1",
        like=request.args.get("like", ""),
        totals=waiting,
        others=[name for name in MARKS if waiting[name] and name != label],
        marks=MARKS,
        people=dict(sorted(reviewers.names.items(), key=lambda one: one[1].casefold())),
        own=reviewers.self,
        trouble=trouble,
        header=_HEADER,
    )


def _to_begin_with(engine: Engine, projects: Sequence[int]) -> int:
    """The first project where something waits; else the first, and 0 where there is none."""
    waits = (one for one in projects if any(totals(engine, project=one).values()))
    return next(waits, next(iter(projects), 0))


def _ordered(found: list[CropItem], looks: Looks) -> list[CropItem]:
    like = request.args.get("like")
    if like:
        anchor = next((one for one in found if one.key == like), None)
        if anchor is None:
            raise RequestError("the crop that others are to look like is not on the wall any more: reload it")
        return [*alike_first(found[:_SORTED], looks, to=anchor), *found[_SORTED:]]
    if _one_of("sort", (DOUBT, LIKENESS), DOUBT) == DOUBT:
        return found
    return [*in_likeness(found[:_SORTED], looks), *found[_SORTED:]]


def _item(engine: Engine) -> CropItem | None:
    project, task, page = (_number(name) for name in ("project", "task", "page"))
    region = request.args.get("region", "")
    found = crops_on_page(engine, project=project, task=task, page=page)
    return next((one for one in found if one.region == region), None)


def _is_of_our_page() -> bool:
    """Whether a request can only come from a page of this server: no other may send the header, or JSON.

    A browser asks the server before it sends either elsewhere, and this one never says yes.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    return (
        request.headers.get(_HEADER) == "1"
        and request.mimetype == "application/json"
        and site in (None, "same-origin")
        and (origin is None or urlsplit(origin).netloc == request.host)
    )


def _is_loopback(address: str | None) -> bool:
    try:
        return ip_address(address or "").is_loopback
    except ValueError:
        return False


def _is_passed_on() -> bool:
    """Whether a proxy sends the request for somebody else: it may stand on this machine, and its clients elsewhere."""
    return any(name in request.headers for name in _OF_PROXIES)


def _number(name: str, otherwise: int | None = None) -> int:
    text = request.args.get(name, "")
    if not text and otherwise is not None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) < 2**63):
        raise RequestError(f"{name} is no number")
    return int(text)


def _one_of(name: str, known: tuple[str, ...], otherwise: str | None = None) -> str:
    text = request.args.get(name) or otherwise
    if text not in known:
        raise RequestError(f"{name} is one of {', '.join(known)}")
    return text
