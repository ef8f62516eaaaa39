"""The key store in an SQLite file of mode 0600, every value sealed; it notices when it was restored from a backup."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
from felinar_wire.aes import derive

from felinar.keys.interface import KeyStoreError, SessionState
from felinar.keys.vault import Vault, create_private, require_private

_APPLICATION = 0x46656C4B  # "FelK"
_VERSION = 3  # 2 added the keys that wait for their proof, 3 what keys that travel by REKEY need
_IDLE_S = 3600  # a store unused for longer starts without sessions: by then nodes have joined elsewhere or will
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE node (address INTEGER PRIMARY KEY, root BLOB NOT NULL, joined BLOB NOT NULL);
CREATE TABLE session (address INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_PENDING = """
CREATE TABLE IF NOT EXISTS pending (address INTEGER, holder TEXT, root BLOB NOT NULL, PRIMARY KEY (address, holder)) WITHOUT ROWID;
"""
_TRAVEL = (
    "ALTER TABLE pending ADD COLUMN step TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE IF NOT EXISTS board (address INTEGER PRIMARY KEY, uid TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS zoned (address INTEGER, zone INTEGER, mark BLOB NOT NULL, PRIMARY KEY (address, zone))",
    "CREATE TABLE IF NOT EXISTS zone (name TEXT PRIMARY KEY, address INTEGER NOT NULL UNIQUE) WITHOUT ROWID",
)
_ZONES = range(0x8001, 0xFF00)  # what names of groups get; a lower one is a number that people chose

Role = Literal["all", "sessions", "keys", "read"]
"""What a store is opened for. `sessions` is the daemon, which alone begins sessions and counts their frames, and may do all;
`keys` a command, which changes keys and may end sessions; there is one of each at a time, beside each other. `all` is both,
and `read` changes nothing, beside whoever else."""
_HOLDS: dict[Role, tuple[str, ...]] = {
    "all": ("sessions", "keys"),
    "sessions": ("sessions",),
    "keys": ("keys",),
    "read": (),
}
_BUSY_S = 5  # others write for milliseconds, on a slow card for a second


def machine_id() -> str:
    """What tells this machine from another: systemd's machine-id, else nothing."""
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


class SqliteKeyStore:
    """See `interface.KeyStore`. `discarded` says why sessions were ended on opening, or is empty.

    A store that comes out of a backup would hand out counters again that were used since. So all sessions end when it
    is a `backup`, when the clock ran back, when it was unused for an hour, or when it is not the one that was last open
    here: a token beside it changes with each opening and closing, and the store remembers when the system last changed
    the token's file, which no tool that brings files back can set. (What is left: a copy of the file alone, put back in
    place after a crash within the hour and the same run. After that, or a machine's snapshot, call `invalidate`.)
    Only who has the sessions looks at that and changes the token: a command in between hides nothing from the daemon.

    A counter is never used twice however commands come in between: they end sessions, never begin or change one; a session
    that was ended stays so, as `save` only changes what is there, and `begin` only begins under the key that is in force.
    """

    def __init__(
        self,
        path: Path,
        secret: bytes,
        *,
        create: bool = False,
        role: Role = "all",
        now: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        machine: Callable[[], str] = machine_id,
    ) -> None:
        self._role = role
        self._holds: list[int] = []
        self._seen = -1  # version of the file when `changed` was last asked
        self._path = path
        self._token = path.with_name(path.name + ".token")
        self._vault = Vault(secret, random)
        self._now = now
        self._random = random
        self._machine = machine
        try:
            if create or path.exists():
                self._hold(_HOLDS[role])
            fresh = create and not path.exists()
            if fresh:
                create_private(path)
            require_private(path)
            self._db = self._connect()
        except OSError as error:
            self._let_go()
            raise KeyStoreError(f"The key store {path} can't be opened: {error.strerror}.") from error
        except BaseException:
            self._let_go()
            raise
        try:
            self._open(fresh)
        except sqlite3.Error as error:
            self._end()
            if "locked" in str(error):
                raise KeyStoreError(
                    f"The key store {path} is open in another process.", "Stop that one first."
                ) from error
            raise KeyStoreError(f"{path} is not a sound key store: {error}.", "Restore it from its backup.") from error
        except BaseException:
            self._end()
            raise

    def _hold(self, names: Iterable[str]) -> None:
        """Be the only one of a role; the system lets go when the process ends, however it ends."""
        for name in names:
            file = self._path.with_name(f"{self._path.name}.{name}")
            held = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            self._holds.append(held)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                pid = os.pread(held, 20, 0).decode(errors="replace").strip()
                who = "Another daemon" if name == "sessions" else "Another command"
                raise KeyStoreError(
                    f"{who} works with the key store {self._path}: it is in use by another process{f' ({pid})' if pid else ''}.",
                    "Wait until that one has ended, or stop it.",
                ) from error
            os.ftruncate(held, 0)
            os.pwrite(held, str(os.getpid()).encode(), 0)

    def _let_go(self) -> None:
        for held in self._holds:
            os.close(held)
        self._holds.clear()

    def _end(self) -> None:
        self._db.close()
        self._let_go()

    def _connect(self) -> sqlite3.Connection:
        if self._role != "read":
            return sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        address = self._path.absolute().as_uri() + "?mode=ro"
        for more in ("", "&immutable=1"):  # on a medium that can't be written SQLite's side files can't be made
            db = sqlite3.connect(
                address + more, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                db.execute("PRAGMA user_version").fetchone()
                break
            except sqlite3.OperationalError as error:
                if "unable to open" not in str(error):
                    break
                db.close()
        return db

    def _open(self, fresh: bool) -> None:
        if not fresh and self._db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise KeyStoreError(f"{self._path} is not a key store.")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise KeyStoreError(f"{self._path} was written by a newer Felinar (version {version}).", "Update this one.")
        verdict = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if self._role == "read":
            self._vault.open("check", self._meta("check"))
            self.discarded = ""
            if version < _VERSION:
                raise KeyStoreError(
                    f"{self._path} was written by an older Felinar.",
                    "felinar keys rotate, or the daemon, brings it up to date.",
                )
            return
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        if fresh:
            self._db.executescript(f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version=2; {_SCHEMA}{_PENDING}")
            self._set_meta({"check": self._vault.seal("check", b"felinar")})
        self._vault.open("check", self._meta("check"))
        if fresh or version < _VERSION:
            before = [] if fresh or version >= 2 else [_PENDING]
            statements = [(sql, ()) for sql in (*before, *_TRAVEL, f"PRAGMA user_version={_VERSION}")]
            # Daemon and command may be opened in the same moment: one of them does it.
            self._write(statements, lambda: bool(self._db.execute("PRAGMA user_version").fetchone()[0] >= _VERSION))
        self.discarded = "" if fresh or self._role == "keys" else self._suspicion()
        if self.discarded:
            self.invalidate()
        if fresh or self._role != "keys":
            self._take()

    def _suspicion(self) -> str:
        used = int(self._meta("used") or b"0")
        now = int(self._now())
        try:
            token = self._token.read_bytes()
        except OSError:
            token = b""
        if self._meta("backup"):
            return "the store is a backup"
        if now < used - 1:
            # Keys may have been disclosed for times that are still to come.
            self._write([("DELETE FROM secret WHERE name = 'chain'", ())])
            return "the clock ran back"
        if now - used > _IDLE_S:
            return "the store was unused for more than an hour"
        if token != self._meta("token"):
            return "the store is not as it was left here"
        if self._place() != self._meta("place"):
            return "the store was copied or moved"
        return ""

    def _place(self) -> bytes:
        token = self._token.stat()
        return f"{self._path.stat().st_ino} {token.st_ino} {token.st_ctime_ns} {self._machine()}".encode()

    def _take(self) -> None:
        # After a cut between the two writes they don't agree, and sessions end, which is safe.
        token = self._random(16).hex().encode()
        if not self._token.exists():
            create_private(self._token)
        with self._token.open("r+b") as file:
            file.write(token)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self._write([("DELETE FROM meta WHERE name = 'backup'", ())])
        self._set_meta({"token": token, "place": self._place(), "used": str(int(self._now())).encode()})

    def _meta(self, name: str) -> bytes:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else b""

    def _set_meta(self, values: Mapping[str, bytes]) -> None:
        self._write([("INSERT OR REPLACE INTO meta VALUES (?, ?)", item) for item in values.items()])

    def _write(
        self, statements: Iterable[tuple[str, tuple[object, ...]]], unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """All or nothing; nothing, and False, where `unless` holds once nobody else can write."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if unless():
                    self._db.execute("ROLLBACK")
                    return False
                for sql, values in statements:
                    self._db.execute(sql, values)
                self._db.execute("COMMIT")
                return True
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise KeyStoreError(
                f"The key store {self._path} can't be written: {error}.", "Is the disk full?"
            ) from error

    def _used(self) -> tuple[str, tuple[object, ...]]:
        return "INSERT OR REPLACE INTO meta VALUES ('used', ?)", (str(int(self._now())).encode(),)

    def nodes(self) -> list[int]:
        return [row[0] for row in self._db.execute("SELECT address FROM node ORDER BY address")]

    def provision(self, address: int) -> bytes:
        root = self._random(16)
        self.put(address, root)
        return root

    def put(self, address: int, root: bytes, joined: int = 0) -> None:
        self._write([*self._rooted(address, root, joined), *_new_board(address)])

    def _rooted(self, address: int, root: bytes, joined: int) -> list[tuple[str, tuple[object, ...]]]:
        if not 0 <= address <= 0xFFFF:
            raise KeyStoreError(f"{address} is not an address: they go from 0 to 65535.")
        sealed = self._vault.seal(f"root {address}", root), self._vault.seal(f"joined {address}", str(joined).encode())
        return [
            ("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", (address, *sealed)),
            ("DELETE FROM session WHERE address = ?", (address,)),
        ]

    def prepare(self, address: int, holder: str) -> bytes:
        known = self.pending_key(address, holder)
        if known is not None:
            return known
        root = self._random(16)
        self.put_pending(address, holder, root)
        return root

    def pending(self) -> list[tuple[int, str]]:
        return list(self._db.execute("SELECT address, holder FROM pending ORDER BY address, holder"))

    def pending_key(self, address: int, holder: str) -> bytes | None:
        where = (address, holder)
        row = self._db.execute("SELECT root FROM pending WHERE address = ? AND holder = ?", where).fetchone()
        return self._vault.open(f"pending {address} {holder}", row[0]) if row else None

    def put_pending(self, address: int, holder: str, root: bytes) -> None:
        if not 0 <= address <= 0xFFFF:
            raise KeyStoreError(f"{address} is not an address: they go from 0 to 65535.")
        sealed = self._vault.seal(f"pending {address} {holder}", root)
        sql = "INSERT OR REPLACE INTO pending (address, holder, root) VALUES (?, ?, ?)"
        self._write([(sql, (address, holder, sealed))])

    def pending_step(self, address: int, holder: str) -> str:
        where = (address, holder)
        row = self._db.execute("SELECT step FROM pending WHERE address = ? AND holder = ?", where).fetchone()
        return str(row[0]) if row else ""

    def set_step(self, address: int, holder: str, step: str) -> None:
        self._write([("UPDATE pending SET step = ? WHERE address = ? AND holder = ?", (step, address, holder))])

    def activate(self, address: int, holder: str, *, same_board: bool = False) -> bool:
        root = self.pending_key(address, holder)
        if root is None:
            return False
        dropped = ("DELETE FROM pending WHERE address = ? AND holder = ?", (address, holder))
        uid = self.uid(address) if same_board else None
        # What is known of a board is known of it under its next key too.
        board = [("INSERT OR REPLACE INTO board VALUES (?, ?)", (address, uid))] if uid else _new_board(address)
        self._write([*self._rooted(address, root, 0), dropped, *board])
        return True

    def uid(self, address: int) -> str | None:
        row = self._db.execute("SELECT uid FROM board WHERE address = ?", (address,)).fetchone()
        if row:
            return str(row[0])
        root = self.root(address)
        return None if root is None else derive(root, b"uid", b"")[:6].hex()

    def drop(self, address: int, holder: str) -> None:
        self._write([("DELETE FROM pending WHERE address = ? AND holder = ?", (address, holder))])

    def remove(self, address: int) -> None:
        tables = ("node", "session", "pending", "board", "zoned")
        self._write([(f"DELETE FROM {table} WHERE address = ?", (address,)) for table in tables])

    def root(self, address: int) -> bytes | None:
        row = self._db.execute("SELECT root FROM node WHERE address = ?", (address,)).fetchone()
        return self._vault.open(f"root {address}", row[0]) if row else None

    def last_join(self, address: int) -> int:
        row = self._db.execute("SELECT joined FROM node WHERE address = ?", (address,)).fetchone()
        return int(self._vault.open(f"joined {address}", row[0])) if row else 0

    def session(self, address: int) -> SessionState | None:
        row = self._db.execute("SELECT state FROM session WHERE address = ?", (address,)).fetchone()
        if not row:
            return None
        return msgspec.msgpack.decode(self._vault.open(f"session {address}", row[0]), type=SessionState)

    def _state(self, address: int, state: SessionState) -> tuple[str, tuple[object, ...]]:
        sealed = self._vault.seal(f"session {address}", msgspec.msgpack.encode(state))
        return "INSERT OR REPLACE INTO session VALUES (?, ?)", (address, sealed)

    def begin(self, address: int, state: SessionState, root: bytes | None = None) -> bool:
        self._own_sessions()
        joined = self._vault.seal(f"joined {address}", str(state.join).encode())
        update = ("UPDATE node SET joined = ? WHERE address = ?", (joined, address))
        changed = (lambda: self.root(address) != root) if root is not None else (lambda: False)
        return self._write([update, self._state(address, state), self._used()], changed)

    def save(self, states: Mapping[int, SessionState]) -> None:
        self._own_sessions()
        self._write([*(self._again(*item) for item in states.items()), self._used()])

    def _again(self, address: int, state: SessionState) -> tuple[str, tuple[object, ...]]:
        sealed = self._vault.seal(f"session {address}", msgspec.msgpack.encode(state))
        return "UPDATE session SET state = ? WHERE address = ?", (sealed, address)

    def _own_sessions(self) -> None:
        if self._role not in ("all", "sessions"):
            raise KeyStoreError(f"The sessions of {self._path} are the daemon's.")

    def sessions(self) -> list[int]:
        return [row[0] for row in self._db.execute("SELECT address FROM session ORDER BY address")]

    def changed(self) -> bool:
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen:
            return False
        self._seen = version
        return True

    def invalidate(self) -> int:
        count = int(self._db.execute("SELECT count(*) FROM session").fetchone()[0])
        self._write([("DELETE FROM session", ())])
        return count

    def _secret(self, name: str, size: int, *, anew: bool = False) -> bytes:
        # Made once, whoever asks first: the second of two processes must not put another in its place.
        for _ in range(2):
            row = self._db.execute("SELECT value FROM secret WHERE name = ?", (name,)).fetchone()
            if row and not anew:
                return self._vault.open(name, row[0])
            value = self._random(size)
            if anew:
                self._keep_secret(name, value)
                return value
            self._write([("INSERT OR IGNORE INTO secret VALUES (?, ?)", (name, self._vault.seal(name, value)))])
        raise KeyStoreError(f"The key store {self._path} does not keep what is written.")

    def _keep_secret(self, name: str, value: bytes) -> None:
        self._write([("INSERT OR REPLACE INTO secret VALUES (?, ?)", (name, self._vault.seal(name, value)))])

    def zone_key(self, address: int) -> bytes:
        return self._secret(f"zone {address}", 16)

    def rotate_zone(self, address: int) -> bytes:
        return self._secret(f"zone {address}", 16, anew=True)

    def zones(self) -> list[int]:
        names = self._db.execute("SELECT name FROM secret WHERE name LIKE 'zone %'")
        return sorted(int(row[0].removeprefix("zone ")) for row in names)

    def put_zone(self, address: int, key: bytes) -> None:
        self._keep_secret(f"zone {address}", key)

    def zoned(self) -> dict[tuple[int, int], bytes]:
        return {(a, zone): bytes(mark) for a, zone, mark in self._db.execute("SELECT address, zone, mark FROM zoned")}

    def set_zoned(self, address: int, zone: int, mark: bytes) -> None:
        self._write([("INSERT OR REPLACE INTO zoned VALUES (?, ?, ?)", (address, zone, mark))])

    def zone_names(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT name, address FROM zone ORDER BY address"))

    def name_zone(self, name: str) -> int:
        name = name.strip().casefold()
        for _ in range(8):  # a command may name another one in the same moment
            names = self.zone_names()
            if name in names:
                return names[name]
            taken = {*names.values(), *self.zones()}
            address = next((a for a in _ZONES if a not in taken), None)
            if address is None:
                break
            self._write([("INSERT OR IGNORE INTO zone VALUES (?, ?)", (name, address))])
        raise KeyStoreError(f"No address is left for the group '{name}'.")

    def chain_secret(self) -> bytes:
        return self._secret("chain", 32)

    def backup(self, target: Path) -> None:
        create_private(target)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            self._db.backup(copy)
            copy.executescript(
                "PRAGMA journal_mode=DELETE; DELETE FROM session; DELETE FROM secret WHERE name = 'chain';"
                "INSERT OR REPLACE INTO meta VALUES ('backup', x'01'); VACUUM;"
            )

    def close(self) -> None:
        try:
            if self._role in ("all", "sessions"):
                self._take()
        finally:
            self._end()


def _new_board(address: int) -> list[tuple[str, tuple[object, ...]]]:
    """Nothing that is known of an address's board holds for the next one."""
    return [(f"DELETE FROM {table} WHERE address = ?", (address,)) for table in ("board", "zoned")]
