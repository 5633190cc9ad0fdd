"""What the loop found, as a terminal table and as plots: corrections a page and F1, round by round, arm by arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.annotator import KINDS
from benchmarks.queue_gain import AIM as F1_AIM
from benchmarks.queue_gain import ORDERS

__all__ = ["AIM", "F1_AIM", "Round", "closing_lines", "fall", "pages_until", "plot", "table"]

AIM = 2 / 3
"""Share by which corrections a page are to fall from the first round to the last, in the arm that has everything."""
_NAME = 16
_COLOURS = ("#0f766e", "#c2410c", "#6b7280", "#7e22ce", "#1d4ed8", "#a16207")
_WIDTH, _HEIGHT, _LEFT, _TOP, _FLOOR = 430, 320, 48, 30, 270


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of one arm, as plain JSON has it.

    Attributes:
        arm: Its name.
        number: From 1.
        annotated: What the annotator did on the round's new pages, and what served then.
        trained: What came of the retraining after it.
        measured: What the model that serves from then on does on the held-out pages.
    """

    arm: str
    number: int
    annotated: Mapping[str, Any]
    trained: Mapping[str, Any]
    measured: Mapping[str, Any]

    @property
    def corrections(self) -> float:
        """Corrections a page, on the round's new pages."""
        return _a_page(self.annotated)


def fall(first: float, last: float) -> float | None:
    """Share by which a figure fell; None where there was nothing to fall."""
    return 1 - last / first if first > 0 else None


def table(number: int, rounds: Sequence[Round], before: Mapping[str, Any]) -> str:
    """The lines of one round: each arm's corrections a page by kind, and how its model does on the held-out pages."""
    own = [one for one in rounds if one.number == number]
    pages, held_out = own[0].annotated["pages"], before["pages"]
    lines = [
        f"round {number}: corrections a page on {pages} new pages; then, retrained, on {held_out} held-out pages",
        f"{'':<{_NAME}}{'all':>7}" + "".join(f"{kind:>12}" for kind in KINDS) + f"{'held out':>11}{'F1':>7}  gate",
    ]
    if number == 1:
        lines.append(
            f"{'before':<{_NAME}}{'':>{7 + 12 * len(KINDS)}}{_a_page(before):>11.2f}{before['macro_f1']:>7.3f}"
        )
    return "\n".join([*lines, *(_line(one) for one in own)])


def _line(one: Round) -> str:
    kinds = "".join(f"{one.annotated['work'][kind] / one.annotated['pages']:>12.2f}" for kind in KINDS)
    after = f"{_a_page(one.measured):>11.2f}{one.measured['macro_f1']:>7.3f}"
    reasons = one.trained["reasons"] if one.trained["outcome"] == "refused" else ()
    line = f"{one.arm:<{_NAME}}{one.corrections:>7.2f}{kinds}{after}  {one.trained['outcome']}"
    return "\n".join([line, *(f"{'':<{_NAME}}  - {reason}" for reason in reasons)])


def _a_page(facts: Mapping[str, Any]) -> float:
    return float(sum(facts["work"].values()) / facts["pages"])


def closing_lines(rounds: Sequence[Round], before: Mapping[str, Any]) -> Iterator[str]:
    """How far corrections fell in each arm, and whether the aim was reached in the first.

    Of an order of the tasks: after how many corrected pages macro F1 was reached. It chooses hard pages, so that its
    corrections a page tell nothing.
    """
    for name, own in _by_arm(rounds).items():
        if name in ORDERS:
            until = pages_until(name, rounds, before)
            corrected = sum(one.annotated["pages"] for one in own)
            best = max(one.measured["macro_f1"] for one in own)
            told = f"not reached with {corrected} (best {best:.3f})" if until is None else f"{until}"
            marks = sum(sum(one.annotated["work"].values()) for one in own)
            yield f"{name}: corrected pages until F1 {F1_AIM:.2f}: {told}; {marks} corrections of {corrected} pages"
            continue
        last = own[-1]
        on_new = _fell(own[0].corrections, last.corrections)
        on_held_out = _fell(_a_page(before), _a_page(last.measured))
        f1 = f"F1 {before['macro_f1']:.3f} → {last.measured['macro_f1']:.3f}"
        yield f"{name}: corrections a page {on_new}; on the held-out pages {on_held_out}, {f1}"
    name, own = next(iter(_by_arm(rounds).items()))
    if name in ORDERS:
        return
    fell = fall(own[0].corrections, own[-1].corrections)
    told = "nothing to correct in the first round" if fell is None else f"{100 * fell:.0f} %"
    verdict = "reached" if fell is not None and fell >= AIM else "MISSED"
    yield (
        f"aim, in the arm {name!r}: corrections a page fall by two thirds from round 1 to round {own[-1].number}: "
        f"{told}, {verdict}"
    )


def pages_until(order: str, rounds: Sequence[Round], before: Mapping[str, Any]) -> int | None:
    """Pages that an order had corrected when macro F1 on the held-out pages first was `F1_AIM`; None: it never was."""
    if before["macro_f1"] >= F1_AIM:
        return 0
    corrected = 0
    for one in _by_arm(rounds).get(order, ()):
        corrected += int(one.annotated["pages"])
        if one.measured["macro_f1"] >= F1_AIM:
            return corrected
    return None


def _fell(first: float, last: float) -> str:
    share = fall(first, last)
    return f"{first:.2f} → {last:.2f}" + ("" if share is None else f" ({-100 * share:+.0f} %)")


def _by_arm(rounds: Sequence[Round]) -> dict[str, list[Round]]:
    names = dict.fromkeys(one.arm for one in rounds)
    return {name: sorted((one for one in rounds if one.arm == name), key=lambda one: one.number) for name in names}


def plot(rounds: Sequence[Round], before: Mapping[str, Any]) -> str:
    """Two plots side by side as one SVG: corrections on each round's new pages, and F1 on the held-out ones."""
    arms = _by_arm(rounds)
    work = {name: [(one.number, one.corrections) for one in own] for name, own in arms.items()}
    f1 = {
        name: [(0, before["macro_f1"]), *((one.number, one.measured["macro_f1"]) for one in own)]
        for name, own in arms.items()
    }
    most = max(value for points in work.values() for _, value in points)
    first = _panel("corrections a page, new pages", work, top=max(most, 1e-9) * 1.1, left=0)
    second = _panel("macro F1 at IoU .5, held-out pages", f1, top=1.0, left=_WIDTH)
    names = "".join(
        f'<rect x="{_LEFT + 140 * place}" y="{_HEIGHT - 12}" width="14" height="4" fill="{_COLOURS[place]}"/>'
        f'<text x="{_LEFT + 18 + 140 * place}" y="{_HEIGHT - 6}">{escape(name)}</text>'
        for place, name in enumerate(arms)
    )
    style = "text{font:12px sans-serif;fill:#374151}.l{fill:none;stroke-width:2}.g{stroke:#d1d5db}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="The loop, round by round"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="white"/>{first}{second}{names}</svg>\n'
    )


def _panel(title: str, lines: Mapping[str, Sequence[tuple[int, float]]], *, top: float, left: int) -> str:
    numbers = sorted({number for points in lines.values() for number, _ in points})
    span = max(numbers[-1] - numbers[0], 1)

    def x(number: float) -> float:
        return round(left + _LEFT + (_WIDTH - _LEFT - 24) * (number - numbers[0]) / span, 1)

    def y(value: float) -> float:
        return round(_FLOOR - (_FLOOR - _TOP) * value / top, 1)

    parts = [f'<text x="{left + _LEFT}" y="18">{escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = y(share * top)
        parts.append(f'<line class="g" x1="{x(numbers[0])}" x2="{x(numbers[-1])}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{left + _LEFT - 6}" y="{at + 4}" text-anchor="end">{share * top:.2f}</text>')
    parts += [f'<text x="{x(n)}" y="{_FLOOR + 18}" text-anchor="middle">{n or "before"}</text>' for n in numbers]
    for colour, (name, points) in zip(_COLOURS, lines.items(), strict=False):
        path = "L".join(f"{x(number)} {y(value)}" for number, value in points)
        parts.append(f'<path class="l" stroke="{colour}" d="M{path}"/>')
        parts += [
            f'<circle cx="{x(number)}" cy="{y(value)}" r="4" fill="{colour}">'
            f"<title>{escape(name)}, round {number}: {value:.3f}</title></circle>"
            for number, value in points
        ]
    return "".join(parts)
