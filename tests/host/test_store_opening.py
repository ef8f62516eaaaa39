"""Opening a database: what is not sound, not ours or too new is refused in one sentence, and stays as it was."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from felinar.errors import StoreError
from felinar.facts import Kept
from felinar.store import SqliteStore, opening

UNIX = 1_790_000_000


def filled(path: Path, reports: int = 400) -> Path:
    store = SqliteStore(path, linger_s=0)
    store.keep(
        [Kept(1, "a1", 1, seq, 0, 1, bytes(50), UNIX, UNIX + seq, seq) for seq in range(reports)],
    ).result(10)
    store.close()
    return path


def fingerprint(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def damaged(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(4096 * page)
            file.write(b"\xa5" * 2000)


def foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (newer, "version 99"),
        (truncated, "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "truncated"),
        (damaged, "damaged"),
        (foreign, "another program"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("Dear diary"), "not a database"),
    ],
)
def test_refused_and_untouched(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    path = filled(tmp_path / "felinar.sqlite3")
    spoil(path)
    before = fingerprint(tmp_path)
    with pytest.raises(StoreError, match=words) as caught:
        SqliteStore(path)
    assert caught.value.remedy
    assert fingerprint(tmp_path) == before


def test_a_truncated_database_with_a_waiting_log_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "felinar.sqlite3"
    filled(path)
    store = SqliteStore(path, linger_s=0)
    store.keep([Kept(1, "a1", 1, 1000, 0, 1, b"x", UNIX, UNIX, 1)]).result(10)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("felinar.sqlite3*"):
        if not file.name.endswith("-shm"):
            (copy / file.name).write_bytes(file.read_bytes())
    store.close()
    truncated(copy / path.name)
    before = fingerprint(copy)
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(copy / path.name)
    after = fingerprint(copy)
    assert {name: after[name] for name in before} == before


def test_a_new_database_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "felinar.sqlite3"
    path.with_name("felinar.sqlite3.new").write_bytes(b"left by a crash in the middle")
    with pytest.raises(StoreError, match="can't be made"):
        opening.open_checked(path.parent / "missing" / "felinar.sqlite3")
    SqliteStore(path).close()
    assert [file.name for file in tmp_path.iterdir()] == ["felinar.sqlite3"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in opening.migrations()] == list(range(1, len(opening.migrations()) + 1))


def test_an_older_database_is_brought_up_to_date_step_by_step(tmp_path: Path) -> None:
    path = filled(tmp_path / "felinar.sqlite3")
    first = opening.migrations()[0]
    steps = [first, (2, "ALTER TABLE boards ADD COLUMN note TEXT;"), (3, "UPDATE boards SET note = 'kept';")]
    connection, _ = opening.open_checked(path, steps=steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert connection.execute("SELECT note, reports FROM boards").fetchall() == [("kept", 400)]
    connection.close()


def test_a_step_that_fails_leaves_the_database_as_it_was_before_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "felinar.sqlite3")
    first = opening.migrations()[0]
    steps = [first, (2, "ALTER TABLE boards ADD COLUMN note TEXT;"), (3, "DELETE FROM reports; SELECT nonsense;")]
    with pytest.raises(StoreError, match="version 3"):
        opening.open_checked(path, steps=steps)
    connection = opening.read_only(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM reports").fetchone() == (400,)
    connection.close()


def test_a_migration_wants_room_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "felinar.sqlite3")
    monkeypatch.setattr(opening.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(StoreError, match="MiB free"):
        opening.open_checked(path, steps=[*opening.migrations(), (2, "ALTER TABLE boards ADD COLUMN note TEXT;")])


def test_a_large_database_is_checked_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "felinar.sqlite3")
    monkeypatch.setattr(opening, "CHECK_BYTES", 1000)
    found: list[str] = []
    SqliteStore(path, on_checked=found.append).close()
    assert found == [""]
