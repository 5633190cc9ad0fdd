"""The settings table is the one truth: environment, command line and docs agree with it, and nonsense is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from backend.errors import SettingsError
from backend.settings import Settings, describe

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def test_defaults_hold_without_an_environment() -> None:
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize("row", dataclasses.fields(Settings), ids=lambda row: row.name)
def test_every_setting_is_read_from_the_environment(row: dataclasses.Field[Any], tmp_path: Path) -> None:
    other: dict[type, str] = {int: "7", float: "0.7", str: "ERROR"}
    kind = type(row.default)
    text = other.get(kind, "somewhere")
    environment = {row.name.upper(): text}
    others = {"hub_proxy": "http://proxy:3128", "tracker": "package.module:Class"}
    others |= {"samples_in_server": "0", "ask_hub": "1", "dashboard_people": "1"}
    if row.name in others:
        text = others[row.name]
        environment = {row.name.upper(): text}
    if row.name == "detector":
        text = "both"
        environment = {"DETECTOR": text}
    if row.name == "label_studio_url":
        text = "https://studio.example"
        environment = {"LABEL_STUDIO_URL": text}
    if row.name == "log_format":
        text = "json"
        environment = {"LOG_FORMAT": text}
    if row.name == "settings_file":
        (tmp_path / "settings.env").touch()
        text = str(tmp_path / "settings.env")
        environment = {"SETTINGS_FILE": text}
    if row.name.startswith("basic_auth"):
        environment = {"BASIC_AUTH_USER": text, "BASIC_AUTH_PASS": text}
    assert getattr(Settings.from_environment(environment), row.name) == kind(text)


def test_another_process_reads_the_same_from_its_environment() -> None:
    settings = Settings(retrain_after=7, detector="both", basic_auth_user="a", basic_auth_pass="b", confidence=0.25)
    assert Settings.from_environment(settings.as_environment()) == settings


def test_the_command_line_wins_and_none_is_no_word() -> None:
    settings = Settings.from_environment({"PORT": "1", "HOST": "a"}, port=2, host=None)
    assert (settings.port, settings.host) == (2, "a")


def test_an_empty_variable_is_as_none() -> None:
    assert Settings.from_environment({"PORT": " "}).port == Settings().port


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"PORT": "ninety"}, "PORT is 'ninety': expected a whole number"),
        ({"CONFIDENCE": "high"}, "CONFIDENCE is 'high': expected a number, such as 0.5"),
        # What people type from memory, or copy from a page with its placeholder.
        (
            {"LABEL_STUDIO_URL": "localhost:8080"},
            "'localhost:8080': an address begins .*, such as http://localhost:8080$",
        ),
        ({"LABEL_STUDIO_URL": "ftp://studio"}, "'ftp://studio': an address begins with http:// or https://$"),
        ({"LABEL_STUDIO_API_KEY": "…"}, "LABEL_STUDIO_API_KEY has characters .*: copy yours from Account & Settings"),
        ({"LABEL_STUDIO_API_KEY": "abc\ndef"}, "LABEL_STUDIO_API_KEY has characters"),
        ({"WEBHOOK_SECRET": "سر"}, "WEBHOOK_SECRET has characters that no header can carry"),
        # A percentage in place of a probability.
        ({"CONFIDENCE": "50"}, "between 0 and 1"),
        ({"CONFIDENCE": "0"}, "between 0 and 1"),
        # A user without a password would lock nothing.
        ({"BASIC_AUTH_USER": "me"}, "go together"),
        ({"BASIC_AUTH_PASS": "secret"}, "go together"),
        ({"WORKERS": "0"}, "WORKERS is 0: it must be from 1 to 1000"),
        ({"MAX_PAGES": "-1"}, "MAX_PAGES is -1"),
        ({"MODEL_THREADS": "-1"}, "MODEL_THREADS is -1"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT is 'xml'"),
        ({"SETTINGS_FILE": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({"RETRAIN_AFTER": "-1"}, "RETRAIN_AFTER is -1"),
        ({"PORT": "99999"}, "PORT is 99999: it must be from 0 to 65535"),
        ({"PORT": "-1"}, "PORT is -1"),
        ({"CACHE_BYTES": "-1"}, "CACHE_BYTES is -1"),
        ({"CACHE_SECONDS": "nan"}, "CACHE_SECONDS is nan"),
        # Nobody can wait for ever, and what is no number is above nothing.
        ({"PREDICT_DEADLINE": "inf"}, "PREDICT_DEADLINE is inf"),
        ({"FETCH_TIMEOUT": "nan"}, "FETCH_TIMEOUT is nan"),
        # What the system's own calls have no number for: each page would fail by itself, and say nothing of a setting.
        ({"FETCH_TIMEOUT": "1e11"}, "FETCH_TIMEOUT is .*: it must be from 0.001 to 86400"),
        ({"PREDICT_DEADLINE": "1e300"}, "PREDICT_DEADLINE is 1e.300"),
        ({"THREADS": "100000000"}, "THREADS is 100000000: it must be from 1 to 1000"),
        ({"WORKERS": "1000000"}, "WORKERS is 1000000"),
        ({"MODEL_THREADS": "1000000000"}, "MODEL_THREADS is 1000000000: it must be from 0 to 1000"),
        ({"MAX_BYTES": "99999999999999999999"}, "MAX_BYTES is 9+: it must be from 1 to 17179869184"),
        ({"MAX_PIXELS": "99999999999999999999"}, "MAX_PIXELS is 9+"),
        ({"MAX_PAGES": "99999999999999999999"}, "MAX_PAGES is 9+"),
        ({"CACHE_BYTES": "99999999999999999999"}, "CACHE_BYTES is 9+"),
        ({"CACHE_SECONDS": "1e300"}, "CACHE_SECONDS is 1e.300"),
        ({"RENDER_DPI": "1000000000"}, "RENDER_DPI is 1000000000: it must be from 1 to 2400"),
        # Neither yes nor no.
        ({"SAMPLES_IN_SERVER": "7"}, "SAMPLES_IN_SERVER is 7: it must be from 0 to 1"),
        ({"ASK_HUB": "-1"}, "ASK_HUB is -1: it must be from 0 to 1"),
        ({"DASHBOARD_PEOPLE": "2"}, "DASHBOARD_PEOPLE is 2: it must be from 0 to 1"),
        # Addresses that are none, or more than one.
        ({"LABEL_STUDIO_URL": "http://"}, "LABEL_STUDIO_URL is 'http://': expected an address"),
        ({"LABEL_STUDIO_URL": "http://a b"}, "LABEL_STUDIO_URL is 'http://a b': expected an address, without a space"),
        ({"LABEL_STUDIO_URL": "http://a:99999"}, "LABEL_STUDIO_URL is 'http://a:99999': expected an address"),
        ({"LABEL_STUDIO_URL": "http://[::1"}, r"LABEL_STUDIO_URL is 'http://\[::1': expected an address"),
        ({"LABEL_STUDIO_URL": "http://a/?q=1"}, "expected an address, without .* a query or a fragment"),
        ({"LABEL_STUDIO_URL": "http://a/#f"}, "expected an address, without .* a query or a fragment"),
        ({"LABEL_STUDIO_URL": "http://anna:word@a/"}, "'http://a/': a user name or password in it would be sent"),
        ({"HUB_PROXY": "proxy:3128"}, "HUB_PROXY is 'proxy:3128': an address begins .*, such as http://proxy:3128"),
        ({"HUB_PROXY": "socks5://proxy:1"}, "HUB_PROXY is 'socks5://proxy:1': an address begins with http"),
        ({"HUB_PROXY": "http://"}, "HUB_PROXY is 'http://': expected an address"),
        ({"TRACKER": "mlflow"}, "TRACKER is 'mlflow': expected module:Class"),
        ({"BASIC_AUTH_USER": "a:b", "BASIC_AUTH_PASS": "c"}, "BASIC_AUTH_USER has a colon"),
        ({"BASIC_AUTH_USER": "a", "BASIC_AUTH_PASS": "c\nd"}, "_PASS has a character that cannot be typed"),
    ],
)
def test_nonsense_is_refused_by_name(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Settings.from_environment(environment)


def test_no_message_tells_a_password() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"BASIC_AUTH_PASS": "open sesame"})
    assert "open sesame" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"LABEL_STUDIO_API_KEY": "open sésame"})
    assert "sésame" not in str(caught.value)
    for name, url in (("LABEL_STUDIO_URL", "http://me:sesame@a"), ("HUB_PROXY", "ftp://me:sesame@a")):
        with pytest.raises(SettingsError) as caught:
            Settings.from_environment({name: url})
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("name", "default", "meaning"), describe(), ids=[row[0] for row in describe()])
def test_the_docs_have_the_row(name: str, default: str, meaning: str) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` ")]
    assert len(rows) == 1, f"docs/settings.md has no row, or several, for {name}"
    assert meaning in rows[0].replace("\\|", "|")
    assert not default or f"`{default}`" in rows[0]


def test_the_docs_have_no_row_of_a_setting_that_is_gone() -> None:
    named = re.findall(r"^\| `([A-Z_]+)` ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(named) == sorted(name for name, _, _ in describe())


TOML = """
port = 9191
label_studio_url = "http://studio.example"
CONFIDENCE = 0.25
samples_in_server = false
"""
ENV = """
# of the server in the basement
PORT=9191   # free there
export LABEL_STUDIO_URL="http://studio.example"
confidence='0.25'
SAMPLES_IN_SERVER=0
"""


@pytest.mark.parametrize(("name", "text"), [("settings.toml", TOML), ("settings.env", ENV), (".env", ENV)])
def test_a_settings_file_counts_behind_the_environment_and_that_behind_the_command_line(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    environment = {"SETTINGS_FILE": str(tmp_path / name), "CONFIDENCE": "0.75", "HOST": ""}
    found = Settings.from_environment(environment)
    assert (found.port, found.label_studio_url, found.samples_in_server) == (9191, "http://studio.example", 0)
    assert found.confidence == 0.75
    assert found.host == Settings().host
    assert Settings.from_environment(environment, port=1, confidence=0.5) == dataclasses.replace(
        found, port=1, confidence=0.5
    )


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('HOST="::1"', "::1"),
        ("HOST='::1'   # this machine", "::1"),
        ('HOST="a # b"#c', "a # b"),
        ("HOST=::1 # this machine", "::1"),
        ("HOST=a#b", "a#b"),
        ('HOST=a"b"', 'a"b"'),
        ("export\tHOST\t=\ta\t# a tab", "a"),
        (r'HOST="C:\new \"x\" \\"', r'C:\new "x" \\'[:-1]),
        (r"HOST='a\'", "a\\"),
        ("\ufeffHOST=a", "a"),
        ("  export HOST = a  ", "a"),
        ("HOST=", "127.0.0.1"),
    ],
)
def test_a_line_of_an_env_file_is_read_as_it_is_meant(line: str, value: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{line}\r\nPORT=7\n", encoding="utf-8")
    found = Settings.from_environment({"SETTINGS_FILE": str(tmp_path / ".env")})
    assert (found.host, found.port) == (value, 7)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.toml", "port = ", "cannot be read"),
        ("a.toml", "prot = 1", r"names PROT: no such setting .*is PORT meant\?\)"),
        ("a.toml", "qwerty = 1", r"names QWERTY: no such setting \(docs/settings.md lists them all\)"),
        ("a.toml", "[port]\nhere = 1", "PORT is neither a text nor a number"),
        ("a.toml", "port = 'ninety'", "PORT is 'ninety'"),
        (".env", "PORT 1", "line 1 is no NAME=value"),
        (".env", '\nHOST="a', "line 2 begins with a quote, and does not end with it"),
        (".env", 'HOST="a"b', "line 1 begins with a quote"),
        (".env", "HOST='it's'", "line 1 begins with a quote"),
        (".env", "exportHOST=a", "names EXPORTHOST: no such setting"),
        (".env", "SETTINGS_FILE=other", "names SETTINGS_FILE"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_refused(name: str, text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=reason):
        Settings.from_environment({"SETTINGS_FILE": str(tmp_path / name)})


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_settings_file_of_another_encoding_says_what_to_do(encoding: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BASIC_AUTH_USER=Jörg\nBASIC_AUTH_PASS=x\n", encoding=encoding)
    with pytest.raises(SettingsError, match="not in UTF-8: save it so"):
        Settings.from_environment({"SETTINGS_FILE": str(tmp_path / ".env")})
