"""The ledger's rows: what can be asked of them, and the single changes that its steps are made of."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from felinar.provision.errors import ProvisionError
from felinar.provision.ledger_file import LedgerFile
from felinar.provision.plan import PlanEntry
from felinar.provision.records import Loose, Past, Record, State, normal_mac

_COLUMNS = "id, plan, address, state, reached, mac, code, detail, changed, line"
_LOOSE_COLUMNS = "mac, role, line, board, address, name, port, state, code, detail, changed"


class Rows(LedgerFile):
    """All of its SQL. What reads needs no transaction; what changes is called within one (`_change`)."""

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

    # Within a change

    def _spent(self) -> set[int]:
        """Addresses that an entry or a board has, or ever had."""
        return {row[0] for row in self._db.execute("SELECT DISTINCT address FROM history")}

    def _insert(self, entry: PlanEntry, address: int) -> None:
        self._db.execute(
            "INSERT INTO entry (pole, address, plan, state, reached, changed) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.pole, address, _packed(entry), State.WAITING, State.WAITING, self._now()),
        )
        self._note(address, entry.pole, None, "added", "")

    def _replan(self, id_: int, entry: PlanEntry, address: int) -> None:
        sql = "UPDATE entry SET plan = ?, address = ?, changed = ? WHERE id = ?"
        self._db.execute(sql, (_packed(entry), address, self._now(), id_))
        self._note(address, entry.pole, None, "changed", "by a plan")

    def _free(self, record: Record, why: str) -> None:
        self._set(record.id, State.WAITING, State.WAITING, None)
        self._note(record.address, record.entry.pole, record.mac, "freed", why)

    def _set(self, id_: int, state: State, reached: State, mac: str | None, code: str = "", detail: str = "") -> None:
        self._db.execute(
            "UPDATE entry SET state = ?, reached = ?, mac = ?, code = ?, detail = ?, changed = ? WHERE id = ?",
            (state, reached, mac, code, detail, self._now(), id_),
        )

    def _set_line(self, id_: int, line: str) -> None:
        self._db.execute("UPDATE entry SET line = ? WHERE id = ?", (line, id_))

    def _insert_loose(self, mac: str, role: str, line: str, board: str, address: int, name: str, port: str) -> None:
        sql = (
            "INSERT OR REPLACE INTO loose (mac, role, line, board, address, name, port, state, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._db.execute(sql, (mac, role, line, board, address, name, port, State.TAKEN, self._now()))

    def _set_loose(self, mac: str, state: State, code: str, detail: str) -> None:
        sql = "UPDATE loose SET state = ?, code = ?, detail = ?, changed = ? WHERE mac = ?"
        self._db.execute(sql, (state, code, detail, self._now(), mac))

    def _delete_loose(self, mac: str) -> None:
        self._db.execute("DELETE FROM loose WHERE mac = ?", (mac,))

    def _note(self, address: int, pole: str, mac: str | None, event: str, detail: str) -> None:
        self._db.execute(
            "INSERT INTO history (time, address, pole, mac, event, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (self._now(), address, pole, mac, event, detail),
        )

    def _again(self, id_: int) -> Record:
        record = self._one("id = ?", id_)
        assert record is not None
        return record


def _loose(row: tuple[str, str, str, str, int, str, str, str, str, str, float]) -> Loose:
    mac, role, line, board, address, name, port, state, code, detail, changed = row
    return Loose(mac, role, line, board, address, name, port, State(state), code, detail, changed)


def _record(row: tuple[int, str, int, str, str, str | None, str, str, float, str]) -> Record:
    id_, plan, address, state, reached, mac, code, detail, changed, line = row
    entry = msgspec.json.decode(plan, type=PlanEntry)
    return Record(id_, entry, address, State(state), State(reached), mac, code, detail, changed, line)


def _packed(entry: PlanEntry) -> str:
    return msgspec.json.encode(entry).decode()
