"""What goes into a retraining, by class, in the seed's own table and beside its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from backend.nets.config import CLASSES
from backend.training.batches import CORRECTED, HARD
from backend.training.crops import Crop
from backend.training.loop import shown_in
from backend.training.recipe import Recipe

__all__ = ["SEED", "Row", "Table", "went_in"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One class; `total` counts as the seed did, originals and augmented ones together."""

    original: int
    augmented: int
    misclassified: int
    augmented_misclassified: int

    @property
    def total(self) -> int:
        return self.original + self.augmented + self.misclassified + self.augmented_misclassified


SEED: Mapping[str, Row] = {
    "signature": Row(original=279, augmented=1104, misclassified=29, augmented_misclassified=116),
    "stamp": Row(original=100, augmented=600, misclassified=27, augmented_misclassified=108),
    "thumb": Row(original=111, augmented=783, misclassified=61, augmented_misclassified=265),
}
"""What the seed's model card says of its training."""
_HEAD = ("", "original", "augmented", "misclassified", "augmented", "total")
_NOTE = (
    "misclassified: shown under another name, or where nothing is; augmented: how often an epoch shows them, each time",
    "changed anew, where the seed wrote its copies to disk once; total: originals and augmented, as the seed counted",
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """What went in.

    Attributes:
        rows: Annotators' samples by class.
        drawn: Crops of drawn pages that there are, by class.
        drawn_shown: How many of them an epoch shows.
    """

    rows: Mapping[str, Row]
    drawn: Mapping[str, int]
    drawn_shown: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        rows = {name: asdict(row) | {"total": row.total} for name, row in self.rows.items()}
        return {"samples": rows, "drawn": dict(self.drawn), "drawn_shown": dict(self.drawn_shown)}

    def __str__(self) -> str:
        lines: list[tuple[object, ...]] = [_HEAD]
        for name in CLASSES:
            lines.append((name, *_cells(self.rows[name])))
            if name in SEED:
                lines.append(("  the seed's", *_cells(SEED[name])))
        lines += [("all", *_cells(_sum(self.rows))), ("  the seed's", *_cells(_sum(SEED)))]
        widths = [max(len(_cell(line[place])) for line in lines) for place in range(len(_HEAD))]
        text = [
            "  ".join(
                _cell(cell).rjust(width) if place else _cell(cell).ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        shown = ", ".join(f"{self.drawn_shown[name]} {name}" for name in CLASSES)
        base = f"beside them, so that nothing is forgotten, an epoch shows crops of drawn pages: {shown}"
        return "\n".join([*text, *_NOTE, base])


def went_in(crops: Sequence[Crop], recipe: Recipe) -> Table:
    """The table of the first epoch of the last stage.

    Args:
        crops: Those of the training side.
        recipe: How often each is shown.
    """
    shown = [crops[place] for place in shown_in(recipe, crops, stage=len(recipe.stages) - 1, epoch=0)]
    there, often = (Counter(map(_kind, members)) for members in (crops, shown))
    rows = {
        name: Row(
            original=there["seen", name],
            augmented=often["seen", name],
            misclassified=there[HARD, name],
            augmented_misclassified=often[HARD, name],
        )
        for name in CLASSES
    }
    drawn, drawn_shown = ({name: counted["drawn", name] for name in CLASSES} for counted in (there, often))
    return Table(rows=rows, drawn=drawn, drawn_shown=drawn_shown)


def _kind(crop: Crop) -> tuple[str, str]:
    if crop.domain != CORRECTED:
        return "drawn", crop.label
    return HARD if crop.origin == HARD else "seen", crop.label


def _sum(rows: Mapping[str, Row]) -> Row:
    return Row(
        original=sum(row.original for row in rows.values()),
        augmented=sum(row.augmented for row in rows.values()),
        misclassified=sum(row.misclassified for row in rows.values()),
        augmented_misclassified=sum(row.augmented_misclassified for row in rows.values()),
    )


def _cells(row: Row) -> tuple[int, ...]:
    return row.original, row.augmented, row.misclassified, row.augmented_misclassified, row.total


def _cell(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
