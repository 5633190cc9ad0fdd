"""Real parts beside: a PostgreSQL that is restarted under load, an object store, two backends on one of each."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psycopg
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine, select

from backend.commands.prelabel import archive
from backend.commands.prelabel.archive import Item, content, items
from backend.corrections.crop_store import CropStore, cut
from backend.corrections.database import open_database
from backend.corrections.tables import event, sample
from backend.errors import LedgerError, LimitExceeded, PageUnavailable, SettingsError
from tests.corrections.annotating import drawn, saved
from tests.corrections.conftest import Cluster
from tests.corrections.test_kill import finish, nothing_waits, serving
from tests.corrections.troubled_way import TROUBLES, troubled_way
from tests.http_client import HTTP
from tests.patience import SECONDS, eventually

A = (10.0, 10.0, 60.0, 60.0)
BUCKET = "contracts"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket of an S3-compatible server; boto's own settings lead every driver and process there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # One that an earlier test had would go on asking that test's server.
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    HTTP.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
    try:
        yield f"s3://{BUCKET}/corrections"
    finally:
        server.stop()


def correction(number: int) -> dict[str, Any]:
    return saved(number, task=number, at=950, result=[drawn(f"r{number}", "stamp", A)])


def send(address: str, numbers: range) -> list[int]:
    """The status of the answer to each event, sent by sixteen at once."""
    with httpx2.Client(timeout=SECONDS) as http, ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda n: http.post(f"{address}/webhook", json=correction(n)).status_code, numbers))


def there(engine: Engine) -> tuple[list[int], list[int]]:
    """The annotations of the events, and of the samples; each as often as it is there."""
    with engine.connect() as connection:
        stored = [body["annotation"]["id"] for body in connection.execute(select(event.c.body)).scalars()]
        return sorted(stored), sorted(connection.execute(select(sample.c.annotation)).scalars())


def all_learnt(engine: Engine, numbers: range) -> None:
    """Waits for the samples of all of these, as long as they become more."""
    have = 0
    while have < len(numbers):
        eventually(lambda before=have: len(there(engine)[1]) > before)
        have = len(there(engine)[1])
    assert there(engine) == (list(numbers), list(numbers))


def test_a_postgresql_that_is_restarted_under_load_delays_and_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with psycopg.connect(f"{cluster.url}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE ledger")
    url = f"{cluster.url}/ledger"
    with serving("none", url, tmp_path) as served:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send, served.address, range(1, 101))
            cluster.stop()
            assert send(served.address, range(101, 131)) == [200] * 30
            assert HTTP.get(f"{served.address}/health").status_code == 200
            cluster.start()
            assert sent.result() == [200] * 100
        engine = open_database(url)
        all_learnt(engine, range(1, 131))
        eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "ready")
        engine.dispose()


@pytest.mark.parametrize("trouble", ["refused", "silent"])
def test_a_postgresql_in_trouble_under_load_delays_and_loses_nothing(
    trouble: str, cluster: Cluster, tmp_path: Path
) -> None:
    with psycopg.connect(f"{cluster.url}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE ledger")
    engine = open_database(f"{cluster.url}/ledger")
    with troubled_way(int(cluster.url.rpartition(":")[2])) as way:
        url = f"postgresql://ledger@127.0.0.1:{way.port}/ledger"
        with serving("none", url, tmp_path) as served:
            assert send(served.address, range(1, 6)) == [200] * 5
            way.begin(trouble)
            assert send(served.address, range(6, 21)) == [200] * 15
            eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "degraded")
            way.end()
            assert send(served.address, range(21, 26)) == [200] * 5
            all_learnt(engine, range(1, 26))
            eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "ready")
    engine.dispose()


def test_a_postgresql_that_is_gone_without_a_word_is_given_up_soon(cluster: Cluster) -> None:
    """The system itself would wait for a quarter of an hour, or two."""
    engine = open_database(f"{cluster.url}/postgres?keepalives_count=7")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as one:
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7, "as DATABASE_URL says"
    engine.dispose()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_in_trouble_under_load_delays_and_loses_nothing(
    trouble: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops wait for it; events, and who sends them, do not."""
    database_url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    engine = open_database(database_url)
    with troubled_way(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])) as way:
        monkeypatch.setenv("STORAGE_URL", bucket)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with serving("none", database_url, tmp_path) as served:
            assert send(served.address, range(1, 6)) == [200] * 5
            way.begin(trouble)
            assert send(served.address, range(6, 21)) == [200] * 15
            eventually(lambda: set(range(1, 21)) <= set(there(engine)[0]))
            eventually(lambda: way.came > 0 or trouble in ("silent", "slow"))
            assert HTTP.get(f"{served.address}/health").status_code == 200
            way.end()
            assert send(served.address, range(21, 26)) == [200] * 5
            eventually(lambda: set(range(21, 26)) <= set(there(engine)[0]))
        s3fs.S3FileSystem.clear_instance_cache()
        finish(engine, tmp_path, crops=bucket)
        assert there(engine) == (list(range(1, 26)), list(range(1, 26)))
        crops = CropStore(bucket)
        with engine.connect() as connection:
            for key in set(connection.execute(select(sample.c.crop)).scalars()):
                assert crops.get(key).size
    engine.dispose()


def test_a_start_while_the_ledger_is_away_takes_events_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    with psycopg.connect(f"{cluster.url}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE ledger")
    url = f"{cluster.url}/ledger"
    cluster.stop()
    with serving("none", url, tmp_path) as served:
        assert send(served.address, range(1, 21)) == [200] * 20
        eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "degraded")
        cluster.start()
        engine = open_database(url)
        all_learnt(engine, range(1, 21))
        eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "ready")
        engine.dispose()


def test_a_locked_ledger_refuses_no_event(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    engine = open_database(url)
    with serving("none", url, tmp_path) as served:
        other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert send(served.address, range(1, 41)) == [200] * 40
        eventually(lambda: HTTP.get(f"{served.address}/health").json()["storage"] == "degraded")
        assert there(engine) == ([], [])
        other.execute("ROLLBACK")
        other.close()
        all_learnt(engine, range(1, 41))
    engine.dispose()


def test_two_backends_share_a_database_and_a_bucket(
    database_url: str, engine: Engine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is killed in the middle of it: the other one does its work, but for what only its disk has."""
    monkeypatch.setenv("STORAGE_URL", bucket)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    with serving("none", database_url, one) as first, serving("none", database_url, other) as second:
        assert send(first.address, range(1, 31)) == [200] * 30
        first.kill()
        assert send(second.address, range(31, 61)) == [200] * 30
        eventually(lambda: set(range(31, 61)) <= set(there(engine)[0]))
    for folder in (one, other):
        finish(engine, folder, crops=bucket)
    assert there(engine) == (list(range(1, 61)), list(range(1, 61)))
    assert nothing_waits(engine)
    crops = CropStore(bucket)
    with engine.connect() as connection:
        for key in set(connection.execute(select(sample.c.crop)).scalars()):
            assert crops.get(key).size


def test_crops_are_kept_in_an_object_store_and_its_outage_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = cut(np.full((80, 80, 3), 200, np.uint8), A)
    store = CropStore(bucket)
    store.check()
    assert store.put(crop) == store.put(crop) == crop.key
    assert CropStore(bucket).get(crop.key).shape == (73, 73, 3)
    with pytest.raises(LedgerError, match="cannot be read"):
        store.get("0" * 64)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    nowhere = CropStore(bucket)
    with pytest.raises(LedgerError, match="could not be stored"):
        nowhere.put(crop)
    with pytest.raises(LedgerError, match="cannot be written"):
        nowhere.check()


def test_an_archive_in_an_object_store_is_listed(bucket: str) -> None:
    with pytest.raises(SettingsError, match="neither a folder nor a file"):
        list(items([f"s3://{BUCKET}/nothing"], prefix=""))
    for name in ("b/page-2.png", "a/page-1.png", "a/notes.txt"):
        HTTP.put(f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}/archive/{name}", content=b"x").raise_for_status()
    found = [item.name for item in items([f"s3://{BUCKET}/archive"], prefix="")]
    assert found == [f"s3://{BUCKET}/archive/a/page-1.png", f"s3://{BUCKET}/archive/b/page-2.png"]


def test_an_archive_whose_store_does_not_answer_says_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SettingsError, match=rf"s3://{BUCKET}/archive cannot be listed .*whether the store answers"):
        list(items([f"s3://{BUCKET}/archive"], prefix=""))


@pytest.mark.parametrize("call", ["put", "get", "check", "read", "list"])
def test_a_store_that_says_a_byte_now_and_then_is_not_waited_for(
    call: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time: nothing but the whole call's own time ends it."""
    crop = cut(np.full((80, 80, 3), 200, np.uint8), A)
    CropStore(bucket).put(crop)
    page = Item(name=f"s3://{BUCKET}/slow-{call}/page-1.png")
    HTTP.put(f"{os.environ['AWS_ENDPOINT_URL']}/{page.name[5:]}", content=b"x" * 9_000).raise_for_status()
    monkeypatch.setattr(archive, "_LIST_SECONDS", 1.0)
    with troubled_way(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
        s3fs.S3FileSystem.clear_instance_cache()
        store = CropStore(bucket, seconds=1.0)
        calls: dict[str, tuple[type[Exception], Callable[[], object]]] = {
            "put": (LedgerError, lambda: store.put(crop)),
            "get": (LedgerError, lambda: store.get(crop.key)),
            "check": (LedgerError, store.check),
            "read": (PageUnavailable, lambda: content(page, max_bytes=10_000, seconds=1.0)),
            "list": (SettingsError, lambda: list(items([f"s3://{BUCKET}/slow-{call}"], prefix=""))),
        }
        error, ask = calls[call]
        assert content(page, max_bytes=10_000) == b"x" * 9_000
        way.begin("slow")
        with pytest.raises(error):
            ask()
        way.end()
        s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(LimitExceeded, match="MAX_BYTES"):
        content(page, max_bytes=8_999)


def test_a_folder_that_was_taken_away_is_not_made_anew_for_a_crop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    crop, store = cut(np.full((80, 80, 3), 200, np.uint8), A), CropStore(str(data))
    store.put(crop)
    data.rename(tmp_path / "moved")
    with pytest.raises(LedgerError, match="put it back"):
        store.put(crop)
    assert not data.exists()
