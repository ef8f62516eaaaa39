"""The ledger's file: its tables, how an older one becomes a newer one, and changes that are durable or did not happen."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from felinar.provision.errors import ProvisionError

FILE = "flash.db"
"""Its name in the data directory."""
APPLICATION = 0x46656C46  # "FelF"
VERSION = 2
_LOOSE = """
CREATE TABLE loose (
    mac TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    line TEXT NOT NULL,
    board TEXT NOT NULL,
    address INTEGER NOT NULL,
    name TEXT NOT NULL,
    port TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    changed REAL NOT NULL
)"""
# Of version 1 a proven board was done; one that failed later stays as it was.
_NEWER = f"""
ALTER TABLE entry ADD COLUMN line TEXT NOT NULL DEFAULT '';
UPDATE entry SET state = 'ready' WHERE state = 'proven';
UPDATE entry SET reached = 'ready' WHERE reached = 'proven' AND state = 'ready';
{_LOOSE}"""
_SCHEMA = (
    """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    pole TEXT NOT NULL UNIQUE COLLATE NOCASE,
    address INTEGER NOT NULL UNIQUE CHECK (address BETWEEN 1 AND 65534),
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    reached TEXT NOT NULL,
    mac TEXT UNIQUE,
    code TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    changed REAL NOT NULL,
    line TEXT NOT NULL DEFAULT '',
    CHECK ((state = 'waiting') = (mac IS NULL))
);
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    address INTEGER NOT NULL,
    pole TEXT NOT NULL,
    mac TEXT,
    event TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX history_address ON history (address, id);
"""
    + _LOOSE
)


class LedgerFile:
    """Every change is durable on return; calls from several threads come one after the other.

    `before_commit(event)` and `after_commit(event)` are for tests: they are called around each change's commit. Raises ProvisionError
    "ledger" when the file can't be opened or is none.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        before_commit: Callable[[str], None] = lambda event: None,
        after_commit: Callable[[str], None] = lambda event: None,
    ) -> None:
        self._path = path
        self._now = now
        self._before = before_commit
        self._after = after_commit
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not path.exists() or path.stat().st_size == 0
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise ProvisionError(f"The ledger {path} can't be opened: {error}.", code="ledger") from error
        try:
            self._open(fresh)
        except sqlite3.Error as error:
            self._db.close()
            raise ProvisionError(
                f"{path} is not a sound ledger: {error}.",
                "Put it back from a backup; without it Felinar can't know which board has which identity.",
                code="ledger",
            ) from error
        except BaseException:
            self._db.close()
            raise

    def _open(self, fresh: bool) -> None:
        db = self._db
        # A process may have been killed before its first commit: then the file is there and has no tables.
        empty = fresh or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not empty and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise ProvisionError(f"{self._path} is not a ledger.", "Name another data directory.", code="ledger")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise ProvisionError(
                f"{self._path} was written by a newer Felinar (version {version}).", "Update this one.", code="ledger"
            )
        verdict = db.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        columns = "PRAGMA table_info(entry)"
        if empty:
            with self._change("opened"):
                # Another process may have been first.
                if not db.execute(columns).fetchall():
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id={APPLICATION}")
                    db.execute(f"PRAGMA user_version={VERSION}")
        elif version < VERSION:
            with self._change("updated"):
                if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:  # another process may have been first
                    for statement in _NEWER.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def _change(self, event: str) -> Iterator[None]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._before(event)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise ProvisionError(
                    f"The ledger {self._path} can't be written: {error}.", "Is the disk full?", code="ledger"
                ) from error
            self._after(event)

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()
