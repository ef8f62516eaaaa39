"""The SQLite store: every identity once, durable before it is acknowledged, whatever disk and order do."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar.errors import StoreError
from felinar.facts import Health, Hello, Kept
from felinar.store import CommandRow, Outcome, SqliteStore, TimeSource
from felinar_wire import schema
from hypothesis import given, settings
from hypothesis import strategies as st

UNIX = 1_790_000_000
UID = "a1b2c3d40001"


def kept(seq: int, *, boot: int = 1, node: int = 1, time: int | None = -1, body: bytes = b"", **more: Any) -> Kept:
    """A report made 5 s after the one before; its time is given unless it is None."""
    own = UNIX + 5 * seq if time == -1 else time
    values: dict[str, Any] = {"uid": UID, "kind": schema.REPORT, "schema": 1, "heard": UNIX + 100_000.0, "up": 5 * seq}
    values.update(more)
    return Kept(node=node, boot=boot, seq=seq, time=own, body=body or f"{node}/{boot}/{seq}".encode(), **values)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "felinar.sqlite3", linger_s=0)
    yield store
    store.close()


def keys(store: SqliteStore, kind: int = schema.REPORT) -> list[tuple[int, int]]:
    return [(row.boot, row.seq) for row in store.read(kind).result(10)]


def test_stores_each_identity_once_and_says_what_may_be_acknowledged(store: SqliteStore) -> None:
    commit = store.keep([kept(0), kept(1), kept(1), kept(4)]).result(10)
    assert [r.outcome for r in commit.receipts] == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE, Outcome.STORED]
    assert commit.acknowledgements == {(1, UID, 1, 0): 0b10011}
    assert store.keep([kept(0)]).result(10).receipts[0].outcome is Outcome.DUPLICATE
    assert keys(store) == [(1, 0), (1, 1), (1, 4)]
    (board,) = store.boards()
    assert (board.reports, board.duplicates, board.missing, board.same_time) == (3, 2, 2, 0)


def test_everything_is_there_after_a_crash(tmp_path: Path, store: SqliteStore) -> None:
    """The files as they lie on the disk while the store is open are what a killed process leaves."""
    hello = Hello(1, UID, 3, 1, "1.2.3", 1, True, 0, 0, True)
    store.note_hello(hello, UNIX)
    store.note_health(Health(1, UID, 3, UNIX, 50, {"made": 7, "dropped": 1, "pending": 2}))
    store.keep([kept(0, boot=3), kept(2, boot=3), kept(9, boot=2)]).result(10)
    store.keep([kept(0, boot=3)]).result(10)
    store.put_command(CommandRow(1, 1, 77, True, b"{}")).result(10)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in tmp_path.glob("felinar.sqlite3*"):
        shutil.copy(file, crashed)
    again = SqliteStore(crashed / "felinar.sqlite3")
    try:
        (board,) = again.boards()
        assert (board.reports, board.duplicates, board.missing, board.made, board.dropped) == (3, 1, 1, 7, 1)
        assert (board.boot, board.firmware, board.reset) == (3, "1.2.3", 1)
        assert board.latest is not None
        assert (board.latest.boot, board.latest.seq, board.latest.body) == (2, 9, b"1/2/9")
        assert board.health is not None
        assert board.health.values["pending"] == 2
        assert again.keep([kept(2, boot=3)]).result(10).receipts[0].outcome is Outcome.DUPLICATE
        assert again.last_ids() == (1, {1: 77})
    finally:
        again.close()


def test_boards_of_one_address_are_told_apart(store: SqliteStore) -> None:
    store.keep([kept(0), kept(0, uid="ffffffffffff")]).result(10)
    assert [board.uid for board in store.boards()] == [UID, "ffffffffffff"]
    assert len(keys(store)) == 2


def test_a_board_whose_boot_counter_began_again_loses_nothing(store: SqliteStore) -> None:
    store.keep([kept(0), kept(1)]).result(10)
    later = UNIX + 500_000
    fresh = kept(0, time=later, body=b"after the erasure", heard=later + 9.0)
    another = kept(1, time=later + 5, body=b"and another", heard=later + 9.0)
    commit = store.keep([fresh, another, fresh]).result(10)
    assert [r.outcome for r in commit.receipts] == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE]
    assert commit.acknowledgements == {(1, UID, 1, 0): 0b11}
    assert [board.life for board in store.boards()] == [0, 1]
    assert len(keys(store)) == 4


def test_a_missing_time_is_inferred_from_the_same_boot(store: SqliteStore) -> None:
    commit = store.keep([kept(3, time=None), kept(4), kept(2, time=None)]).result(10)
    times = [(r.row.time, r.row.source) for r in commit.receipts]
    assert times == [
        (UNIX + 100_000, TimeSource.ARRIVAL),
        (UNIX + 20, TimeSource.NODE),
        (UNIX + 10, TimeSource.INFERRED),
    ]


def test_health_places_a_boot_whose_clock_was_never_set(store: SqliteStore) -> None:
    store.note_health(Health(1, UID, 1, UNIX + 1000.4, 400, {"made": 2}))
    (receipt,) = store.keep([kept(2, time=None)]).result(10).receipts
    assert (receipt.row.time, receipt.row.source) == (UNIX + 610, TimeSource.INFERRED)


def test_a_clock_far_ahead_is_not_believed_unless_ours_is_unset(store: SqliteStore) -> None:
    (ahead,) = store.keep([kept(0, time=UNIX + 300_000)]).result(10).receipts
    assert ahead.row.source is TimeSource.ARRIVAL
    (unset,) = store.keep([kept(0, boot=2, heard=1000.0)]).result(10).receipts
    assert (unset.row.time, unset.row.source) == (UNIX, TimeSource.NODE)


def test_reports_that_share_a_time_are_counted(store: SqliteStore) -> None:
    store.keep([kept(0), kept(1), kept(2, time=UNIX)]).result(10)
    store.keep([kept(3, time=UNIX + 5), kept(4)]).result(10)
    assert store.boards()[0].same_time == 2


def test_events_and_reports_share_one_sequence(store: SqliteStore) -> None:
    store.keep([kept(0), kept(1, kind=schema.EVENT), kept(2)]).result(10)
    assert keys(store) == [(1, 0), (1, 2)]
    assert keys(store, schema.EVENT) == [(1, 1)]
    (board,) = store.boards()
    assert (board.reports, board.events, board.missing) == (2, 1, 0)


def test_pages_and_filters(store: SqliteStore) -> None:
    store.keep([kept(seq, node=node) for seq in range(10) for node in (1, 2, 3)]).result(10)
    pages: list[tuple[int, int]] = []
    after = None
    while rows := store.read(schema.REPORT, nodes=[1, 3], after=after, limit=7).result(10):
        pages += [(row.node, row.seq) for row in rows]
        after = rows[-1].key
    assert sorted(pages) == [(node, seq) for node in (1, 3) for seq in range(10)]
    newest = store.read(schema.REPORT, nodes=[2], limit=3, newest=True).result(10)
    assert [row.seq for row in newest] == [7, 8, 9]
    window = store.read(schema.REPORT, nodes=[2], since=UNIX + 10, until=UNIX + 25).result(10)
    assert [row.seq for row in window] == [2, 3, 4]
    assert store.read(schema.REPORT, nodes=[9]).result(10) == []


def test_commands_are_stored_changed_and_found(store: SqliteStore) -> None:
    for id, node in ((1, 1), (2, 2), (3, 1)):
        store.put_command(CommandRow(id, node, 100 + id, True, b"a")).result(10)
    store.put_command(CommandRow(1, 1, 101, False, b"b")).result(10)
    assert [c.id for c in store.read_commands(node=None, open_only=True, limit=10).result(10)] == [2, 3]
    assert [c.id for c in store.read_commands(node=1, open_only=False, limit=10).result(10)] == [1, 3]
    assert [c.id for c in store.read_commands(node=None, open_only=False, limit=2).result(10)] == [2, 3]
    found = store.read_command(1).result(10)
    assert found == CommandRow(1, 1, 101, False, b"b")
    assert store.read_command(9).result(10) is None


def test_a_full_disk_stops_acknowledging_and_is_recovered_from(tmp_path: Path) -> None:
    said: list[str] = []
    store = SqliteStore(tmp_path / "felinar.sqlite3", on_trouble=said.append, linger_s=0)
    try:
        store.keep([kept(0)]).result(10)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        big = [kept(seq, body=bytes(900)) for seq in range(1, 40)]
        with pytest.raises(StoreError, match="full"):
            store.keep(big).result(10)
        with pytest.raises(StoreError, match="full"):
            store.keep(big).result(10)
        assert store.boards()[0].reports == 1
        assert store.metrics().trouble
        assert len(said) == 1, "said once"
        store._connection.execute("PRAGMA max_page_count = 1000000")
        store._writer._retry_at = 0
        commit = store.keep(big).result(10)
        assert all(receipt.outcome is Outcome.STORED for receipt in commit.receipts)
        assert said[1:] == [""]
        assert store.boards()[0].reports == 40
        assert not store.metrics().trouble
    finally:
        store.close()


def test_a_database_locked_by_another_program_is_waited_for(tmp_path: Path, store: SqliteStore) -> None:
    store.keep([kept(0)]).result(10)
    store._connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(tmp_path / "felinar.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.keep([kept(1)]).result(10)
    other.execute("ROLLBACK")
    other.close()
    store._writer._retry_at = 0
    assert store.keep([kept(1)]).result(10).receipts[0].outcome is Outcome.STORED


def test_a_faulty_job_does_not_harm_its_company(store: SqliteStore) -> None:
    def broken(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    store._writer._linger_s = 0.2
    first = store.keep([kept(0)])
    bad = store._writer.submit(broken)
    last = store.keep([kept(1)])
    with pytest.raises(ZeroDivisionError):
        bad.result(10)
    assert first.result(10).receipts[0].outcome is Outcome.STORED
    assert last.result(10).receipts[0].outcome is Outcome.STORED
    assert keys(store) == [(1, 0), (1, 1)]


def test_more_than_the_queue_holds_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "felinar.sqlite3", queue_limit=2, linger_s=60)
    try:
        futures = [store.keep([kept(seq)]) for seq in range(3)]
        with pytest.raises(StoreError, match="behind"):
            futures[2].result(10)
        assert store.metrics().refused == 1
    finally:
        store.close()
    assert all(future.result(0).receipts[0].outcome is Outcome.STORED for future in futures[:2])
    with pytest.raises(StoreError, match="closed"):
        store.keep([kept(9)]).result(0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(0, 40)), max_size=60), st.data())
def test_any_order_any_repeats_any_batches(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = SqliteStore(folder / "felinar.sqlite3", linger_s=0)
    try:
        at = 0
        while at < len(sent):
            size = data.draw(st.integers(1, 10))
            batch = [kept(seq, node=node, boot=boot) for node, boot, seq in sent[at : at + size]]
            store.keep(batch).result(10)
            at += size
        rows = store.read(schema.REPORT).result(10)
        assert sorted((row.node, row.boot, row.seq) for row in rows) == sorted(set(sent))
        assert all(row.body == f"{row.node}/{row.boot}/{row.seq}".encode() for row in rows)
        assert sum(board.reports for board in store.boards()) == len(set(sent))
        assert sum(board.duplicates for board in store.boards()) == len(sent) - len(set(sent))
    finally:
        store.close()
