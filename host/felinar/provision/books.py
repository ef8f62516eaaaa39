"""Ledger and key store together: each step of a board in both, in the order that a kill at any moment can't harm.

The key is in the key store before the ledger says "key stored", which is before the first byte is written; the ledger says
"proven" before the key store puts the key in force. What a kill left between two of these is put right on opening.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection

from felinar.flash.image import KEY_BYTES
from felinar.keys.interface import KeyStore
from felinar.keys.rekey import HOLDER as AIR
from felinar.provision.ledger import Ledger
from felinar.provision.plan import PlanEntry
from felinar.provision.records import Merged, Record, State, Taken, normal_mac


class Books:
    """What the threads of a batch write into; each call is done when it returns, one at a time."""

    def __init__(self, ledger: Ledger, keys: KeyStore, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self.ledger = ledger
        self.keys = keys
        self._random = random
        self._lock = threading.RLock()
        self._working: set[int] = set()
        self.mended = self._mend()

    def _mend(self) -> int:
        """Put right what a kill left half done; how many entries."""
        mended = 0
        records = {record.address: record for record in self.ledger.records()}
        for address, holder in self.keys.pending():
            record = records.get(address)
            if record is None or record.mac != holder:
                continue  # another way of travel, or of a board that was freed and may have it: never lost
            if record.keyed:
                mended += self.keys.activate(address, holder)
            elif not record.touched:
                self.keys.drop(address, holder)
                mended += 1
        return mended

    def merge(self, entries: Collection[PlanEntry]) -> Merged:
        """See `Ledger.merge`; addresses that have a key are not given to new poles."""
        with self._lock:
            pending = {address for address, _ in self.keys.pending()}
            return self.ledger.merge(entries, used=set(self.keys.nodes()) | pending)

    def take(
        self,
        mac: str,
        *,
        unfit: Callable[[PlanEntry], str] = lambda entry: "",
        poles: Collection[str] | None = None,
        replace: str | None = None,
    ) -> tuple[Taken, bytes]:
        """What a board gets, and its key: the one that may be on it already, else a new one that nobody keeps yet."""
        with self._lock:
            foreign = {} if replace else self._foreign()

            def why(entry: PlanEntry) -> str:
                return foreign.get(entry.pole) or unfit(entry)

            taken = self.ledger.take(mac, unfit=why, poles=poles, replace=replace, skip=self._working)
            address, holder = taken.record.address, normal_mac(mac)
            if taken.done:
                return taken, b""
            self._working.add(address)
            return taken, self.keys.pending_key(address, holder) or self._random(KEY_BYTES)

    def _foreign(self) -> dict[str, str]:
        """Poles that wait, but whose address was given to a board without the plan: why they can't be given."""
        with_key = set(self.keys.nodes()) | {address for address, _ in self.keys.pending()}
        found = {}
        for record in self.ledger.records():
            if record.state is State.WAITING and record.address in with_key:
                past = self.ledger.history(record.address)
                if not any(each.event == "taken" for each in past):
                    pole = record.entry.pole
                    found[pole] = (
                        f"pole {pole} has the address {record.address}, which a board got without the plan"
                        f" (--replace --pole {pole} gives it to this one)."
                    )
        return found

    def store_key(self, address: int, mac: str, key: bytes, line: str = "wired") -> None:
        """The image is made, for that line: the key is kept, and from now on it may be on the board."""
        with self._lock:
            self.keys.put_pending(address, normal_mac(mac), key)
            self.ledger.advance(address, mac, State.KEY_STORED, line=line)

    def written(self, address: int, mac: str) -> None:
        """The board has its image, read back."""
        self.ledger.advance(address, mac, State.WRITTEN)

    def proven(self, address: int, mac: str) -> None:
        """The board has proved its key, which is in force from now on."""
        with self._lock:
            self.ledger.advance(address, mac, State.PROVEN)
            self.keys.activate(address, normal_mac(mac))
            self.keys.drop(address, AIR)  # a key that was to follow the old one over the air

    def ready(self, address: int, mac: str) -> None:
        """All of it has passed, and it speaks through the line that it is to speak through."""
        self.ledger.advance(address, mac, State.READY)

    def labelled(self, address: int, mac: str) -> None:
        """Its label has been made."""
        self.ledger.advance(address, mac, State.LABELLED)

    def failed(self, address: int, mac: str, code: str, detail: str) -> None:
        """The attempt ended with a failure."""
        self.ledger.fail(address, mac, code, detail)

    def let_go(self, address: int) -> None:
        """Nobody works at it any more, however it ended."""
        with self._lock:
            self._working.discard(address)

    def free(self, pole: str) -> Record:
        """Take an identity from its board on request. A key that may be on that board stays as one that waits."""
        with self._lock:
            record = self.ledger.find(pole)
            freed = self.ledger.free(pole)
            if record.mac is not None and not record.touched:
                self.keys.drop(record.address, record.mac)
            return freed

    def close(self) -> None:
        """Close both."""
        self.ledger.close()
        self.keys.close()
