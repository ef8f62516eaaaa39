"""The host's key store: files, secrets, what a backup holds, what is said when something is wrong."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from felinar.keys import KeyStoreError, SessionState, SqliteKeyStore, read_secret
from felinar_wire import WireError

from tests.protocol.security_helpers import REPORT, SECRET, START, Host, Node

STATE = SessionState(1, 1, 1, b"u" * 16, b"d" * 16, b"request" * 2, b"answer" * 6, 7, 8, 9)


def opened(path: Path, *, secret: bytes = SECRET, create: bool = False, now: float = START) -> SqliteKeyStore:
    return SqliteKeyStore(path, secret, create=create, now=lambda: now, machine=lambda: "m")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    roots = {address: store.provision(address) for address in (0, 5, 65535)}
    store.begin(5, STATE)
    zone, chain = store.zone_key(0x8001), store.chain_secret()
    store.close()
    store = opened(path)
    assert store.nodes() == [0, 5, 65535]
    assert {a: store.root(a) for a in roots} == roots
    assert len(set(roots.values())) == 3
    assert store.root(6) is None
    assert store.last_join(5) == 1
    assert store.last_join(6) == 0
    assert store.session(5) == STATE
    assert store.zone_key(0x8001) == zone
    assert store.chain_secret() == chain
    assert store.rotate_zone(0x8001) != zone
    assert store.invalidate() == 1
    assert store.session(5) is None
    assert store.last_join(5) == 1
    assert store.provision(5) != roots[5]
    assert store.last_join(5) == 0
    store.remove(5)
    assert store.nodes() == [0, 65535]
    for bad in (-1, 65536):
        with pytest.raises(KeyStoreError, match="0 to 65535"):
            store.provision(bad)


def test_modes_and_secrecy(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    secrets = [store.provision(5), store.zone_key(7), store.chain_secret(), STATE.up, STATE.down]
    store.begin(5, STATE)
    files = [p for p in tmp_path.iterdir() if p.is_file()]
    names = {p.name.removeprefix("keys.db") for p in files}
    assert names == {"", "-wal", "-shm", ".token", ".sessions", ".keys"}
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    store.close()
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        for secret in secrets:
            assert secret not in content
            assert secret.hex().encode() not in content
    path.chmod(0o640)
    with pytest.raises(KeyStoreError, match="mode 0640"):
        opened(path)


def test_entries_cannot_change_places(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    store.provision(5)
    store.provision(6)
    store.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE node SET root = (SELECT root FROM node WHERE address = 6) WHERE address = 5")
    store = opened(path)
    with pytest.raises(KeyStoreError, match="'root 5' does not open"):
        store.root(5)
    assert store.root(6)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at" * 100)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def other_database(path: Path) -> None:
    path.write_bytes(b"")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE t (x)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (garbage, "not a sound key store"),
        (truncated, "not a sound key store"),
        (other_database, "is not a key store"),
        (newer, "newer Felinar"),
    ],
)
def test_a_spoilt_file_is_refused_and_left_alone(tmp_path: Path, harm: Callable[[Path], None], sentence: str) -> None:
    path = tmp_path / "keys.db"
    store = opened(path, create=True)
    for address in range(50):
        store.provision(address)
    store.close()
    harm(path)
    before = path.read_bytes()
    with pytest.raises(KeyStoreError, match=sentence):
        opened(path)
    assert path.read_bytes() == before


def test_wrong_secret_missing_store_second_process(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with pytest.raises(KeyStoreError, match="can't be opened"):
        opened(path)
    store = opened(path, create=True)
    with pytest.raises(KeyStoreError, match="another process"):
        opened(path)
    store.close()
    with pytest.raises(KeyStoreError, match="secret is another"):
        opened(path, secret=bytes(32))
    opened(path).close()


def test_secret_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(KeyStoreError, match="can't be read"):
        read_secret(path)
    secret = read_secret(path, create=True)
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret(path) == secret
    path.write_bytes(b"short")
    with pytest.raises(KeyStoreError, match="32 bytes"):
        read_secret(path)
    path.chmod(0o644)
    with pytest.raises(KeyStoreError, match="mode 0644"):
        read_secret(path)


def test_a_backup_holds_neither_sessions_nor_the_chain(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys.db", create=True)
    root, zone, chain = store.provision(5), store.zone_key(7), store.chain_secret()
    store.begin(5, STATE)
    store.backup(tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("SELECT count(*) FROM session").fetchone() == (0,)
        assert db.execute("SELECT name FROM secret").fetchall() == [("zone 7",)]
    with pytest.raises(KeyStoreError, match=r"copy\.db can't be made"):
        store.backup(tmp_path / "copy.db")
    assert store.session(5) == STATE
    copy = opened(tmp_path / "copy.db")
    assert copy.discarded == "the store is a backup"
    assert copy.root(5) == root
    assert copy.zone_key(7) == zone
    assert copy.last_join(5) == 1
    assert copy.chain_secret() != chain
    copy.close()
    assert opened(tmp_path / "copy.db").discarded == ""


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing", ""),
        ("a minute later", ""),
        ("two hours later", "unused for more than an hour"),
        ("earlier", "the clock ran back"),
        ("token gone", "not as it was left"),
        ("token of before", "not as it was left"),
        ("copied folder", "copied or moved"),
        ("renamed folder", ""),
        ("other machine", "copied or moved"),
    ],
)
def test_when_sessions_end(tmp_path: Path, what: str, reason: str) -> None:
    path = tmp_path / "a" / "keys.db"
    path.parent.mkdir()
    store = opened(path, create=True)
    token = path.with_name("keys.db.token")
    before = token.read_bytes()
    store.provision(5)
    chain = store.chain_secret()
    store.begin(5, STATE)
    store.close()
    now = START + {"a minute later": 60, "two hours later": 7200, "earlier": -60}.get(what, 0)
    if what == "token gone":
        token.unlink()
    if what == "token of before":
        token.write_bytes(before)
    if what == "copied folder":
        shutil.move(path.parent, tmp_path / "b")
        shutil.copytree(tmp_path / "b", path.parent)
    if what == "renamed folder":
        path.parent.rename(tmp_path / "b")
        path = tmp_path / "b" / "keys.db"
    machine = "n" if what == "other machine" else "m"
    store = SqliteKeyStore(path, SECRET, now=lambda: now, machine=lambda: machine)
    assert reason in store.discarded
    assert bool(reason) == bool(store.discarded)
    assert store.session(5) == (None if reason else STATE)
    assert store.last_join(5) == 1
    assert (store.chain_secret() == chain) == (what != "earlier")


def test_a_failing_disk_is_said_and_nothing_is_answered(tmp_path: Path) -> None:
    host = Host(tmp_path)
    node = Node(5, host.store.provision(5))
    host.store._db.execute("PRAGMA query_only=ON")
    request = node.boot()
    with pytest.raises(KeyStoreError, match="can't be written"):
        host.keyring.answer(request)
    host.store._db.execute("PRAGMA query_only=OFF")
    node.accept(host.keyring.answer(request))
    host.open(node.seal(REPORT, b"x"))


def test_refusals_by_address_are_bounded(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for address in range(5000):
        with pytest.raises(WireError):
            host.keyring.open(bytes((0x40, address >> 8, address & 255)) + bytes(20))
    with pytest.raises(WireError):
        host.keyring.open(b"")
    assert host.keyring.counts == {"session": 5000, "short": 1}
    assert len(host.keyring.refused) == 4096


def test_ten_thousand_nodes_open_fast_and_save_in_one_write(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys.db", create=True)
    store._write([store._state(address, STATE) for address in range(10000)])
    changes = store._db.total_changes
    store.save(dict.fromkeys(range(100), STATE))
    assert store._db.total_changes - changes == 101
    store.close()
    assert opened(tmp_path / "keys.db").session(9_999) == STATE
