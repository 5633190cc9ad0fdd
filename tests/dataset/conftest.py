"""A Label Studio on the loopback, the settings that reach it, and small versions without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.dataset.freezing import Frozen, freeze
from backend.dataset.manifest import FrozenPage, FrozenSample, Manifest
from backend.dataset.store import Datasets, Version
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings
from tests.dataset.studio import PROJECT, TOKEN, Studio, serving

Make = Callable[..., Version]


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Studio()) as one:
        yield one


@pytest.fixture
def settings(studio: Studio, tmp_path: Path) -> Settings:
    return Settings(label_studio_url=studio.url, label_studio_api_key=TOKEN, data_dir=tmp_path / "data")


@pytest.fixture
def frozen(settings: Settings) -> Callable[..., Frozen]:
    """Freezes what the studio has now."""

    def made(name: str = "first", **options: object) -> Frozen:
        with LabelStudio(settings.label_studio_url, TOKEN) as client:
            return freeze(name, projects=[str(PROJECT)], studio=client, settings=settings, **options)

    return made


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Publishes pages, given as (facts, pixels), as a version; their size and SHA-256 are filled in."""

    def made(
        name: str,
        pages: Sequence[tuple[dict[str, Any], NDArray[np.uint8]]],
        *,
        samples: Sequence[FrozenSample] = (),
        source: str = "label-studio",
    ) -> Version:
        held = Datasets(tmp_path / "data" / "datasets")
        with held.drafting() as draft:
            listed = [
                FrozenPage(
                    **{"document": "d" * 64, "split": "train", **facts},
                    sha256=draft.add(pixels),
                    width=pixels.shape[1],
                    height=pixels.shape[0],
                )
                for facts, pixels in pages
            ]
            return held.publish(draft, name, Manifest.of(source, listed, samples), {"frozen": "now", "program": "p 1"})[
                0
            ]

    return made
