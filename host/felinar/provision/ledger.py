"""The ledger: which board (MAC) has which pole's identity (address), and how far it has come. SQLite, durable at each step.

waiting → taken → key stored → written → proven → ready → labelled; failed from any but the last; revoked from where a board has it.
Proven is its key; ready is a board of which every part has passed and which speaks through the line that it is to speak through. An entry
that is past waiting belongs to one board until it is freed. What may be on a board is on the record before it is written.

Boards that were flashed without a pole, bridges among them, have a row each by their MAC (`Loose`): it tells one that was finished from
one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from felinar.config import NODE_MAX, NODE_MIN
from felinar.provision.errors import ProvisionError
from felinar.provision.ledger_rows import Rows
from felinar.provision.plan import PlanEntry
from felinar.provision.records import DONE, ORDER, Merged, Record, State, Taken, normal_mac, shown_mac


class Ledger(Rows):
    """See the module. Opened, asked and closed as `LedgerFile` and `Rows` say; here are the steps, each a change of its own."""

    # Entries that come in

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
            spent = self._spent() | set(used)
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
                    self._replan(old.id, entry, address)
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
                first = known[0]
                if first is not None and None not in known and ids == {first.id} and record.mac == first.mac:
                    continue
                waits = first is not None and first.mac is None and first.address == record.address
                if ids and not (first is not None and waits and ids == {first.id}):
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
                self._set_line(id_, record.line)
                self._note(record.address, pole, record.mac, "adopted", record.state)
        return new

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
            self._delete_loose(mac)
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
                self._set_line(record.id, line)
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

    # Boards without a pole

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

    def begin(
        self, mac: str, role: str, line: str, board: str, *, address: int = 0, name: str = "", port: str = ""
    ) -> None:
        """A board without a pole is about to be written; until `step` says ready it counts as unfinished. Call `alone` before."""
        mac = normal_mac(mac)
        with self._change("begun"):
            self._insert_loose(mac, role, line, board, address, name, port)
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
            self._set_loose(mac, state, code, detail)
            self._note(found.address, "", mac, state, f"{code}: {detail}" if code else "")


def _with(entry: PlanEntry, address: int) -> PlanEntry:
    return msgspec.structs.replace(entry, address=address)
