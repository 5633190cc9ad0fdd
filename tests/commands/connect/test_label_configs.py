"""The label configs that travel with the program are those that a reader finds in the repository's root."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import LabelConfigError
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config, read_label_config
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


ARABIC = (
    '<View><Image name="i" value="$i"/><RectangleLabels name="l" toName="i"><Label value="ختم"/></RectangleLabels>'
    "</View>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_any_editor_is_read(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "config.xml"
    file.write_bytes(ARABIC.encode(encoding))
    assert read_label_config(file) == ARABIC
    assert bind(read_label_config(file))[0].labels == {"stamp": "ختم"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(ARABIC.encode("cp1256"), "no UTF-8; save it as UTF-8"), (None, r"cannot be read \(No such file")],
)
def test_a_file_that_is_no_such_text_says_what_to_do(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.xml").write_bytes(content)
    with pytest.raises(LabelConfigError, match=reason):
        read_label_config(tmp_path / "config.xml")
