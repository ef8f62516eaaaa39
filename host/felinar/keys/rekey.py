"""New keys over the air: REKEY goes out sealed only, and a node's new root key is in force once it joined with it.

ordered (the new key waits in the store) → sent → applied (the node says so) → in force: its next JOIN_REQ is under the new
key. Until then both keys are good, as nobody can tell whether an answer was lost before or after the node kept its key.
A zone's key goes to each of its nodes, whenever the one that the node has said to have is not the zone's present one.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from struct import unpack

from felinar_wire import WireError, core, frame, join, schema

from felinar.keys.interface import KeyStore, KeyStoreError
from felinar.keys.keyring import Keyring

HOLDER = "air"
"""How the key that travels by REKEY is named among those that wait."""
ROOT = 0
"""The address in a REKEY that stands for the node's own root key (docs/protocol.md)."""


class Step(StrEnum):
    """How far a node's rotation is."""

    NONE = "none"
    ORDERED = "ordered"
    SENT = "sent"
    APPLIED = "applied"


def order(store: KeyStore, address: int) -> None:
    """Make the node's next key, which waits; ordered twice it is the same. Raises KeyStoreError: no key, no session."""
    if store.root(address) is None:
        raise KeyStoreError(f"Node {address} has no key that could be changed.", "Flash it: that gives it one.")
    if store.session(address) is None:
        raise KeyStoreError(
            f"Node {address} has no sealed session, and a key is never sent in clear.",
            "A wired line speaks in clear: flash the board anew there (felinar flash --replace); a node on the air joins "
            "within the hour.",
        )
    store.prepare(address, HOLDER)


def step(store: KeyStore, address: int) -> Step:
    """How far a node's rotation is, as the store knows it."""
    if store.pending_key(address, HOLDER) is None:
        return Step.NONE
    return Step(store.pending_step(address, HOLDER) or Step.ORDERED)


def mark(key: bytes) -> bytes:
    """Eight bytes that tell whether a zone's key is the one that a node has; they tell nothing else about it."""
    return hmac.digest(key, b"felinar key check", "sha256")[:8]


class Rekeying:
    """The rotations of all nodes. What must outlive the process is in the store; `next_id(address)` gives numbers of
    commands that the node has not lately had.

    A daemon asks `due()` and `zones_due(…)` whom to send to, hands `frame()` or `zone_frame()` to the node's line, tells
    RESULTs to `result()` and answers every JOIN_REQ with `join()` in place of `Keyring.answer`.
    """

    def __init__(self, store: KeyStore, keyring: Keyring, next_id: Callable[[int], int]) -> None:
        self._store = store
        self._keyring = keyring
        self._next_id = next_id
        self._sent: dict[int, dict[int, tuple[int, bytes]]] = {}
        """Number and key of the newest REKEY, by node and in that by zone (or ROOT)."""

    def due(self) -> list[int]:
        """Nodes whose new key is to be sent (again)."""
        return [a for a in self._ordered() if self.step(a) != Step.APPLIED]

    def applied(self) -> list[int]:
        """Nodes that have a new key and are to join with it."""
        return [a for a in self._ordered() if self.step(a) == Step.APPLIED]

    def _ordered(self) -> list[int]:
        return [a for a, holder in self._store.pending() if holder == HOLDER]

    def zones_due(self, members: Mapping[int, Collection[int]]) -> list[tuple[int, int]]:
        """(node, zone) of those who are to be sent a zone's present key; `members` has the zones of each node."""
        zones = {zone for mine in members.values() for zone in mine}
        present = {zone: mark(self._store.zone_key(zone)) for zone in zones}
        have = self._store.zoned()
        return [
            (a, zone) for a, mine in sorted(members.items()) for zone in mine if have.get((a, zone)) != present[zone]
        ]

    def step(self, address: int) -> Step:
        """How far a node is."""
        return step(self._store, address)

    def frame(self, address: int, *, sealed: bool) -> bytes:
        """The REKEY with the node's new root key; the same command, in a new frame, when it is asked for again.

        `sealed` says whether the line carries sealed frames. Raises KeyStoreError: a line in clear, no session, nothing
        ordered. Nothing was sent then.
        """
        key = self._store.pending_key(address, HOLDER)
        if key is None:
            raise KeyStoreError(f"No new key is ordered for node {address}.", "`felinar keys rotate` orders one.")
        data = self._frame(address, ROOT, key, sealed)
        self._set(address, Step.SENT)
        return data

    def zone_frame(self, address: int, zone: int, *, sealed: bool) -> bytes:
        """The REKEY with a zone's present key, for a node of that zone. Raises KeyStoreError as `frame` does."""
        if zone == ROOT:
            raise KeyStoreError("0 is no zone.")
        return self._frame(address, zone, self._store.zone_key(zone), sealed)

    def _frame(self, address: int, what: int, key: bytes, sealed: bool) -> bytes:
        if not sealed:
            raise KeyStoreError(
                f"Node {address} is on a line that speaks in clear: whoever listens there would have its new key, so it was "
                "not sent.",
                "Flash the board anew (felinar flash --replace): by cable a key goes into the boot loader only.",
            )
        number, known = self._sent.get(address, {}).get(what, (0, b""))
        if known != key:
            number = self._next_id(address)
        body = core.encode(core.LAYOUT[schema.REKEY], [number, what, key])
        try:
            data = self._keyring.seal(address, schema.REKEY, body)
        except WireError as error:
            raise KeyStoreError(
                f"Nothing can be sealed for node {address} now ({error.reason}): its new key waits.",
                "It goes out once the node has joined.",
            ) from error
        self._sent.setdefault(address, {})[what] = number, key
        return data

    def sent(self, address: int, number: int) -> int | None:
        """The zone (or ROOT) whose key went to a node under that number, None when that was another command."""
        return next((what for what, (sent, _) in self._sent.get(address, {}).items() if sent == number), None)

    def result(self, address: int, number: int, code: int) -> Step:
        """A node's RESULT, which came sealed. One of another command changes nothing.

        INVALID drops the new key: it says, under its session's tag, that it has not taken it, so that one is on no board.
        After REFUSED (its storage failed) nobody knows which one it has: both stay good, and it is sent again.
        """
        what = self.sent(address, number)
        if what is None:
            return self.step(address)
        key = self._sent[address][what][1]
        if code != schema.RESULT_APPLIED:
            del self._sent[address][what]
        if what != ROOT:
            if code == schema.RESULT_APPLIED:
                self._store.set_zoned(address, what, mark(key))
        elif code == schema.RESULT_APPLIED:
            self._set(address, Step.APPLIED)
        elif code == schema.RESULT_INVALID:
            self._store.drop(address, HOLDER)
        else:
            self._set(address, Step.ORDERED)
        return self.step(address)

    def _set(self, address: int, to: Step) -> None:
        now = self.step(address)
        if now not in (to, Step.NONE) and (now, to) != (Step.APPLIED, Step.SENT):
            self._store.set_step(address, HOLDER, to)

    def join(self, data: bytes) -> bytes:
        """The JOIN_ACC to a JOIN_REQ, of the old key or of the new one, which then is in force.

        A join under the old key says that the node has not kept the new one: it is sent again. Raises WireError, counted
        by the keyring, as `Keyring.answer` does.
        """
        address = self._proves(data)
        if address is not None:
            self._store.activate(address, HOLDER, same_board=True)
            self._keyring.forget(address)
            self._sent.pop(address, None)
            return self._keyring.answer(data)
        address = data[1] << 8 | data[2] if len(data) >= frame.HEADER else -1
        before = self._store.last_join(address)
        answer = self._keyring.answer(data)
        if self._store.last_join(address) != before:  # not an answer once more
            self._set(address, Step.ORDERED)
            self._sent.pop(address, None)
        return answer

    def _proves(self, data: bytes) -> int | None:
        """The node whose new key a JOIN_REQ is under."""
        try:
            kind, address, low, payload = frame.unpack(data, frame.SEALED)
        except WireError:
            return None
        key = self._store.pending_key(address, HOLDER) if kind == join.JOIN_REQ and len(payload) == 14 else None
        if key is None:
            return None
        high, version, boot = unpack(">HHH", payload[:6])
        good = hmac.compare_digest(join.request(key, address, high << 16 | low, version, boot), data)
        return address if good else None
