"""Keys that wait for their proof: never active before it, never lost, one for each holder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from felinar.keys import KeyStoreError, SessionState, SqliteKeyStore

SECRET = bytes(range(32))
STATE = SessionState(3, 1, 1, b"u" * 16, b"d" * 16, b"request" * 2, b"answer" * 6)
A, B = "24:6f:28:00:00:01", "24:6f:28:00:00:02"


def opened(path: Path, create: bool = False) -> SqliteKeyStore:
    return SqliteKeyStore(path, SECRET, create=create, now=lambda: 1_800_000_000, machine=lambda: "m")


def test_pending_then_active(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys.db", create=True)
    old = store.provision(7)
    store.begin(7, STATE)
    new, other = store.prepare(7, A), store.prepare(7, B)
    assert len({old, new, other}) == 3
    assert store.prepare(7, A) == new
    assert store.root(7) == old
    assert store.session(7) == STATE
    assert store.pending() == [(7, A), (7, B)]
    assert store.prepare(8, A) != new
    assert store.nodes() == [7]
    store.close()
    store = opened(tmp_path / "keys.db")
    assert store.pending_key(7, A) == new
    assert store.activate(7, A)
    assert store.root(7) == new
    assert store.session(7) is None
    assert store.last_join(7) == 0
    assert store.pending() == [(7, B), (8, A)]
    assert not store.activate(7, A)
    assert store.root(7) == new
    assert store.prepare(7, A) not in (new, other)
    store.drop(7, A)
    assert store.pending_key(7, A) is None
    store.remove(7)
    assert store.pending() == [(8, A)]
    assert store.root(7) is None
    store.close()


def test_keys_made_elsewhere(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys.db", create=True)
    store.put(5, b"k" * 16, 9)
    store.put_pending(6, A, b"p" * 16)
    assert (store.root(5), store.last_join(5)) == (b"k" * 16, 9)
    assert store.prepare(6, A) == b"p" * 16
    for bad in (-1, 65536):
        with pytest.raises(KeyStoreError, match="0 to 65535"):
            store.put_pending(bad, A, b"p" * 16)
    store.backup(tmp_path / "backup.db")
    store.close()
    copy = opened(tmp_path / "backup.db")
    assert copy.pending_key(6, A) == b"p" * 16
    copy.close()
    for file in tmp_path.iterdir():
        assert b"p" * 16 not in file.read_bytes()


def test_a_pending_key_stays_with_its_address_and_holder(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    store.prepare(5, A)
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE pending SET address = 6")
    store = opened(path)
    with pytest.raises(KeyStoreError, match="does not open"):
        store.activate(6, A)
    store.close()


def test_a_store_of_version_1_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    root = store.provision(5)
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("DROP TABLE pending; PRAGMA user_version=1")
    store = opened(path)
    assert store.root(5) == root
    assert store.pending() == []
    store.prepare(5, A)
    store.close()
    store = opened(path)
    assert store.pending() == [(5, A)]
    store.close()
