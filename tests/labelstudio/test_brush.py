"""Masks in the brush's runs: what is written is read back, by the format's own rules."""

import numpy as np
import pytest

from backend.errors import RequestError
from backend.labelstudio.brush import box_of_runs, runs_of_mask


def decoded(runs: list[int]) -> np.ndarray:
    """As the format describes it, bit for bit, without any haste."""
    bits = "".join(f"{one:08b}" for one in runs)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = take(1)
        length = take(widths[take(2)]) + 1
        values += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    assert len(values) == total
    return np.array(values)


@pytest.mark.parametrize(
    ("seed", "size", "place", "share"),
    [
        (1, (9, 7), (0, 0), 0.3),
        (2, (9, 7), (21, 33), 0.7),
        (3, (30, 40), (0, 0), 0.5),
        # a run over lines, and one that is longer than 16 bits can say
        (4, (30, 40), (0, 0), 1.1),
        (5, (1, 1), (299, 199), 1.1),
    ],
)
def test_a_mask_comes_back_as_it_was(seed, size, place, share):
    width, height = (400, 200) if seed == 5 else (60, 50)
    top, left = place[1], place[0]
    mask = np.random.default_rng(seed).random(size) < share
    page = np.zeros((height, width), bool)
    page[top : top + size[0], left : left + size[1]] = mask

    runs = runs_of_mask(mask, left=left, top=top, width=width, height=height)

    channels = decoded(runs).reshape(height, width, 4)
    np.testing.assert_array_equal(channels, np.repeat(page[..., None] * 255, 4, axis=2))
    rows, columns = np.nonzero(page)
    expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert box_of_runs(runs, width=width, height=height) == expected


def literal(alphas: list[int]) -> list[int]:
    """A page of one line, written value by value as the editor writes what is no run: red 9, and these alphas."""
    values = [one for alpha in alphas for one in (9, 0, 0, alpha)]
    bits = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits += f"010{len(values) - 1:08b}" + "".join(f"{one:08b}" for one in values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def test_only_what_is_not_transparent_counts():
    assert box_of_runs(literal([0, 0, 255, 128, 0]), width=5, height=1) == (2, 0, 4, 1)
    assert box_of_runs(literal([0, 0, 0]), width=3, height=1) is None


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (literal([255])[:-3], "ends before"),
        (literal([255, 255]), "another size"),
        ([1, 2, "3"], "no list"),
        ([256], "no list"),
        ([], "ends before"),
        ([0] * (4 * 1024 * 1024 + 1), "no list"),
    ],
)
def test_what_is_no_mask_of_the_page_is_refused(runs, reason):
    with pytest.raises(RequestError, match=reason):
        box_of_runs(runs, width=1, height=1)
