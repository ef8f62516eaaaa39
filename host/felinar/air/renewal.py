"""New keys on the air: whom REKEY goes to next, what became of it, and which bridge's nodes have to join for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from felinar_air.host import BULK, Item
from felinar_wire import frame, schema

from felinar.air.cell import Cell, Peer
from felinar.air.orders import ANSWER, GAP
from felinar.errors import FelinarError
from felinar.keys import Keyring, KeyStore
from felinar.keys.rekey import ROOT, Rekeying, Step

EVERY_S = 5
"""Between looks at the key store."""
SETTLE_S = 120
"""Who has said to have its new key gets so long to join by itself."""
APART_S = 3600
"""Between two times that all nodes of a bridge are made to join."""
_SIZE = frame.HEADER + 8 + 20
_REPEATS = (GAP, 2000, 10_000, 30_000)
_TRY_MS = 120_000
_AGAIN_S, _AGAIN_MOST_S = 300, 3600
_AT_ONCE = 4  # on a bridge, so that whoever doesn't answer holds nobody up for long
_REMEMBERED = 8  # commands that a node remembers the numbers of

Tell = Callable[..., None]


class Renewal:
    """REKEYs of all nodes. `members()` has the zones of each node, `last(address)` the number of its newest command of
    another kind, None when there was none; `tell(words, node=…)` is told of each step, `trouble` what `members` raises. Raises
    KeyStoreError. Times `mono` are monotonic, in s.
    """

    def __init__(
        self,
        keys: KeyStore,
        keyring: Keyring,
        *,
        members: Callable[[], Mapping[int, Iterable[int]]],
        last: Callable[[int], int | None],
        random: Callable[[int], bytes],
        tell: Tell,
        trouble: Callable[[FelinarError], None],
    ) -> None:
        self._keyring = keyring
        self._rekeying = Rekeying(keys, keyring, self._number)
        self._members = members
        self._last = last
        self._random = random
        self._tell = tell
        self._trouble = trouble
        self._zones: dict[int, frozenset[int]] = {}
        self._due: list[tuple[int, int]] = []
        self._stale = True
        self._tries: dict[tuple[int, int], tuple[float, int]] = {}
        self._ordered: set[int] = set()
        self._told: set[tuple[int, int]] = set()
        self._applied: dict[int, float] = {}
        self._replanned: dict[Cell, float] = {}
        self._numbers: dict[int, list[int]] = {}

    def _number(self, address: int) -> int:
        """One far from those that commands get: of both a node remembers the newest, and does none twice.

        Commands count up from the last one; a daemon that has begun anew knows that, but not which numbers this gave.
        """
        used = self._numbers.setdefault(address, [])
        last = self._last(address) or 0
        while True:
            number = (last + 0x8000 + int.from_bytes(self._random(2), "big") % 0x4000) % 0xFFFF + 1
            if number not in used:
                self._numbers[address] = [*used, number][-_REMEMBERED:]
                return number

    # What is to go out

    def look(self, news: bool, mono: float) -> None:
        """See what is ordered; `news`: somebody else may have changed the key store."""
        members = self._now()
        if not (news or self._stale or members != self._zones):
            return
        self._zones = members
        roots = self._rekeying.due()
        for address in roots:
            if address not in self._ordered:
                self._tell("a new key is ordered", node=address)
        applied = self._rekeying.applied()
        self._ordered = {*roots, *applied}
        self._applied = {address: self._applied.get(address, mono) for address in applied}
        self._due = [(address, ROOT) for address in roots] + self._rekeying.zones_due(members)
        due = set(self._due)
        self._tries = {at: tried for at, tried in self._tries.items() if at in due}
        self._told &= due
        self._stale = False

    def _now(self) -> dict[int, frozenset[int]]:
        try:
            return {address: frozenset(zones) for address, zones in self._members().items()}
        except FelinarError as error:
            self._trouble(error)  # a rotation does not wait for it
            return self._zones

    def push(self, peers: Mapping[int, Peer], now: int, mono: float) -> None:
        """Queue REKEYs for those who are there, a few at a time, and rarer who has not answered. `now` in ms since 2024."""
        waiting: dict[Cell, set[object]] = {}
        for at in self._due:
            peer = peers.get(at[0])
            if peer is None or not peer.way.ready or at[0] not in peer.way.present:
                continue
            since, tries = self._tries.get(at, (mono, 0))
            if mono < since:
                continue
            cell = peer.way
            queued = waiting.setdefault(cell, _waiting(cell))
            what = ("rekey", *at)
            if len(queued) >= _AT_ONCE or what in queued or self._keyring.joined(at[0]) is None:
                continue
            queued.add(what)
            self._tries[at] = mono + min(_AGAIN_S << min(tries, 8), _AGAIN_MOST_S), tries + 1
            cell.down.push(Item(BULK, what, _SIZE, now, now + _TRY_MS, _REPEATS, ANSWER))

    def frame(self, address: int, what: int) -> bytes:
        """The frame of a REKEY, empty when it is not wanted any more."""
        if (address, what) not in self._due or self._keyring.joined(address) is None:
            return b""
        if what != ROOT:
            return self._rekeying.zone_frame(address, what, sealed=True)
        return self._rekeying.frame(address, sealed=True) if self.step(address) != Step.NONE else b""

    def went(self, address: int, what: int) -> None:
        """A REKEY was on the air."""
        if (address, what) not in self._told:
            self._told.add((address, what))
            self._tell("a new key was sent", node=address, **_zone(what))

    # What comes back

    def answered(self, address: int, number: int, code: int) -> int | None:
        """A RESULT of a node: what it was about (a zone, or ROOT), None when that was another command."""
        what = self._rekeying.sent(address, number)
        if what is None:
            return None
        self._rekeying.result(address, number, code)
        self._stale = True
        if code != schema.RESULT_APPLIED:
            self._tell("a node did not keep its new key", node=address, code=code, **_zone(what))
        elif what == ROOT:
            self._tell("a node has its new key, which is in force once it has joined", node=address)
        else:
            self._tell("a node has its zone's key", node=address, zone=what)
        if code == schema.RESULT_APPLIED or what == ROOT:
            self._due = [at for at in self._due if at != (address, what)]
        return what

    def join(self, data: bytes) -> bytes:
        """See `Rekeying.join`."""
        address = data[1] << 8 | data[2] if len(data) > 2 else -1
        before = self.step(address)
        answer = self._rekeying.join(data)
        self._stale = True
        self._tries = {at: tried for at, tried in self._tries.items() if at[0] != address}
        if before != Step.NONE and self.step(address) == Step.NONE:
            self._ordered.discard(address)
            self._tell("a new key is in force", node=address)
        return answer

    def step(self, address: int) -> Step:
        """How far a node's rotation is."""
        return self._rekeying.step(address)

    def overdue(self, peers: Mapping[int, Peer], cells: Iterable[Cell], mono: float) -> list[Cell]:
        """Bridges whose nodes are all to join anew, as nothing else makes one do so that has a new key.

        Once for all who have theirs, when no more are being sent; who has not joined by then has no slot in the new map.
        """
        found = []
        for cell in cells:
            last = self._replanned.get(cell)
            late = [
                since
                for address, since in self._applied.items()
                if (peer := peers.get(address)) and peer.home is cell and peer.slot is not None
            ]
            if not late or mono - max(late) < SETTLE_S or (last is not None and mono - last < APART_S):
                continue
            if any(isinstance(what, tuple) and what[2] == ROOT for what in _waiting(cell)):
                continue
            self._replanned[cell] = mono
            found.append(cell)
            self._tell("the nodes of a bridge join anew, for new keys to come into force", bridge=cell.number)
        return found


def _waiting(cell: Cell) -> set[object]:
    """The REKEYs in a bridge's queue."""
    return {item.what for item in cell.down._queue if isinstance(item.what, tuple) and item.what[0] == "rekey"}


def _zone(what: int) -> dict[str, int]:
    return {} if what == ROOT else {"zone": what}
