"""The detector's numbers, in millimetres and optical density, so that they hold at every resolution."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DetectionConfig"]


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """What counts as ink, what belongs together, and what is large enough to be a mark.

    `dataclasses.asdict` gives plain JSON, which is part of the version string.

    Example:
        >>> DetectionConfig(most_candidates=12).most_candidates
        12

    Attributes:
        pixel_mm: Side of a pixel of the working raster, mm (0.254 is 100 dpi).
        paper_mm: Widest dark thing that is not taken for paper, mm.
        weakest_ink: Chroma, in OD, below which nothing is coloured ink.
        noise_ratio: The page's own colour noise (OD) times this is also too weak to be ink.
        neutral_margin: Chroma beyond that of the page's black, as a share of the grey OD, from which ink is coloured.
        neutral_ratios: Lowest and highest chroma that black is taken to have, as a share of its grey OD.
        strengths: Multiples of the page's weakest ink at which layers are cut.
        gaps_mm: Distances, across and down, over which pieces of ink are grouped into one region, mm. The wide one
            joins the words of one line, such as a name written with a space.
        dark_ods: Densities, in OD, at which layers of dark ink are cut.
        rule_mm: Straight dark runs of at least this length are ruled lines, mm.
        text_mm: Connected dark ink whose shorter side is below this is print, mm.
        most_fill: Largest share of its box that a piece of dark handwriting fills.
        patch_mm: Diameter of the disc of ink that makes a solid patch, such as a thumbprint, mm.
        patch_ods: Densities, in OD, at which layers of solid patches are cut.
        pale_ods: Density, in OD, from which grey is pale ink, and the one from which it is print.
        shortest_mm: Smallest longer side of a mark, mm.
        longest_mm: Largest longer side of a mark, mm.
        thinnest_mm: Smallest shorter side of a mark, mm.
        least_ink_mm2: Smallest inked area of a mark, mm².
        duplicate_iou: IoU above which two candidates are the same.
        least_score: Likelihood below which a region is no candidate, unless there are very few.
        fewest_candidates: Number of candidates that a page has, however unlikely, if it has as many regions.
        most_candidates: Largest number of candidates of one page.
    """

    pixel_mm: float = 0.254
    paper_mm: float = 28.0
    weakest_ink: float = 0.02
    noise_ratio: float = 3.0
    neutral_margin: float = 0.06
    neutral_ratios: tuple[float, float] = (0.1, 0.3)
    strengths: tuple[float, ...] = (1.0, 3.0, 7.0)
    gaps_mm: tuple[tuple[float, float], ...] = ((1.0, 1.0), (2.0, 2.0), (3.5, 3.5), (6.0, 1.5))
    dark_ods: tuple[float, ...] = (0.05, 0.12, 0.3)
    rule_mm: float = 25.0
    text_mm: float = 5.0
    most_fill: float = 0.6
    patch_mm: float = 5.0
    patch_ods: tuple[float, ...] = (0.05, 0.12)
    pale_ods: tuple[float, float] = (0.03, 0.15)
    shortest_mm: float = 6.0
    longest_mm: float = 110.0
    thinnest_mm: float = 2.5
    least_ink_mm2: float = 3.0
    duplicate_iou: float = 0.7
    least_score: float = 0.06
    fewest_candidates: int = 8
    most_candidates: int = 30
