"""The card beside the bundled detector: what it is, how it was made, how good it is by itself, its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from backend.nets.config import MARKS
from backend.nets.detector import PIXEL_MM
from backend.training.crops import SPLITS
from backend.training.detector.recipe import DetectorRecipe
from backend.training.pagestore import LabelledPage

__all__ = ["detector_card"]

_HEAD = """# Bundled detector

A small residual network with a feature pyramid that finds signatures, stamps and thumbprints on whole pages, whatever
the colour of their ink. It proposes; the classifier names each crop and may say `none`.

| | |
|---|---|
| file | `detector.onnx`, {megabytes:.1f} MB, float16 kernels computed in float32; {parameters:.1f} M parameters |
| SHA-256 | `{sha256}` |
| input | RGB page at {pixel_mm:.3f} mm a pixel ({dpi:.0f} dpi), sides padded to multiples of 32, uint8 |
| outputs | at every eighth pixel a heat for each of {classes}, and the distances to the four edges of a box of each |
| licence | Apache-2.0; the sources of its real pages stand in `NOTICE` |

## How it was made

From random weights by recipe `{digest}`, {epochs} epochs of {samples} pages, in {minutes:.0f} minutes on two
cores{restarts}.
Pages are changed each time as scanners and pens change them (never mirrored, never cut together), and single real marks
are printed onto them. Of pages on which only stamps are boxed, nothing is learned beyond those boxes; what lies in them
is no signature. A run that is stopped goes on where it was. The recipe in full, the versions and every epoch stand in
`detector-training.json`.

| pages | {splits} |
|---|--:|--:|--:|
{rows}

## Measured

By itself, on pages of documents that training never saw: marks that have a candidate of their class, and the F1 that
the best threshold for the class would give. What detector and classifier do together is in the README.
"""
_LIMITS = """
## Limits

- Nobody's thumbprint is on the real pages: thumbs were learned from drawn ones alone.
- The real signatures are Latin and Chinese, the real stamps Indian, Russian, German, Chinese; Arabic ones were drawn.
- A mark below some 6 mm is two cells at this resolution: it may be missed, and its box is coarse.
- It knows A4-like pages. A photograph of a page on a desk, or a page without its margins, is not what it learned from.
"""

Measured = Mapping[str, tuple[int, Mapping[str, tuple[int, tuple[int, ...], float]]]]


def detector_card(
    *,
    megabytes: float,
    sha256: str,
    parameters: int,
    recipe: DetectorRecipe,
    minutes: float,
    pages: Sequence[LabelledPage],
    measured: Measured,
) -> str:
    """The card as Markdown.

    Args:
        megabytes: Size of the weights.
        sha256: Of the weights.
        parameters: How many it has.
        recipe: What was followed.
        minutes: How long the training took.
        pages: All pages of the store.
        measured: By set of pages their number, and by class: true marks, those hit at IoU .5 and .3, the best F1.
    """
    counts = Counter((page.source, page.split) for page in pages)
    rows = [
        f"| {source} | " + " | ".join(str(counts[source, split]) for split in SPLITS) + " |"
        for source in sorted({page.source for page in pages})
    ]
    head = _HEAD.format(
        megabytes=megabytes,
        sha256=sha256,
        parameters=parameters / 1e6,
        classes=", ".join(f"`{name}`" for name in MARKS),
        pixel_mm=PIXEL_MM,
        dpi=25.4 / PIXEL_MM,
        digest=recipe.digest,
        epochs=recipe.epochs,
        samples=recipe.samples,
        minutes=minutes,
        restarts=_restarts(recipe),
        splits=" | ".join(SPLITS),
        rows="\n".join(rows),
    )
    return "\n".join([head, *(_table(title, *facts) for title, facts in measured.items())]) + _LIMITS


def _restarts(recipe: DetectorRecipe) -> str:
    if not recipe.restarts:
        return ""
    return f"; the learning rate started at its top again after epoch {' and '.join(map(str, recipe.restarts))}"


def _table(title: str, pages: int, classes: Mapping[str, tuple[int, tuple[int, ...], float]]) -> str:
    lines = [
        f"### {title}",
        "",
        f"{pages} pages.",
        "",
        "| | marks | found, IoU .5 | found, IoU .3 | best F1, IoU .5 |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, (true, hits, f1) in classes.items():
        shares = " | ".join(f"{hit / true:.3f}" for hit in hits)
        lines.append(f"| {name} | {true} | {shares} | {f1:.3f} |")
    return "\n".join(lines) + "\n"
