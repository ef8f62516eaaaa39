"""New keys over the air: REKEY goes out sealed only, and a node's new root key is in force once it joined with it.

ordered (the new key waits in the store) → sent → applied (the node says so) → in force: its next JOIN_REQ is under the new
key. Until then both keys are good, as nobody can tell whether an answer was lost before or after the node kept its key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
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


class Rekeying:
    """The rotations of all nodes. What must outlive the process is in the store; `next_id()` gives numbers of commands.

    A daemon asks `due()` whom to send to, hands `frame()` to the node's line, tells RESULTs to `result()` and answers every
    JOIN_REQ with `join()` in place of `Keyring.answer`.
    """

    def __init__(self, store: KeyStore, keyring: Keyring, next_id: Callable[[], int]) -> None:
        self._store = store
        self._keyring = keyring
        self._next_id = next_id
        self._sent: dict[int, int] = {}
        self._applied: set[int] = set()

    def due(self) -> list[int]:
        """Nodes whose new key is to be sent (again)."""
        return [a for a, holder in self._store.pending() if holder == HOLDER and a not in self._applied]

    def step(self, address: int) -> Step:
        """How far a node is."""
        if self._store.pending_key(address, HOLDER) is None:
            return Step.NONE
        if address in self._applied:
            return Step.APPLIED
        return Step.SENT if address in self._sent else Step.ORDERED

    def frame(self, address: int, *, sealed: bool) -> bytes:
        """The REKEY with the node's new root key; the same command, in a new frame, when it is asked for again.

        `sealed` says whether the line carries sealed frames. Raises KeyStoreError: a line in clear, no session, nothing
        ordered. Nothing was sent then.
        """
        key = self._store.pending_key(address, HOLDER)
        if key is None:
            raise KeyStoreError(f"No new key is ordered for node {address}.", "`felinar keys rotate` orders one.")
        number = self._sent.get(address)
        if number is None:
            number = self._next_id()
        data = self._frame(address, ROOT, key, number, sealed)
        self._sent[address] = number
        return data

    def zone_frame(self, address: int, zone: int, *, sealed: bool) -> bytes:
        """The REKEY with a zone's present key, for a node of that zone. Raises KeyStoreError as `frame` does."""
        if zone == ROOT:
            raise KeyStoreError("0 is no zone.")
        return self._frame(address, zone, self._store.zone_key(zone), self._next_id(), sealed)

    def _frame(self, address: int, what: int, key: bytes, number: int, sealed: bool) -> bytes:
        if not sealed:
            raise KeyStoreError(
                f"Node {address} is on a line that speaks in clear: whoever listens there would have its new key, so it was "
                "not sent.",
                "Flash the board anew (felinar flash --replace): by cable a key goes into the boot loader only.",
            )
        body = core.encode(core.LAYOUT[schema.REKEY], [number, what, key])
        try:
            return self._keyring.seal(address, schema.REKEY, body)
        except WireError as error:
            raise KeyStoreError(
                f"Nothing can be sealed for node {address} now ({error.reason}): its new key waits.",
                "It goes out once the node has joined.",
            ) from error

    def result(self, address: int, number: int, code: int) -> Step:
        """A node's RESULT, which came sealed. One of another command changes nothing; a refusal drops the new key."""
        if self._sent.get(address) != number:
            return self.step(address)
        if code == schema.RESULT_APPLIED:
            self._applied.add(address)
        else:
            # It says, under its session's tag, that it has not taken the key: so that one is on no board.
            self._store.drop(address, HOLDER)
            self._forget(address)
        return self.step(address)

    def join(self, data: bytes) -> bytes:
        """The JOIN_ACC to a JOIN_REQ, of the old key or of the new one, which then is in force.

        A join under the old key says that the node has not kept the new one: it is sent again. Raises WireError, counted
        by the keyring, as `Keyring.answer` does.
        """
        address = self._proves(data)
        if address is not None:
            self._store.activate(address, HOLDER)
            self._keyring.forget(address)
            self._forget(address)
            return self._keyring.answer(data)
        answer = self._keyring.answer(data)
        self._forget(frame.unpack(data, frame.SEALED)[1])
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

    def _forget(self, address: int) -> None:
        self._sent.pop(address, None)
        self._applied.discard(address)
