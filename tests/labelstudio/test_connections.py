"""Tokens go to LABEL_STUDIO_URL, and nowhere else."""

import pytest

from backend.labelstudio.connections import Connections
from backend.settings import Settings
from tests.server.conftest import MemoryPages

URL = "http://studio.test:8080"


def headers(project: str, *, hostname: str = URL, learn: bool = True, **settings):
    """What pages of a project are fetched with, after its /setup."""
    source = MemoryPages()
    connections = Connections(Settings(label_studio_url=URL, **settings), source=source)
    if learn:
        connections.learn("1", hostname=hostname, token="theirs")
    connections.pages(project)
    [access] = source.accesses
    assert access.base_url == URL
    return access.headers()


def test_the_operators_key_is_used_whatever_setup_says():
    assert headers("1", label_studio_api_key="ours") == {"Authorization": "Token ours"}


def test_without_a_key_the_token_of_setup_is_used():
    assert headers("1") == {"Authorization": "Token theirs"}


def test_a_token_serves_the_project_that_it_came_for_only():
    assert headers("2") == {}


def test_before_setup_nothing_is_sent():
    assert headers("1", learn=False) == {}


@pytest.mark.parametrize(
    "hostname",
    [
        # another host, port or scheme
        "http://evil.test:8080",
        "http://studio.test:9999",
        "https://studio.test:8080",
        # tricks with user info
        "http://studio.test:8080@evil.test",
        # nothing that is an address
        "",
        "studio.test",
        "http://[",
        "http://studio.test:99999999",
    ],
)
def test_a_token_from_another_label_studio_is_not_kept(hostname, caplog):
    assert headers("1", hostname=hostname) == {}
    assert "theirs" not in caplog.text
    assert "LABEL_STUDIO_URL" in caplog.text


@pytest.mark.parametrize("hostname", [URL, URL + "/", URL + "/prefix", "http://STUDIO.test:8080"])
def test_the_same_host_written_otherwise_is_the_same(hostname):
    assert headers("1", hostname=hostname) == {"Authorization": "Token theirs"}


def test_the_names_of_the_loopback_are_one_host():
    source = MemoryPages()
    connections = Connections(Settings(label_studio_url="http://127.0.0.1:8080"), source=source)
    connections.learn("1", hostname="http://localhost:8080", token="theirs")
    connections.pages("1")
    assert source.accesses[0].headers() == {"Authorization": "Token theirs"}


def test_projects_of_one_token_share_one_page_source():
    source = MemoryPages()
    connections = Connections(Settings(label_studio_url=URL), source=source)
    for project in ("1", "2"):
        connections.learn(project, hostname=URL, token="theirs")
        connections.pages(project)
    assert len(source.accesses) == 1


def test_what_strangers_can_make_it_remember_is_bounded():
    source = MemoryPages()
    connections = Connections(Settings(label_studio_url=URL), source=source)
    for number in range(1200):
        connections.learn(str(number), hostname=URL, token="theirs")
    connections.pages("0")
    connections.pages("1199")
    assert [access.headers() for access in source.accesses] == [{}, {"Authorization": "Token theirs"}]
