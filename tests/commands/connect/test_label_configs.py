"""The label configs that travel with the program are those that a reader finds in the repository's root."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config
from backend.vision.network_config import MARKS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("paged", "name"), [(False, "label_config.xml"), (True, "label_config_pages.xml")])
def test_the_root_has_the_same(paged: bool, name: str) -> None:
    assert label_config(paged=paged) == (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("paged", "field"), [(False, "image"), (True, "pages")])
def test_they_offer_a_place_for_each_mark(paged: bool, field: str) -> None:
    [binding] = bind(label_config(paged=paged))
    assert (binding.field, binding.paged) == (field, paged)
    assert tuple(binding.labels) == MARKS
