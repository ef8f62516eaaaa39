"""Opening a database without harm: what is not sound, not ours or too new is refused before anything is written."""

from __future__ import annotations

import shutil
import sqlite3
from importlib import resources
from pathlib import Path

from felinar.errors import StoreError

APPLICATION_ID = 0x46454C49  # "FELI"
CHECK_BYTES = 256 << 20
"""Up to this size the whole database is checked before it is used; a larger one while it is used already."""

_MAGIC = b"SQLite format 3\0"
_RESTORE = "Restore it from a backup, or move it away to begin a new one; nothing was changed."


def migrations() -> list[tuple[int, str]]:
    """The numbered steps that make a database what this version expects, in order: (number, SQL)."""
    folder = resources.files("felinar.store") / "migrations"
    files = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [(int(name.split("_")[0]), sql) for name, sql in files]


def open_checked(path: Path, *, steps: list[tuple[int, str]] | None = None) -> tuple[sqlite3.Connection, bool]:
    """A connection for writing to a sound database of this version, made or migrated if need be.

    Returns it and whether its content has been checked (a large one has not been). Raises StoreError, and then the
    files are as they were.
    """
    steps = migrations() if steps is None else steps
    checked = True
    if path.exists():
        _examine(path)
        version, checked = _examine_content(path)
        newest = steps[-1][0]
        if version > newest:
            raise StoreError(
                f"The database {path} is of version {version}, and this felinar knows versions up to {newest}.",
                "Install the felinar that wrote it, or name another data directory; nothing was changed.",
            )
        connection = _connect(path)
        try:
            _migrate(connection, path, version, steps)
        except BaseException:
            connection.close()
            raise
        return connection, checked
    _create(path, steps)
    return _connect(path), checked


def read_only(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that can't write, and whose closing doesn't either. `immutable`: nobody else has the file open."""
    address = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA query_only = 1")
    return connection


def quick_check(connection: sqlite3.Connection) -> str:
    """What SQLite finds wrong with the database, empty when nothing."""
    try:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(" ".join(str(line).split()) for line in found)


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _connect(path: Path) -> sqlite3.Connection:
    # Durable once committed, whatever happens to the power: an acknowledgement lets a node forget.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16000")
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(
            f"The database {path} can't be opened: {error}.", "Close what holds it, then try again."
        ) from error
    return connection


def _examine(path: Path) -> None:
    """Look at the file itself, before SQLite does, which may write when it opens."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise StoreError(f"The database {path} can't be read: {error.strerror}.", "Check its permissions.") from error
    if size == 0:
        raise StoreError(f"The database {path} is empty: it has lost its content.", _RESTORE)
    if not head.startswith(_MAGIC):
        raise StoreError(f"{path} is not a database.", "Name another data directory, or move that file away.")
    if len(head) < 100:
        raise StoreError(f"The database {path} is truncated: only {size} bytes are left.", _RESTORE)
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    expected = page * int.from_bytes(head[28:32], "big")
    # While a write-ahead log waits, pages at the end may still be in it, and the content check below decides.
    if size < expected and not _has_log(path):
        raise StoreError(f"The database {path} is truncated: {size} of {expected} bytes are left.", _RESTORE)
    if int.from_bytes(head[68:72], "big") not in (APPLICATION_ID, 0):
        raise StoreError(f"{path} is a database of another program.", "Name another data directory.")


def _examine_content(path: Path) -> tuple[int, bool]:
    """The version of a database and whether its content was checked. Raises StoreError when it is not sound."""
    connection = None
    try:
        # Without a log the file is all there is: then not even SQLite's side files are made.
        connection = read_only(path, immutable=not _has_log(path))
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        ours = int(connection.execute("PRAGMA application_id").fetchone()[0])
        check = path.stat().st_size <= CHECK_BYTES
        wrong = quick_check(connection) if check else ""
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"The database {path} can't be opened: {error}.", "Close what holds it, then try again."
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"The database {path} is damaged: {error}.", _RESTORE) from error
    finally:
        if connection:
            connection.close()
    if wrong:
        raise StoreError(f"The database {path} is damaged: {wrong}.", _RESTORE)
    if ours != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program.", "Name another data directory.")
    return version, check


def _create(path: Path, steps: list[tuple[int, str]]) -> None:
    """Make a new database under another name and give it its own once it is whole."""
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, *(draft.with_name(draft.name + end) for end in ("-wal", "-shm", "-journal"))):
        leftover.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(connection, draft, 0, steps)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        draft.chmod(0o600)
        draft.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The database {path} can't be made: {error}.", "Check permissions and free space.") from error


def _migrate(connection: sqlite3.Connection, path: Path, version: int, steps: list[tuple[int, str]]) -> None:
    ahead = [(number, sql) for number, sql in steps if number > version]
    if not ahead:
        return
    size = path.stat().st_size
    free = shutil.disk_usage(path.parent).free
    if free < 2 * size:
        raise StoreError(
            f"Bringing the database {path} up to date needs {2 * size >> 20} MiB free; there are {free >> 20}.",
            "Make room, then start again; nothing was changed.",
        )
    for number, sql in ahead:
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StoreError(
                f"The database {path} can't be brought to version {number}: {error}.",
                "It is still as it was before this step.",
            ) from error
