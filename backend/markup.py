"""HTML pages in one frame, served or kept as a file: escaped everywhere, and with a policy that lets nothing in."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["moment", "page_headers", "render"]

_STYLE = "frame.css"
_LONGEST_ENDING = 5


@cache
def _environment(*packages: str) -> Environment:
    """Templates of some packages, and the frames behind them: `base.html` of all pages, `kept.html` of reports."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(one) for one in (*packages, "backend")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "named": _named, "share": _share, "seconds": _seconds}
    environment.globals |= {"style": _style, "file_policy": _file_policy}
    return environment


def render(template: str, *packages: str, **values: Any) -> str:
    """A page.

    Args:
        template: Its name; it extends `base.html`, or `kept.html` where it is a report with a style of its own.
        packages: Whose templates are looked through, before the frames.
        values: What the template asks for; what it asks for and does not get is an error.
    """
    return _environment(*packages).get_template(template).render(**values)


def _style() -> str:
    """The style of every page, as it stands in it; nothing in it is from outside."""
    environment = _environment()
    assert environment.loader is not None  # noqa: S101  it was made with one
    return environment.loader.get_source(environment, _STYLE)[0]


def _policy(*, scripts: str) -> str:
    # The style stands in the page, so that a page kept as a file looks the same: its hash lets it in, and it alone.
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' data:; {scripts}base-uri 'none'; "
        "form-action 'self'"
    )


def _file_policy() -> str:
    return _policy(scripts="")


def page_headers() -> dict[str, str]:
    """Headers of a served page: its own style, scripts and pictures of this server are let in, and nothing else."""
    policy = _policy(scripts="script-src 'self'; connect-src 'self'; ") + "; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }


def moment(seconds: float) -> str:
    """A moment, such as `2026-11-28 09:30 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _named(name: str) -> Markup:
    """A file's name beside other words: its letters run in their own direction, and turn nothing around them.

    In a name such as "عقد 114.pdf" the ending would be torn from its dot, and stand before the number.
    """
    stem, dot, ending = name.rpartition(".")
    whole = not stem or not ending or len(ending) > _LONGEST_ENDING
    return Markup("<bdi>{}</bdi>{}").format(*((name, "") if whole else (stem, dot + ending)))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
