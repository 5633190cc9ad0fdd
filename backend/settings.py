"""One table of settings: field name, default, meaning. It feeds the environment, the command line and the docs.

The environment variable of a field is its name in capitals. A test compares the table with docs/settings.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import SettingsError

__all__ = ["DETECTORS", "Settings", "describe"]

DETECTORS = ("model", "colour", "both")
"""The ways of finding candidates."""
_LAST_PORT = 65_535
_EXPORT = re.compile(r"export\s+")
_COMMENT = re.compile(r"\s#.*")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:\\["\\]|[^"])*)")\s*(?:#.*)?""")
"""A value of an `.env` file in quotes, and perhaps a comment behind it."""


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an operator can choose.

    Example:
        >>> Settings.from_environment({"PORT": "9191"}).port
        9191
    """

    label_studio_url: str = _setting(
        "http://localhost:8080", "Address of Label Studio; its uploads are fetched from there."
    )
    label_studio_api_key: str = _setting(
        "",
        "Legacy token or personal access token. Without one, the backend uses the token that Label Studio sends with "
        "/setup.",
    )
    basic_auth_user: str = _setting("", "User name that requests must bring (HTTP Basic). Empty turns the check off.")
    basic_auth_pass: str = _setting("", "Password to that user name. Label Studio can send only Latin-1 characters.")
    settings_file: str = _setting(
        "",
        "TOML or `.env` file with some of these settings by their names. The environment overrides the file, and the "
        "command line overrides both.",
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")
    log_format: str = _setting("text", "The log as `text` for people, or as `json`: one object a line.")
    workers: int = _setting(1, "Serving processes; each holds one model.")
    threads: int = _setting(
        96,
        "Request threads of a serving process. Set more than the clients that predict at once, so that other requests "
        "are answered.",
    )
    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 for every interface.")
    port: int = _setting(9090, "Port to listen on.")
    data_dir: Path = _setting(
        Path("data"), "Folder for downloaded and promoted models, the ledger of corrections and their crops."
    )
    database_url: str = _setting(
        "", "Where the ledger is, such as `postgresql://user:password@host/name`. Empty: SQLite in DATA_DIR."
    )
    storage_url: str = _setting(
        "",
        "Where the crops of corrected marks are, such as `s3://bucket/folder`. Install fsspec's driver beside, here "
        "s3fs. Empty: DATA_DIR.",
    )
    webhook_secret: str = _setting(
        "", "What webhooks must bring in the header X-Webhook-Secret, unless they bring BASIC_AUTH_USER."
    )
    allowed_client_hosts: str = _setting(
        "",
        "Further names, comma separated, by which requests may call this backend (`Host`), and web pages that may send "
        "requests (`Origin`). Addresses, loopback, Docker's names and Label Studio's own host are always allowed.",
    )
    samples_in_server: int = _setting(
        1, "1: serving processes turn corrections into samples. 0: only `worker` processes do."
    )
    recall_distance: float = _setting(
        0.12,
        "How far a crop may be from a corrected crop to be compared with it, as 1 − cosine of their embeddings. Where "
        "both show the same print or the same rubber, the annotator's verdict counts at once. 0 turns that off.",
    )
    blind_share: float = _setting(
        0.0,
        "Share of documents whose tasks are served without boxes, such as 0.1. `evaluate --blind` then tells what "
        "people find without them. 0: every task has boxes.",
    )
    dashboard_people: int = _setting(
        0, "1: the dashboard has a table by annotator, under their initials. 0: it shows nobody."
    )
    retrain_after: int = _setting(
        100,
        "So many new hard examples and hard negatives (boxes that annotators renamed or deleted) since the last "
        'training start another one. 0: only "Start training" does.',
    )
    retrain_recipe: str = _setting(
        "", "JSON file whose fields replace those of the retraining recipe. Empty: the recipe as it is."
    )
    tracker: str = _setting(
        "",
        "Class that is told of each retraining, as `module:Class`, such as one that writes to MLflow or TensorBoard. "
        "Empty: nobody is.",
    )
    model: str = _setting("auto", "Which weights serve: `auto`, `hub`, `bundled` or the name of a published model.")
    ask_hub: int = _setting(
        0,
        "1: with MODEL=auto and no promoted model, the original model is fetched from the Hugging Face Hub. "
        "0: only MODEL=hub, `models pull` and `models push` ask the Hub.",
    )
    hub_proxy: str = _setting(
        "",
        "Proxy for the Hub alone, such as `http://proxy:3128`. HTTP_PROXY and the like are ignored, so that no page "
        "goes through a proxy by accident.",
    )
    detector: str = _setting(
        "model", "How marks are found: `model` (a network), `colour` (rules on coloured ink), or `both`."
    )
    model_threads: int = _setting(0, "Processor threads that one classification may use. 0: one on each core.")
    confidence: float = _setting(0.25, "Lowest probability at which a mark is shown. A label config can override it.")
    predict_deadline: float = _setting(
        80.0, "Seconds after which /predict answers what it has. The other tasks come back as not yet done."
    )
    allowed_hosts: str = _setting(
        "",
        "Further hosts that pages may be fetched from, comma separated (`host` or `host:port`). "
        "Label Studio's own host is always allowed.",
    )
    local_files_root: str = _setting(
        "", "Folder under which `/data/local-files/?d=` references are read. Empty: they are fetched from Label Studio."
    )
    max_bytes: int = _setting(64 * 1024 * 1024, "Largest file that is fetched or decoded.")
    max_pixels: int = _setting(120_000_000, "Largest page, in pixels, that is decoded.")
    max_pages: int = _setting(200, "Most pages that are read from one file.")
    max_tasks: int = _setting(
        10_000, "Most tasks of one /predict that are looked at. The others come back as not yet done."
    )
    max_task_pages: int = _setting(1000, "Most pages of one task (`valueList`). A task with more is not done.")
    fetch_timeout: float = _setting(
        20.0, "Seconds that fetching one file, or decoding one page of it, may take in all."
    )
    cache_bytes: int = _setting(
        128 * 1024 * 1024,
        "Size of the in-memory cache of fetched files. A file larger than an eighth of it is not kept. 0 turns it off.",
    )
    cache_seconds: float = _setting(600.0, "Age at which a cached file is forgotten.")
    render_dpi: int = _setting(200, "Resolution at which PDF pages are rendered.")

    def __post_init__(self) -> None:
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"LOG_LEVEL is {self.log_level!r}: expected DEBUG, INFO, WARNING or ERROR")
        if self.log_format not in ("text", "json"):
            raise SettingsError(f"LOG_FORMAT is {self.log_format!r}: expected text or json")
        if self.detector not in DETECTORS:
            raise SettingsError(f"DETECTOR is {self.detector!r}: expected model, colour or both")
        if not 0 < self.confidence < 1:
            raise SettingsError(f"CONFIDENCE is {self.confidence}: it is a probability between 0 and 1, such as 0.5")
        if not 0 <= self.recall_distance < 1:
            raise SettingsError(f"RECALL_DISTANCE is {self.recall_distance}: from 0 (off) to below 1, such as 0.12")
        if not 0 <= self.blind_share <= 1:
            raise SettingsError(f"BLIND_SHARE is {self.blind_share}: a share from 0 to 1, such as 0.1")
        self._check_numbers()
        self._check_addresses()

    def _check_addresses(self) -> None:
        address = re.compile(
            r"https?://([^\s/?#@]*@)?(?:\[[\d.:a-f]+]|[^\s/:?#@[\]]+)(?::(\d+))?(/[^\s?#]*)?", re.IGNORECASE
        )
        for name, url in (("LABEL_STUDIO_URL", self.label_studio_url), ("HUB_PROXY", self.hub_proxy or "http://none")):
            shown = re.sub(r"^([^/]*//)?[^/?#]*@", r"\1", url)
            if not url.lower().startswith(("http://", "https://")):
                way_out = "" if "://" in url else f", such as http://{shown.lstrip('/')}"
                raise SettingsError(f"{name} is {shown!r}: an address begins with http:// or https://{way_out}")
            found = address.fullmatch(url)
            if found is None or int(found[2] or 0) > _LAST_PORT or not url.isprintable():
                raise SettingsError(f"{name} is {shown!r}: expected an address, without a space, a query or a fragment")
            if found[1] and name == "LABEL_STUDIO_URL":
                reason = "a user name or password in it would be sent in place of the token"
                raise SettingsError(f"{name} is {shown!r}: {reason}; write it without")
        if self.tracker and not re.fullmatch(r"[\w.]+:[\w.]+", self.tracker):
            raise SettingsError(f"TRACKER is {self.tracker!r}: expected module:Class")
        key, secret = self.label_studio_api_key, self.webhook_secret
        if not (key.isascii() and key.isprintable()):
            raise SettingsError(
                "LABEL_STUDIO_API_KEY has characters that no token has, such as the … of an example: copy yours from "
                f"Account & Settings of {self.label_studio_url}, and nothing else"
            )
        if not (secret.isprintable() and secret == secret.encode("latin-1", "ignore").decode("latin-1")):
            raise SettingsError("WEBHOOK_SECRET has characters that no header can carry: choose others")
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass):
            raise SettingsError("BASIC_AUTH_USER and BASIC_AUTH_PASS go together: set both, or neither")
        if ":" in self.basic_auth_user:
            raise SettingsError("BASIC_AUTH_USER has a colon, which ends a user name in HTTP Basic: choose another")
        if not (self.basic_auth_user + self.basic_auth_pass).isprintable():
            raise SettingsError("BASIC_AUTH_USER or _PASS has a character that cannot be typed: choose others")

    def _check_numbers(self) -> None:
        # Nobody waits longer than a day, no system has more threads, and its calls have no larger numbers.
        many, day = 10**9, 86_400.0
        bounds: dict[str, tuple[float, float]] = {
            "workers": (1, 1000),
            "threads": (1, 1000),
            "model_threads": (0, 1000),
            "max_bytes": (1, 2**34),
            "max_pixels": (1, 10**10),
            "max_pages": (1, many),
            "max_tasks": (1, many),
            "max_task_pages": (1, many),
            "render_dpi": (1, 2400),
            "cache_bytes": (0, 2**40),
            "cache_seconds": (0, 1000 * day),
            "fetch_timeout": (0.001, day),
            "predict_deadline": (0.001, day),
            "retrain_after": (0, math.inf),
            "port": (0, _LAST_PORT),
            "samples_in_server": (0, 1),
            "ask_hub": (0, 1),
            "dashboard_people": (0, 1),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            # "Not a number" is neither within nor beyond.
            if not least <= value <= most:
                raise SettingsError(f"{name.upper()} is {value}: it must be from {least:g} to {most:.15g}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **overrides: Any) -> Settings:
        """Reads the table's names from `environment`; `overrides` (the command line's) win where they are not None.

        What the environment does not say, the file of `SETTINGS_FILE` may say, and else the default holds.

        Raises:
            SettingsError: A value does not parse as its field's type, or is out of range, or the file is none.
        """
        named = environment.get("SETTINGS_FILE", "").strip()
        filed = _filed(Path(named)) if named else {}
        values: dict[str, Any] = {}
        for row in dataclasses.fields(cls):
            text = environment.get(row.name.upper(), "").strip() or filed.get(row.name.upper(), "")
            if text:
                values[row.name] = _parse(row.name, text, type(row.default))
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)

    def with_arguments(self, **overrides: Any) -> Settings:
        """These settings with what the command line says in their place, where that is not None.

        Raises:
            SettingsError: A value is out of range.
        """
        return dataclasses.replace(self, **{name: value for name, value in overrides.items() if value is not None})

    def as_environment(self) -> dict[str, str]:
        """The table as another process of this program reads it with `from_environment`."""
        return {row.name.upper(): str(getattr(self, row.name)) for row in dataclasses.fields(self)}


def _filed(file: Path) -> dict[str, str]:
    """The settings of a file, by their names in the environment.

    Raises:
        SettingsError: It cannot be read, or names something that is no setting.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of its encoding
        found = tomllib.loads(text) if file.suffix == ".toml" else _lines(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        reason = "it is not in UTF-8: save it so" if isinstance(error, UnicodeDecodeError) else reason
        raise SettingsError(f"SETTINGS_FILE {file} cannot be read: {reason}") from error
    values = {name.upper(): value for name, value in found.items()}
    known = {row.name.upper() for row in dataclasses.fields(Settings)} - {"SETTINGS_FILE"}
    if unknown := sorted(set(values) - known):
        near = sorted({one for name in unknown for one in difflib.get_close_matches(name, sorted(known), 1)})
        meant = f"; is {' or '.join(near)} meant?" if near else ""
        raise SettingsError(
            f"SETTINGS_FILE {file} names {', '.join(unknown)}: no such setting (docs/settings.md lists them all{meant})"
        )
    if wrong := sorted(name for name, value in values.items() if not isinstance(value, str | int | float)):
        raise SettingsError(f"SETTINGS_FILE {file}: {', '.join(wrong)} is neither a text nor a number")
    return {name: str(int(value) if isinstance(value, bool) else value).strip() for name, value in values.items()}


def _lines(text: str) -> dict[str, str]:
    """`NAME=value` lines; a `#` begins a comment, quotes around a value are taken off."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = _EXPORT.sub("", line.strip(), count=1) if _EXPORT.match(line.strip()) else line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator:
            raise ValueError(f"line {number} is no NAME=value")
        found[name.strip()] = _value(value, number)
    return found


def _value(text: str, number: int) -> str:
    """The value of a line; in double quotes, a backslash before a quote or a backslash is taken off."""
    if text.strip()[:1] not in ("'", '"'):
        return _COMMENT.sub("", text).strip()
    quoted = _QUOTED.fullmatch(text.strip())
    if quoted is None:
        raise ValueError(f"the value in line {number} begins with a quote, and does not end with it")
    single, double = quoted.groups()
    return re.sub(r'\\(["\\])', r"\1", double) if single is None else single


_KINDS = {int: "a whole number", float: "a number, such as 0.5"}


def _parse(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError as error:
        raise SettingsError(f"{name.upper()} is {text!r}: expected {_KINDS.get(kind, kind.__name__)}") from error


def describe() -> list[tuple[str, str, str]]:
    """The table as (environment variable, default, meaning), in order."""
    return [(row.name.upper(), str(row.default), row.metadata["meaning"]) for row in dataclasses.fields(Settings)]
