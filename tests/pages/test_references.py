"""Which references are accepted, which are refused, and how they look in a message."""

from __future__ import annotations

import httpx2
import pytest

from backend.errors import (
    ReferenceRefused,
    SettingsError,
)
from backend.pages.page import Limits
from backend.pages.references import AllowList, Remote, host_of, resolve, shorten
from backend.settings import Settings
from tests.pages.conftest import Access

BASE = "http://ls.example:8080/label-studio"
SETTINGS = Settings(allowed_hosts="files.example, other.example:8443 ,[2001:db8::1]:9000")
LIMITS = Limits.of(SETTINGS)


def resolved(reference: str, *, task_id: int | None = 3) -> str:
    source = resolve(
        reference,
        task_id=task_id,
        settings=SETTINGS,
        access=Access(BASE),
        allow_list=AllowList(base_url=BASE, allowed_hosts=SETTINGS.allowed_hosts),
        limits=LIMITS,
    )
    assert isinstance(source, Remote)
    return str(source.url)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/data/upload/1/a.png", f"{BASE}/data/upload/1/a.png"),  # below the prefix
        ("/label-studio/data/upload/1/a.png", f"{BASE}/data/upload/1/a.png"),  # with the prefix already
        (" /data/upload/1/a.png\n", f"{BASE}/data/upload/1/a.png"),  # space around it
        ("/data/upload/1/%D8%B9%D9%82%D8%AF.png", f"{BASE}/data/upload/1/%D8%B9%D9%82%D8%AF.png"),  # an Arabic name
        ("/data/upload/1/عقد.png", f"{BASE}/data/upload/1/%D8%B9%D9%82%D8%AF.png"),  # the same, not encoded
        ("/data/upload/1/my scan 2.png", f"{BASE}/data/upload/1/my%20scan%202.png"),  # spaces, not encoded
        ("https://files.example/my scan.png", "https://files.example/my%20scan.png"),
        ("/data/local-files/?d=a/b.png", f"{BASE}/data/local-files/?d=a/b.png"),
        (
            "/data/local-files/?d=عقد إيجار.jpg",
            f"{BASE}/data/local-files/?d=%D8%B9%D9%82%D8%AF%20%D8%A5%D9%8A%D8%AC%D8%A7%D8%B1.jpg",
        ),
        ("/data/local-files/?d=2024\\scan 1.png", f"{BASE}/data/local-files/?d=2024%5Cscan%201.png"),  # from Windows
        ("/storage-data/uploaded/?filepath=upload/1/a.png", f"{BASE}/storage-data/uploaded/?filepath=upload/1/a.png"),
        ("/tasks/4/presign/?fileuri=czM6", f"{BASE}/tasks/4/presign/?fileuri=czM6"),  # as Label Studio rewrites tasks
        ("/static/samples/sample.jpg", f"{BASE}/static/samples/sample.jpg"),  # the sample task of its own test request
        ("http://LS.example:8080/x.png", "http://ls.example:8080/x.png"),  # Label Studio's host, in capitals
        ("https://files.example/a.png?sig=1", "https://files.example/a.png?sig=1"),  # listed, default port
        ("http://files.example:80/a.png", "http://files.example/a.png"),
        ("https://other.example:8443/a.png", "https://other.example:8443/a.png"),  # listed with its port
        ("http://[2001:db8:0::1]:9000/a.png", "http://[2001:db8:0::1]:9000/a.png"),  # IPv6
        ("s3://bucket/a b.png", f"{BASE}/tasks/3/presign/?fileuri=s3%3A%2F%2Fbucket%2Fa%20b.png"),
        ("azure-blob://box/a.png", f"{BASE}/tasks/3/presign/?fileuri=azure-blob%3A%2F%2Fbox%2Fa.png"),
    ],
)
def test_allowed_references_lead_to_their_address(reference: str, url: str) -> None:
    assert resolved(reference) == str(httpx2.URL(url))


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("", "no page"),
        ("   ", "no page"),
        (None, "no page"),  # a task without the field
        (["/data/upload/1/a.png"], "no page"),  # a list where one reference belongs
        ("file:///etc/passwd", "http"),
        ("ftp://files.example/a.png", "http"),
        ("gopher://files.example/", "http"),
        ("javascript:alert(1)", "http"),
        ("upload/1/a.png", "http"),  # neither a path of Label Studio's nor an address
        ("C:\\scans\\a.png", "percent-encoded"),
        ("/etc/passwd", "page routes"),
        ("/api/current-user/token", "page routes"),  # the token must not go there
        ("/data/../api/current-user/token", "page routes"),  # climbs
        ("/data/upload/%2e%2e/%2e%2e/api/users", "page routes"),  # climbs, encoded
        ("/data/upload/..%2f..%2fapi/users", "page routes"),  # climbs, with encoded slashes
        ("/data/upload/%252e%252e/a", "page routes"),  # climbs, encoded twice
        ("/tasks/4/delete/", "page routes"),
        ("http://files.example /a.png", "valid|ALLOWED_HOSTS"),  # a space in the host
        ("/data/up load/../../api/users", "page routes"),  # climbs, with a space
        ("//evil.example/a.png", "http"),  # another host, without a scheme
        ("/\\evil.example/a.png", "percent-encoded"),  # a backslash that browsers take for a slash
        ("http://evil.example/a.png", "evil.example.*ALLOWED_HOSTS"),
        ("https://ls.example:8080/a.png", "ALLOWED_HOSTS"),  # Label Studio's host with another scheme
        ("http://ls.example/a.png", "ALLOWED_HOSTS"),  # its host, another port
        ("http://files.example:8000/a.png", "ALLOWED_HOSTS"),  # listed, another port
        ("https://other.example/a.png", "ALLOWED_HOSTS"),  # listed with another port
        ("http://sub.files.example/a.png", "ALLOWED_HOSTS"),  # a name below a listed one
        ("http://files.example.evil.example/a.png", "ALLOWED_HOSTS"),  # a name that begins like it
        ("http://ls.example:8080@evil.example/a.png", "user name"),  # a host dressed as a user
        ("http://name:word@files.example/a.png", "user name"),
        ("http://evil.example#@files.example/a.png", "ALLOWED_HOSTS"),  # the listed host in the fragment
        ("http://evil.example?@files.example/a.png", "ALLOWED_HOSTS"),  # in the query
        ("http://evil.example\\@files.example/a.png", "percent-encoded"),
        ("http://evil.example?\\@files.example/a.png", "ALLOWED_HOSTS"),  # a backslash in the query
        ("/data\\local-files/?d=a.png", "percent-encoded"),
        ("http://files.example\r\nHost: evil.example/a.png", "percent-encoded"),  # a header smuggled in
        ("http://127.0.0.1/a.png", "ALLOWED_HOSTS"),
        ("http://2130706433/a.png", "ALLOWED_HOSTS"),  # 127.0.0.1 as one number
        ("http://0x7f.1/a.png", "ALLOWED_HOSTS"),  # in hexadecimal
        ("http://[::1]/a.png", "ALLOWED_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", "ALLOWED_HOSTS"),  # a cloud machine's own secrets
        ("http:///a.png", "ALLOWED_HOSTS|valid"),  # no host
        ("http://files.example:99999/a.png", "valid|ALLOWED_HOSTS"),  # no port
        ("http://[::1/a.png", "valid"),  # half a bracket
    ],
)
def test_other_references_are_refused_with_the_reason(reference: str, reason: str) -> None:
    with pytest.raises(ReferenceRefused, match=reason) as caught:
        resolved(reference)
    assert ":word" not in str(caught.value)


def test_cloud_references_need_a_task() -> None:
    with pytest.raises(ReferenceRefused, match="for a task"):
        resolved("s3://bucket/a.png", task_id=None)


@pytest.mark.parametrize(
    ("url", "authorised"),
    [
        ("http://ls.example/data/upload/1/a.png", True),
        ("https://ls.example/data/upload/1/a.png", True),  # the same host, moved to https
        ("https://ls.example:8443/data/upload/1/a.png", False),
        ("http://ls.example:81/data/upload/1/a.png", False),
        ("http://ls.example/api/users", False),
        ("http://ls.example/tasks/12/presign/?fileuri=x", True),
        ("http://ls.example/tasks/12/", False),
        ("http://files.example/data/upload/1/a.png", False),  # listed, but not Label Studio
    ],
)
def test_authorisation_is_for_label_studios_page_routes(url: str, authorised: bool) -> None:
    allow_list = AllowList(base_url="http://ls.example", allowed_hosts="files.example")
    assert allow_list.authorises(httpx2.URL(url)) is authorised


@pytest.mark.parametrize("entry", ["http://files.example", "a@b", "host/path", "*", "a b", "host:port"])
def test_a_malformed_allow_list_is_a_settings_error(entry: str) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_HOSTS"):
        AllowList(base_url=BASE, allowed_hosts=f"files.example,{entry}")


@pytest.mark.parametrize("url", ["", "ls.example", "ftp://ls.example", "http://", "http://[::1"])
def test_a_malformed_label_studio_address_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL"):
        AllowList(base_url=url, allowed_hosts="")


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("/data/upload/1/a.png", "/data/upload/1/a.png"),
        ("https://h.example/a.png?X-Amz-Signature=s3cret#part", "https://h.example/a.png"),
        ("https://name:word@h.example/a.png", "https://h.example/a.png"),
        ("https://name:w@rd@h.example/a.png", "https://h.example/a.png"),  # two signs: the last one counts
        ("s3://bucket/a@b.png?versionId=1", "s3://bucket/a@b.png"),
        ("/data/local-files/?d=a/b.png&token=s3cret", "/data/local-files/?d=a/b.png"),  # the file's name stays
        ("/data/local-files/?token=s3cret", "/data/local-files/"),
        ("data:image/png;base64," + "A" * 999, "data:image/png;base64,AAAAAAAAAA…"),
        ("/data/upload/a\nb\x1b[31m", "/data/upload/a�b�[31m"),  # nothing that writes lines into a log
        ("/data/" + "a" * 999, "/data/" + "a" * 194 + "…"),
    ],
)
def test_messages_show_a_short_reference_without_secrets(reference: str, shown: str) -> None:
    assert shorten(reference) == shown


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("http://Pages.Example:8080/a.png", "pages.example"),
        ("HTTPS://pages.example./a.png", "pages.example"),
        ("http://pages.example:08080?x", "pages.example"),
        ("http://[::1]:8080/a.png", "[::1]"),
        ("/data/upload/a.png", ""),
    ],
)
def test_a_host_has_one_name_whatever_it_is_written_as(reference: str, host: str) -> None:
    """By it, slow pages share their places."""
    assert host_of(reference) == host
