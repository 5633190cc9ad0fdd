"""Models from the Hugging Face Hub and to it: pulled as candidates, pushed without anything that shows a contract.

The model card of a pushed model, from what its shared record says; and the two figures that stand for a model.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from backend.errors import BadWeights, RegistryError, WeightsUnavailable
from backend.escaping import printable
from backend.files import copy_whole
from backend.models.hub_files import DIRECT, HubWay, commit_of, fetch_file, hub_api, reason_of
from backend.models.original_model import FILENAME, Hub
from backend.models.promotion import Model, Models
from backend.models.published import FILE_NAME, RECORD_FILE, Facts, Record, RecordedVerdict
from backend.vision.network_config import CLASSES, ClassifierConfig
from backend.vision.weights import (
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    REFINER_CONFIG_FILE,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["CARD_FILE", "Upload", "card", "gain", "macro_f1", "measured", "pull", "push", "upload"]

_GAIN = "macro F1 gain"
"""The gate's name for the check that tells it."""
_TRIAL = ("documents", "pages", "marks", "end_to_end")
"""Parts of its figures that are about the model alone, named as in `evaluate`'s JSON."""

_HEAD = """---
license: apache-2.0
library_name: onnx
pipeline_tag: image-classification
tags:
- document-analysis
- signature-detection
- label-studio
---

# Signatures, stamps and thumbprints on scanned contracts

Model `{name}`, published {published}. It tells {classes} on crops of scanned pages, and serves in a Label Studio ML
backend: `python -m backend models pull <this repository>` publishes it there as a candidate.

| file | SHA-256 |
|---|---|
{files}

No page, no crop and nothing about the people who signed or annotated is part of this repository.
"""
_LIMITS = """
## Limits

- The figures are of the documents of whoever trained it; they were not measured on yours. Evaluate before you promote.
- The probabilities say what a mark is, not whose it is, nor whether it is genuine.
"""
CARD_FILE = "README.md"
_SHARED = (".onnx", ".safetensors")
_CONFIGS = (CONFIG_FILE, DETECTOR_CONFIG_FILE, REFINER_CONFIG_FILE)
_FIGURES = (
    "documents",
    "pages",
    "pages_without_marks",
    "marks",
    "end_to_end",
    "map50",
    "map50_95",
    "closed_set",
    "shown",
    "crops",
    "corrections",
    "milliseconds",
)
"""Parts of an evaluation that are numbers about a model; whatever else is in it stays here."""
_CHECKSUM = re.compile(r"[0-9a-f]{8,64}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def card(record: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's metadata on top.

    Args:
        record: The part of the record that is shared: numbers, hashes and names of ours.
    """
    files = "\n".join(f"| `{name}` | `{checksum}` |" for name, checksum in record["files"].items())
    names = ", ".join(f"`{name}`" for name in CLASSES)
    head = _HEAD.format(name=record["name"], published=record["published"], classes=names, files=files)
    rows = [
        ("macro F1 on crops (closed set)", _estimate(macro_f1(record["metrics"], "closed_set"))),
        ("macro F1 on pages at IoU .5 (end to end)", _estimate(macro_f1(record["metrics"], "end_to_end"))),
        ("trained on data with SHA-256", f"`{record['dataset']}`" if record["dataset"] else ""),
        ("gate", "" if record["gate"] is None else "passed" if record["gate"]["passed"] else "refused"),
    ]
    told = [f"| {name} | {value} |" for name, value in rows if value]
    measured = ["", "## Measured", "", "| | |", "|---|---|", *told, ""] if told else []
    recipe = ["", "## Recipe", "", "```json", json.dumps(record["recipe"], indent=1), "```", ""]
    return head + "\n".join(measured) + "\n".join(recipe if record["recipe"] else []) + _LIMITS


def macro_f1(metrics: Mapping[str, Any], what: str) -> Mapping[str, float] | None:
    """Macro F1 as `value`, `low` and `high`; None where it was not measured.

    Args:
        metrics: Of a record; in the shape of `evaluate`'s JSON.
        what: `closed_set`, or `end_to_end` for that at IoU .5.
    """
    found: Any = metrics.get(what)
    for key in ("0.5",) * (what == "end_to_end") + ("macro", "f1"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) and isinstance(found.get("value"), int | float) else None


def measured(record: Record | None, verdict: RecordedVerdict | None) -> dict[str, Any]:
    """Figures of a model: those it was published with, and those of the gate's trial on whole pages.

    For a model of our own the former count if both exist. For one from the Hub the latter count, because others
    measured the former on other pages.

    Args:
        record: The model's; None where it has none.
        verdict: The gate's; None where it was not asked.
    """
    tried = verdict.figures if verdict is not None else {}
    trial = {name: tried[name] for name in _TRIAL if name in tried}
    known = dict(record.metrics) if record else {}
    return known | trial if record and record.source.startswith("huggingface:") else trial | known


def gain(verdict: RecordedVerdict | None) -> float | None:
    """What the gate found a model to gain in macro F1 on pages, over the one that served then; None where it did not.

    Args:
        verdict: The gate's; its figures hold `checks`, as its JSON has them.
    """
    checks = verdict.figures.get("checks", ()) if verdict is not None else ()
    return next((check["figure"] for check in checks if check["name"] == _GAIN), None)


def _estimate(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    interval = f" ({found['low']:.3f} to {found['high']:.3f})" if {"low", "high"} <= found.keys() else ""
    return f"{found['value']:.3f}{interval}"


def pull(
    models: Models,
    repository: str,
    *,
    scratch: Path,
    revision: str = "main",
    endpoint: str | None = None,
    way: HubWay = DIRECT,
) -> Record:
    """Fetches a model from the Hub and publishes it as a candidate.

    What `push` made is taken as it is; of any other repository the checkpoint is taken and converted, which needs the
    `train` extra.

    Args:
        models: Where it is published.
        repository: Its name on the Hub.
        scratch: Folder for what comes in on the way; made when missing, nothing stays in it.
        revision: Branch, tag or commit.
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        way: To the Hub.

    Raises:
        WeightsUnavailable: The Hub does not answer, has no such thing, or the converter's packages are missing.
        BadWeights: What came is damaged, or not what serves here.
        RegistryError: It cannot be published.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".pull-") as place:
        folder = Path(place)
        commit, names = _look(repository, revision, hub_api(endpoint, way), way)
        if RECORD_FILE in names:
            record = _fetch(hub_api(endpoint, way), repository, commit, folder, names=names, way=way)
            facts = _facts(record, source=f"huggingface:{repository}@{commit}")
            return models.publish(folder / "weights", facts, files=[*record["files"]], by="models pull")
        if FILENAME not in names:
            raise WeightsUnavailable(f"{repository} holds neither {RECORD_FILE} nor {FILENAME}: is it a model of ours?")
        hub = Hub(folder=folder, endpoint=endpoint, repository=repository, revision=commit, checksum=None, way=way)
        converted = hub.pull()
        notes = ClassifierConfig.read(converted / CONFIG_FILE).provenance
        facts = Facts(source=f"huggingface:{repository}@{notes['revision']}")
        return models.publish(converted, facts, by="models pull")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What is about to leave this machine.

    Attributes:
        repository: Where to, on the Hub.
        model: Name of the model.
        content: Each file's name there, and its bytes or the path of the file that holds them.
    """

    repository: str
    model: str
    content: Mapping[str, bytes | Path]

    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.content.items()
        }


def upload(model: Model, folder: Path, repository: str) -> Upload:
    """What of a model is shared: weights, their configs, the card, and the record without free text and pictures.

    Contracts, crops and people are never among it: files are chosen by name, and figures are numbers only.

    Args:
        model: Which; must have a record.
        folder: Its folder.
        repository: Where to.

    Raises:
        RegistryError: It has no record.
    """
    if model.record is None:
        raise RegistryError(f"{model.name} was put there by hand and has no record: publish it first")
    shared = [name for name in model.record.files if name in _CONFIGS or name.endswith(_SHARED)]
    content: dict[str, bytes | Path] = {
        name: _plain_config(folder / name) if name in _CONFIGS else folder / name for name in shared
    }
    told = _told(
        model,
        {
            name: hashlib.sha256(what).hexdigest() if isinstance(what, bytes) else model.record.files[name]
            for name, what in content.items()
        },
    )
    content[RECORD_FILE] = (json.dumps(told, indent=1) + "\n").encode()
    content[CARD_FILE] = card(told).encode()
    return Upload(repository=repository, model=model.name, content=content)


def push(what: Upload, *, private: bool = True, endpoint: str | None = None, way: HubWay = DIRECT) -> str:
    """Makes the repository where it is missing and uploads in one commit; gives the commit's address.

    The token is the library's affair: HF_TOKEN, or what `hf auth login` stored.

    Raises:
        WeightsUnavailable: The Hub does not answer, or refused.
    """
    api = hub_api(endpoint, way)
    from huggingface_hub import CommitOperationAdd  # noqa: PLC0415

    operations = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes) else str(content))
        for name, content in what.content.items()
    ]
    with _Asking(api, what.repository):
        api.create_repo(what.repository, private=private, exist_ok=True)
        done = api.create_commit(what.repository, operations, commit_message=f"Model {what.model}")
    return str(done.commit_url)


class _Asking:
    """Turns what the Hub's client raises into one error that names the repository and the reason."""

    def __init__(self, api: HfApi, repository: str) -> None:
        self._where = f"{repository} on {api.endpoint}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

        if isinstance(error, httpx2.HTTPError | OSError | HFValidationError | RuntimeError | ValueError):
            raise WeightsUnavailable(f"{self._where}: {reason_of(error)}") from error


def _look(repository: str, revision: str, api: HfApi, way: HubWay) -> tuple[str, set[str]]:
    """The commit that a revision stands for, and the names of its files."""
    with _Asking(api, repository):
        info = api.model_info(repository, revision=revision, timeout=way.silence)
        return commit_of(info.sha, revision=revision), {row.rfilename for row in info.siblings or ()}


def _fetch(api: HfApi, repository: str, commit: str, folder: Path, *, names: set[str], way: HubWay) -> dict[str, Any]:
    """Downloads what the record of a pushed model names, to `weights` in a folder; gives the record."""

    def download(name: str) -> Path:
        target = folder / "downloads" / name
        with _Asking(api, repository):
            fetch_file(api, repository, name, target, revision=commit, way=way)
        return target

    try:
        record = json.loads(download(RECORD_FILE).read_text(encoding="utf-8"))
        files = {str(name): str(checksum) for name, checksum in record["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadWeights(f"{RECORD_FILE} of {repository} is no record of a model: {printable(error)}") from error
    if odd := [name for name in files if name not in names or not _is_weights(name)]:
        raise BadWeights(
            f"{RECORD_FILE} of {repository} names {printable(odd[0], most=64)!r}, which is not there or no weights"
        )
    (folder / "weights").mkdir()
    for name, checksum in files.items():
        found = copy_whole(download(name), folder / "weights" / name)
        if found != checksum:
            raise BadWeights(
                f"{name} of {repository} has SHA-256 {found[:12]}…, not {printable(checksum[:12])}…: damaged on its way"
            )
    return {**record, "files": files}


def _is_weights(name: str) -> bool:
    """Whether a file is one that a model may have: by its kind, and in no folder of its own."""
    return bool(FILE_NAME.fullmatch(name)) and (name in _CONFIGS or name.endswith(_SHARED))


def _facts(record: Mapping[str, Any], *, source: str) -> Facts:
    """What a pushed record says of a model; its verdict was another's, on other documents, and does not count here."""
    seconds, seed = record.get("seconds"), record.get("seed")
    return Facts(
        source=source,
        recipe=dict(record.get("recipe") or {}),
        seed=seed if isinstance(seed, int) else None,
        versions={str(name): str(version) for name, version in dict(record.get("versions") or {}).items()},
        dataset=record["dataset"] if isinstance(record.get("dataset"), str) else None,
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        metrics=dict(record.get("metrics") or {}),
    )


def _plain_config(path: Path) -> bytes:
    """A network's config as others may read it: the words on where its weights come from may name anybody."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    return (json.dumps(facts | {"provenance": _plain(facts.get("provenance", {}))}, indent=2) + "\n").encode()


def _told(model: Model, files: Mapping[str, str]) -> dict[str, Any]:
    """The record as others may read it."""
    assert model.record is not None  # noqa: S101  upload() has looked
    record, figures = model.record, measured(model.record, model.verdict)
    return {
        "name": record.name,
        "published": record.published,
        "recipe": _plain(record.recipe),
        "seed": record.seed,
        "versions": _plain(record.versions),
        "dataset": record.dataset if _CHECKSUM.fullmatch(record.dataset or "") else None,
        "seconds": record.seconds,
        "metrics": _plain({name: figures[name] for name in _FIGURES if name in figures}),
        "gate": None if model.verdict is None else {"passed": model.verdict.passed},
        "files": dict(files),
    }


def _plain(value: Any) -> Any:
    """The numbers and short words of a JSON value; longer text, and what has a path or a sentence for a name, goes."""
    if isinstance(value, Mapping):
        kept = {name: _plain(inner) for name, inner in value.items() if _is_word(name)}
        return {name: inner for name, inner in kept.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [inner for inner in map(_plain, value) if inner is not None]
    return value if isinstance(value, int | float) or _is_word(value) else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(_WORD.fullmatch(value))
