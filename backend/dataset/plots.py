"""Bars as inline SVG: no plotting library, no script, and colours of the page's own theme, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

__all__ = ["bars"]

_WIDTH, _LEFT, _RIGHT, _STEP, _THICK = 520, 96, 62, 34, 18


def bars(rows: Mapping[str, Mapping[str, int]], parts: Sequence[str], *, title: str) -> Markup:
    """A bar for each row, its parts beside each other in one scale, and the sum at its end.

    Args:
        rows: Name of each bar, and how much each part of it is.
        parts: The parts, in order; each is a CSS class of the page.
        title: Read out to those who do not see the plot.
    """
    largest = max((sum(row.values()) for row in rows.values()), default=0) or 1
    span = _WIDTH - _LEFT - _RIGHT
    body = []
    for place, (name, row) in enumerate(rows.items()):
        top = place * _STEP + (_STEP - _THICK) / 2
        middle, at = top + _THICK / 2 + 4, float(_LEFT)
        body.append(f'<text class="name" x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        for part in parts:
            wide = span * row.get(part, 0) / largest
            if wide:
                tip = f"{name}, {part}: {row[part]}"
                body.append(
                    f'<rect class="{escape(part)}" x="{at:.1f}" y="{top}" width="{wide:.1f}" height="{_THICK}">'
                    f"<title>{escape(tip)}</title></rect>"
                )
                at += wide
        body.append(f'<text class="value" x="{at + 8:.1f}" y="{middle}">{sum(row.values())}</text>')
    # Every part was made here, and what came from outside was escaped where it went in.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {_WIDTH} {max(1, len(rows)) * _STEP}" role="img" aria-label="{escape(title)}">'
        + "".join(body)
        + "</svg>"
    )
