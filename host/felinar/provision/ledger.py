"""The ledger: which board (MAC) has which pole's identity (address), and how far it has come. SQLite, durable at each step.

waiting → taken → key stored → written → proven → ready → labelled; failed from any but the last; revoked from where a board has it.
Proven is its key; ready is a board of which every part has passed and which speaks through the line that it is to speak through. An entry
that is past waiting belongs to one board until it is freed. What may be on a board is on the record before it is written.

Boards that were flashed without a pole, bridges among them, have a row each by their MAC (`Loose`): it tells one that was finished from
one that was not.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from felinar.config import NODE_MAX, NODE_MIN
from felinar.provision.errors import ProvisionError
from felinar.provision.plan import PlanEntry

FILE = "flash.db"
_APPLICATION = 0x46656C46  # "FelF"
_VERSION = 2
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


class State(StrEnum):
    """How far an entry is."""

    WAITING = "waiting"
    TAKEN = "taken"
    KEY_STORED = "key stored"
    WRITTEN = "written"
    PROVEN = "proven"
    READY = "ready"
    LABELLED = "labelled"
    FAILED = "failed"
    REVOKED = "revoked"


ORDER = (
    State.WAITING,
    State.TAKEN,
    State.KEY_STORED,
    State.WRITTEN,
    State.PROVEN,
    State.READY,
    State.LABELLED,
)
DONE = (State.READY, State.LABELLED)


class Record(msgspec.Struct, frozen=True):
    """An entry of the ledger. `reached` is the furthest state of the present attempt (it differs from `state` after a
    failure); `code` and `detail` tell of the newest failure; `changed` in Unix seconds; `line` ("wired", "radio") is what its
    board was written to speak through."""

    id: int
    entry: PlanEntry
    address: int
    state: State
    reached: State
    mac: str | None
    code: str
    detail: str
    changed: float
    line: str = ""

    @property
    def touched(self) -> bool:
        """Whether the identity may be on its board."""
        return self.reached in ORDER[2:]

    @property
    def keyed(self) -> bool:
        """Whether its board has proved its key."""
        return self.reached in ORDER[4:]


class Loose(msgspec.Struct, frozen=True):
    """A board that was flashed without a pole. `role` is "lamp" or "bridge", `line` of a lamp "wired" or "radio"; `address` and `name` of
    a bridge are 0 and empty. `state` is taken, written, proven, ready or failed; only ready is finished."""

    mac: str
    role: str
    line: str
    board: str
    address: int
    name: str
    port: str
    state: State
    code: str
    detail: str
    changed: float


class Taken(msgspec.Struct, frozen=True):
    """What a board got: `fresh` false when it goes on with what it had; `done` when nothing is left to do."""

    record: Record
    fresh: bool
    done: bool


class Merged(msgspec.Struct, frozen=True):
    """What a plan changed: poles added, changed while they waited, and such that differ but are on a board already."""

    added: list[str]
    changed: list[str]
    differ: list[str]
    same: int


class Past(msgspec.Struct, frozen=True):
    """A line of an address's history; `time` in Unix seconds."""

    time: float
    address: int
    pole: str
    mac: str | None
    event: str
    detail: str


class Ledger:
    """See the module. Every change is durable on return; calls from several threads come one after the other.

    `before_commit(event)` and `after_commit(event)` are for tests: they are called around each change's commit.
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
        if not empty and db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise ProvisionError(f"{self._path} is not a ledger.", "Name another data directory.", code="ledger")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
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
                    db.execute(f"PRAGMA application_id={_APPLICATION}")
                    db.execute(f"PRAGMA user_version={_VERSION}")
        elif version < _VERSION:
            with self._change("updated"):
                if db.execute("PRAGMA user_version").fetchone()[0] < _VERSION:  # another process may have been first
                    for statement in _NEWER.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={_VERSION}")

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

    # What there is

    def records(self, poles: Collection[str] | None = None) -> list[Record]:
        """All entries in the order of their plans, or those of some poles."""
        with self._lock:
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM entry ORDER BY id").fetchall()
        found = [_record(row) for row in rows]
        if poles is None:
            return found
        wanted = {pole.casefold() for pole in poles}
        return [record for record in found if record.entry.pole.casefold() in wanted]

    def find(self, pole: str) -> Record:
        """The entry of a pole; ProvisionError when there is none."""
        record = self._one("pole = ?", pole)
        if record is None:
            raise ProvisionError(
                f"The ledger has no pole '{pole}'.",
                "`felinar flash --status` lists them; a plan brings new ones.",
                code="pole",
                asked_wrongly=True,
            )
        return record

    def of_address(self, address: int) -> Record | None:
        """The entry that has an address."""
        return self._one("address = ?", address)

    def of_mac(self, mac: str) -> Record | None:
        """The entry that belongs to a board."""
        return self._one("mac = ?", normal_mac(mac))

    def history(self, address: int | None = None) -> list[Past]:
        """What was done, oldest first, with one address or with all."""
        where, values = ("", ()) if address is None else (" WHERE address = ?", (address,))
        sql = f"SELECT time, address, pole, mac, event, detail FROM history{where} ORDER BY id"
        with self._lock:
            return [Past(*row) for row in self._db.execute(sql, values)]

    def _one(self, where: str, value: object) -> Record | None:
        with self._lock:
            row = self._db.execute(f"SELECT {_COLUMNS} FROM entry WHERE {where}", (value,)).fetchone()
        return _record(row) if row else None

    # Plans

    def merge(self, entries: Iterable[PlanEntry], *, used: Collection[int] = ()) -> Merged:
        """Take a plan over, all or nothing. Poles that it does not name stay as they are.

        Entries without an address get the lowest one that no entry has or ever had, nor `used` has (addresses with a
        key). What is on a board already is not changed. Raises ProvisionError when an address is another pole's.
        """
        entries = list(entries)
        merged = Merged([], [], [], 0)
        same = 0
        with self._change("plan"):
            known = {record.entry.pole.casefold(): record for record in self.records()}
            spent = {row[0] for row in self._db.execute("SELECT DISTINCT address FROM history")} | set(used)
            holders = {record.address: record.entry.pole for record in known.values()}
            holders |= {e.address: e.pole for e in entries if e.address is not None and e.address not in holders}
            free = (a for a in range(NODE_MIN, NODE_MAX + 1) if a not in spent and a not in holders)
            for entry in entries:
                old = known.get(entry.pole.casefold())
                self._may_have(entry, old, holders, used)
                if old is None:
                    address = entry.address or next(free, None)
                    if address is None:
                        raise ProvisionError("No address is left: all of 1 to 65534 were given.", code="address")
                    self._insert(entry, address)
                    merged.added.append(entry.pole)
                elif _with(old.entry, old.address) == _with(entry, entry.address or old.address):
                    same += 1
                elif old.mac is not None:
                    merged.differ.append(entry.pole)
                else:
                    address = entry.address or old.address
                    sql = "UPDATE entry SET plan = ?, address = ?, changed = ? WHERE id = ?"
                    self._db.execute(sql, (_packed(entry), address, self._now(), old.id))
                    self._note(address, entry.pole, None, "changed", "by a plan")
                    merged.changed.append(entry.pole)
        return msgspec.structs.replace(merged, same=same)

    def _may_have(self, entry: PlanEntry, old: Record | None, holders: dict[int, str], used: Collection[int]) -> None:
        if entry.address is None or (old is not None and old.address == entry.address):
            return
        holder = holders.get(entry.address, entry.pole)
        if holder.casefold() != entry.pole.casefold():
            what = f"is pole {holder}'s"
        elif entry.address in used:
            what = "has a key already, of a node that is in no plan"
        else:
            return
        raise ProvisionError(
            f"The plan gives pole {entry.pole} the address {entry.address}, which {what}.",
            "Leave the address empty, or choose another; `felinar keys revoke` takes a key out of use.",
            code="address",
            asked_wrongly=True,
        )

    def _insert(self, entry: PlanEntry, address: int) -> None:
        self._db.execute(
            "INSERT INTO entry (pole, address, plan, state, reached, changed) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.pole, address, _packed(entry), State.WAITING, State.WAITING, self._now()),
        )
        self._note(address, entry.pole, None, "added", "")

    # A board's way

    def take(
        self,
        mac: str,
        *,
        unfit: Callable[[PlanEntry], str] = lambda entry: "",
        poles: Collection[str] | None = None,
        replace: str | None = None,
        skip: Collection[int] = (),
    ) -> Taken:
        """Give a board its identity: the one that it has, else the next that waits (of `poles`, where named).

        An entry whose last board failed before anything was written to it counts as waiting, after the others, unless
        its address is in `skip` (that board is at work). `unfit` says why this board can't be what an entry asks for,
        nothing when it can. `replace` names the pole whose identity this board gets,
        whoever had it; what the board had before waits again. A bridge becomes a lamp's board only so. Raises ProvisionError: "plan-done",
        "no-fit", "revoked", "given".
        """
        mac = normal_mac(mac)
        with self._change("taken"):
            mine = self.of_mac(mac)
            loose = self.loose_of(mac)
            if loose is not None and loose.role == "bridge" and replace is None:
                raise ProvisionError(
                    f"The board {shown_mac(mac)} is a bridge.",
                    "To make a lamp's board of it: felinar flash --watch --replace --pole POLE.",
                    code="given",
                )
            self._db.execute("DELETE FROM loose WHERE mac = ?", (mac,))
            if replace is not None:
                wanted = self.find(replace)
                if reason := unfit(wanted.entry):
                    raise ProvisionError(
                        f"Pole {wanted.entry.pole} can't have this board: {reason}",
                        "Name the board file with --board, or take another board.",
                        code="no-fit",
                    )
                if wanted.mac is not None and wanted.mac != mac:
                    self._free(wanted, f"replaced by {shown_mac(mac)}")
                if mine is not None and mine.id != wanted.id:
                    self._free(mine, f"its board became pole {wanted.entry.pole}")
                return Taken(self._took(wanted, mac, "taken", "replacing" if wanted.mac else ""), True, False)
            if mine is not None and mine.state is not State.REVOKED:
                if mine.state in DONE:
                    return Taken(mine, False, True)
                return Taken(self._took(mine, mac, "resumed", ""), False, False)
            if mine is not None:
                raise ProvisionError(
                    f"The board {shown_mac(mac)} was pole {mine.entry.pole} and its key was revoked.",
                    f"To give it a new key: felinar flash --watch --replace --pole {mine.entry.pole}.",
                    code="revoked",
                )
            found = self._next(unfit, poles, skip)
            if found.mac is not None:
                self._free(found, "nothing was written to its board")
            return Taken(self._took(found, mac, "taken", ""), True, False)

    def _next(self, unfit: Callable[[PlanEntry], str], poles: Collection[str] | None, skip: Collection[int]) -> Record:
        records = self.records(poles)
        waiting = [r for r in records if r.state is State.WAITING]
        waiting += [r for r in records if r.state is State.FAILED and not r.touched and r.address not in skip]
        why: dict[str, int] = {}
        for record in waiting:
            reason = unfit(record.entry)
            if not reason:
                return record
            why[reason] = why.get(reason, 0) + 1
        if waiting:
            raise ProvisionError(
                f"None of the {len(waiting)} poles that wait can have this board: {max(why, key=lambda r: why[r])}",
                "Look at the column 'board' of the plan, or name the board file with --board.",
                code="no-fit",
            )
        open_ = sum(r.state not in (*DONE, State.REVOKED) for r in records)
        raise ProvisionError(
            "No pole of the plan waits for a board.",
            f"{open_} belong to boards that are not done: plug those in again, or free them with --free POLE."
            if open_
            else "All are done. Name another plan.",
            code="plan-done",
        )

    def _took(self, record: Record, mac: str, event: str, detail: str) -> Record:
        # What was written stays on the record: the board may still have it when this attempt ends at once.
        keeps = record.touched and record.mac == mac and record.state not in (*DONE, State.REVOKED)
        reached = State.KEY_STORED if keeps else State.TAKEN
        self._set(record.id, State.TAKEN, reached, mac)
        self._note(record.address, record.entry.pole, mac, event, detail)
        return self._again(record.id)

    def advance(self, address: int, mac: str, state: State, *, line: str | None = None) -> Record:
        """An entry has come to its next state (key stored, written, proven, ready, labelled); for its board only. `line`: what
        the board is being written to speak through."""
        mac = normal_mac(mac)
        with self._change(state):
            record = self._held(address, mac)
            before = ORDER[ORDER.index(state) - 1]
            if state not in ORDER[2:] or record.state is not before:
                raise ProvisionError(
                    f"Pole {record.entry.pole} is '{record.state}': '{state}' can't follow.", code="moved-on"
                )
            self._set(record.id, state, state, mac)
            if line is not None:
                self._db.execute("UPDATE entry SET line = ? WHERE id = ?", (line, record.id))
            self._note(address, record.entry.pole, mac, state, "")
            return self._again(record.id)

    def fail(self, address: int, mac: str, code: str, detail: str) -> Record:
        """The attempt has ended with a failure of the catalogue; the entry stays the board's."""
        mac = normal_mac(mac)
        with self._change("failed"):
            record = self._held(address, mac)
            if record.state in (State.LABELLED, State.REVOKED):
                raise ProvisionError(
                    f"Pole {record.entry.pole} is '{record.state}': it can't fail any more.", code="moved-on"
                )
            self._set(record.id, State.FAILED, record.reached, mac, code, detail)
            self._note(address, record.entry.pole, mac, "failed", f"{code}: {detail}")
            return self._again(record.id)

    def free(self, pole: str, *, replace: bool = False) -> Record:
        """Take an identity from its board on request, so that it waits for the next. A proven or revoked one only with
        `replace`: its board may hang on a pole."""
        with self._change("freed"):
            record = self.find(pole)
            if record.mac is None:
                return record
            if record.state in (*DONE, State.REVOKED) and not replace:
                raise ProvisionError(
                    f"Pole {record.entry.pole} is '{record.state}' on the board {shown_mac(record.mac)}.",
                    f"To give its identity to another board: felinar flash --watch --replace --pole {record.entry.pole}.",
                    code="given",
                    asked_wrongly=True,
                )
            self._free(record, "on request")
            return self._again(record.id)

    def alone(self, mac: str, address: int, *, replace: bool = False) -> None:
        """A board is flashed without the plan: refused where it or the address belongs to a pole, but with `replace`, which
        takes the board's pole from it. Raises ProvisionError: "given"."""
        mac = normal_mac(mac)
        with self._change("alone"):
            mine, wanted = self.of_mac(mac), self.of_address(address)
            if wanted is not None and (mine is None or mine.id != wanted.id or mine.state not in (*DONE, State.FAILED)):
                raise ProvisionError(
                    f"The address {address} is kept for pole {wanted.entry.pole}.",
                    f"Flash it for that pole (felinar flash --watch --pole {wanted.entry.pole}), or take another address.",
                    code="given",
                )
            if mine is None:
                return
            if not replace:
                raise ProvisionError(
                    f"The board {shown_mac(mac)} is pole {mine.entry.pole}, node {mine.address}.",
                    "To make something else of it, say --replace.",
                    code="given",
                )
            if wanted is None:
                became = f"node {address}, without the plan" if address else "a bridge"
                self._free(mine, f"its board became {became}")

    def loose(self) -> list[Loose]:
        """The boards that were flashed without a pole, in the order of their addresses, bridges first."""
        with self._lock:
            rows = self._db.execute(f"SELECT {_LOOSE_COLUMNS} FROM loose ORDER BY address, mac").fetchall()
        return [_loose(row) for row in rows]

    def loose_of(self, mac: str) -> Loose | None:
        """One of these by its MAC."""
        with self._lock:
            where = f"SELECT {_LOOSE_COLUMNS} FROM loose WHERE mac = ?"
            row = self._db.execute(where, (normal_mac(mac),)).fetchone()
        return _loose(row) if row else None

    def begin(
        self, mac: str, role: str, line: str, board: str, *, address: int = 0, name: str = "", port: str = ""
    ) -> None:
        """A board without a pole is about to be written; until `step` says ready it counts as unfinished. Call `alone` before."""
        mac = normal_mac(mac)
        with self._change("begun"):
            values = (mac, role, line, board, address, name, port, State.TAKEN, self._now())
            sql = (
                "INSERT OR REPLACE INTO loose (mac, role, line, board, address, name, port, state, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            )
            self._db.execute(sql, values)
            self._note(address, "", mac, "begun", f"{role} {line}".strip())

    def step(self, mac: str, state: State, code: str = "", detail: str = "") -> None:
        """A board without a pole has come to its next state: written, proven, ready, or failed with an entry of the catalogue."""
        mac = normal_mac(mac)
        with self._change(state):
            found = self.loose_of(mac)
            if found is None:
                raise ProvisionError(
                    f"The board {shown_mac(mac)} was given to a pole while it was being flashed.", code="moved-on"
                )
            sql = "UPDATE loose SET state = ?, code = ?, detail = ?, changed = ? WHERE mac = ?"
            self._db.execute(sql, (state, code, detail, self._now(), mac))
            self._note(found.address, "", mac, state, f"{code}: {detail}" if code else "")

    def revoke(self, address: int, why: str) -> Record | None:
        """The key of an address was revoked; None when the ledger does not know it."""
        with self._change("revoked"):
            record = self.of_address(address)
            if record is None:
                return None
            if record.mac is not None:
                self._set(record.id, State.REVOKED, record.reached, record.mac, "", why)
            self._note(address, record.entry.pole, record.mac, "revoked", why)
            return self._again(record.id)

    def adopt(self, records: Iterable[Record]) -> list[str]:
        """Take over entries of another machine's ledger; those that this one has the same way stay as they are.

        All or nothing. Returns the poles that are new here. Raises ProvisionError when a pole, an address or a board
        is another's here.
        """
        new = []
        with self._change("adopted"):
            for record in records:
                pole = record.entry.pole
                known = [self._one("pole = ?", pole), self.of_address(record.address)]
                known.append(self.of_mac(record.mac) if record.mac else known[0])
                ids = {each.id for each in known if each is not None}
                same = len(ids) == 1 and None not in known
                if same and record.mac == known[0].mac:  # type: ignore[union-attr]
                    continue
                waits = known[0] is not None and known[0].mac is None
                if ids and not (waits and ids == {known[0].id} and known[0].address == record.address):  # type: ignore[union-attr]
                    raise ProvisionError(
                        f"Pole {pole} (node {record.address}) is not the same in this ledger.",
                        "Look at both with `felinar flash --status`, and free or revoke the wrong one.",
                        code="given",
                    )
                if not ids:
                    self._insert(record.entry, record.address)
                    new.append(pole)
                id_ = self.find(pole).id
                self._set(id_, record.state, record.reached, record.mac, record.code, record.detail)
                self._db.execute("UPDATE entry SET line = ? WHERE id = ?", (record.line, id_))
                self._note(record.address, pole, record.mac, "adopted", record.state)
        return new

    def note(self, address: int, event: str, detail: str = "") -> None:
        """Put something about an address into its history."""
        with self._change(event):
            record = self.of_address(address)
            self._note(address, record.entry.pole if record else "", record.mac if record else None, event, detail)

    def _held(self, address: int, mac: str) -> Record:
        record = self.of_address(address)
        if record is None or record.mac != mac:
            whose = "nobody's" if record is None or record.mac is None else f"{shown_mac(record.mac)}'s"
            raise ProvisionError(
                f"The address {address} is {whose}, not {shown_mac(mac)}'s: it was freed or replaced meanwhile.",
                code="moved-on",
            )
        return record

    def _free(self, record: Record, why: str) -> None:
        self._set(record.id, State.WAITING, State.WAITING, None)
        self._note(record.address, record.entry.pole, record.mac, "freed", why)

    def _set(self, id_: int, state: State, reached: State, mac: str | None, code: str = "", detail: str = "") -> None:
        self._db.execute(
            "UPDATE entry SET state = ?, reached = ?, mac = ?, code = ?, detail = ?, changed = ? WHERE id = ?",
            (state, reached, mac, code, detail, self._now(), id_),
        )

    def _note(self, address: int, pole: str, mac: str | None, event: str, detail: str) -> None:
        self._db.execute(
            "INSERT INTO history (time, address, pole, mac, event, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (self._now(), address, pole, mac, event, detail),
        )

    def _again(self, id_: int) -> Record:
        record = self._one("id = ?", id_)
        assert record is not None
        return record


def _with(entry: PlanEntry, address: int) -> PlanEntry:
    return msgspec.structs.replace(entry, address=address)


_COLUMNS = "id, plan, address, state, reached, mac, code, detail, changed, line"
_LOOSE_COLUMNS = "mac, role, line, board, address, name, port, state, code, detail, changed"


def _loose(row: tuple[str, str, str, str, int, str, str, str, str, str, float]) -> Loose:
    mac, role, line, board, address, name, port, state, code, detail, changed = row
    return Loose(mac, role, line, board, address, name, port, State(state), code, detail, changed)


def _record(row: tuple[int, str, int, str, str, str | None, str, str, float, str]) -> Record:
    id_, plan, address, state, reached, mac, code, detail, changed, line = row
    entry = msgspec.json.decode(plan, type=PlanEntry)
    return Record(id_, entry, address, State(state), State(reached), mac, code, detail, changed, line)


def _packed(entry: PlanEntry) -> str:
    return msgspec.json.encode(entry).decode()


def normal_mac(mac: str) -> str:
    """A MAC as it is kept, twelve hex digits as the chip tells them; ProvisionError for what is none."""
    digits = mac.lower().replace(":", "").replace("-", "")
    if len(digits) != 12 or any(c not in "0123456789abcdef" for c in digits):
        raise ProvisionError(f"'{mac}' is no MAC of a board.", code="mac")
    return digits


def shown_mac(mac: str) -> str:
    """A MAC as people write it, `24:6f:28:00:00:01`."""
    return ":".join(mac[i : i + 2] for i in range(0, len(mac), 2))
