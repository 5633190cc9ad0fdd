"""In the loop, an order takes its pages by what the model that serves says of them, and none of them twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.settings import Settings
from benchmarks.loop import main, next_pages
from benchmarks.loop_arm import Arm
from benchmarks.loop_work import POOL, KnownPage, draw_series


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[KnownPage]:
    return list(draw_series(tmp_path_factory.mktemp("pool"), POOL, pages=6, dpi=60, jobs=1, familiar=True))


def test_each_order_takes_pages_by_what_the_model_says(tmp_path: Path, pages: list[KnownPage]) -> None:
    settings = Settings(data_dir=tmp_path, label_studio_url="http://127.0.0.1:9", recall_distance=0, model_threads=1)
    with Arm(name="select", settings=settings, recipe=None).serve("bundled", day=1) as served:
        certainty = {page.name: served.look(page, settings, task=0).certainty for page in pages}
        taken = {
            order: [page.name for page in next_pages(order, served, pages, settings, count=3, seed=1)]
            for order in ("random", "doubtful first", "select")
        }
        rest = [page for page in pages if page.name not in taken["select"]]
        later = next_pages("select", served, rest, settings, count=9, seed=2)
    assert taken["doubtful first"] == sorted(certainty, key=lambda name: (certainty[name], name))[:3]
    assert taken["select"][0] == taken["doubtful first"][0], "the most doubtful is worth most at first"
    assert all(len(set(names)) == 3 for names in taken.values())
    assert sorted(page.name for page in later) == sorted(page.name for page in rest), (
        "fewer are left than are asked for"
    )


def test_a_pool_smaller_than_a_round_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--arms", "random", "--pool", "10", "--pages", "20"])
    assert stopped.value.code == 2
    assert "a pool of 10 pages is smaller than a round of 20" in capsys.readouterr().err
