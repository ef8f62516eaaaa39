"""The air as the host sees it: joins, what nodes say, acknowledgements, over any number of bridges. No I/O but the keys'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from felinar_air.host import BULK, REPLY, AirError, Item
from felinar_air.plan import INTERVAL, air_ms
from felinar_wire import WireError, schema
from felinar_wire.session import count

from felinar.air.cell import Cell, Frame, Peer
from felinar.air.down import Down
from felinar.air.renewal import EVERY_S, Renewal, Tell
from felinar.air.reports import BASES, KINDS, BaseMissing, unpack
from felinar.clock import Clock
from felinar.errors import FelinarError
from felinar.facts import Fact, Health, Hello, OrderAnswered
from felinar.keys import Broadcast, Keyring, KeyStore, KeyStoreError, Opened
from felinar.store import Row
from felinar.tables import RELEASED, History

VERSIONS = 255
"""Slot maps are numbered from 1 to that."""
_APART = 21  # versions between those of neighbours: a node that takes one's map for another's finds out and joins anew
_COPY_MS = 2000
_TRIED_MS = 180_000
_VOID_MS = 15_000  # a node needs 20 s to find out that its slot is of another bridge's map
_FROM_NODE = KINDS | {schema.HEALTH, schema.RESULT, schema.HELLO, schema.TIME_REQ}

Load = Callable[[int, str], None]
Say = Callable[[str, str], None]


class Air(Down):
    """What is heard goes into `heard`, then `settle` makes it durable and gives the facts, each with the cell of its node.

    `clock` tells host time. `load(address, uid)` is asked for the newest reports of a board, which `loaded` gets; `save`
    makes the versions of slot maps durable (raises FelinarError); `say(topic, sentence)` is told of troubles, `tell(words,
    node=…)` of each step of a new key, `changed(cell)` that somebody is not there any more. `members` and `last` are as
    in `Renewal`.
    Everything refused is counted: by the keyring (`keyring.counts`), and here in `counts`.
    """

    def __init__(
        self,
        keys: KeyStore,
        plan: Sequence[tuple[int, int]],
        clock: Clock,
        *,
        load: Load,
        save: Callable[[Mapping[int, int]], None],
        versions: Mapping[int, int],
        random: Callable[[int], bytes],
        say: Say = lambda topic, sentence: None,
        tell: Tell = lambda words, **details: None,
        changed: Callable[[Cell], None] = lambda cell: None,
        members: Callable[[], Mapping[int, Iterable[int]]] = dict,
        last: Callable[[int], int | None] = lambda address: None,
        history: History = RELEASED,
    ) -> None:
        """`plan` has number and spreading factor of each bridge, `versions` those of the newest maps, as `save` had them."""
        self.counts: dict[str, int] = {}
        self.peers: dict[int, Peer] = {}
        self.known: dict[tuple[int, str], tuple[str, int]] = {}
        """Firmware and reset cause by (address, uid), as they were told last."""
        broadcast = Broadcast(keys.chain_secret(), keys.zone_key)
        self.keyring = Keyring(
            keys, crc=history.crc, newest=history.newest, now=self._ms, anchor=broadcast.anchor, slot=self._assign,
            random=random,
        )  # fmt: skip
        self.cells = _cells(plan, versions, random)
        super().__init__(self.cells, self.keyring, broadcast, clock, self.peers, self.counts, random, say, history)
        self.renewal = Renewal(
            keys, self.keyring, members=members, last=last, random=random, tell=tell, trouble=self._trouble
        )
        self._tell = tell
        self._changed = changed
        self._looked = float("-inf")
        self._keys = keys
        self._load = load
        self._save = save
        self._opened: list[tuple[Opened, Cell, int, int, float]] = []
        self._waiting: dict[int, list[tuple[Opened, int]]] = {}
        self._copies: dict[bytes, tuple[int, list[Cell]]] = {}
        self._asking: tuple[Cell, list[Cell]] = (self.cells[0], [])
        self._tried: dict[int, tuple[int, set[int], list[Cell]]] = {}
        self._assigned: Cell | None = None
        self._keep_versions()

    def _keep_versions(self) -> None:
        self._save({cell.number: cell.slots.version for cell in self.cells})

    # Bridges come and go

    def ready(self, cell: Cell, ready: bool) -> None:
        """A bridge can be used now, or no more."""
        if cell.ready != ready:
            cell.ready = ready
            cell.present.clear()

    # Keys are changed, by commands and over the air

    def tick(self) -> None:
        """Let time act, about every second."""
        super().tick()
        mono = self._clock.now().mono
        try:
            if mono - self._looked >= EVERY_S:
                self._looked = mono
                self._look(mono)
        except FelinarError as error:
            self._trouble(error)
        self.renewal.push(self.peers, self._ms(), mono)

    def _look(self, mono: float) -> None:
        news = self.keyring.news()
        if news:
            self._dismiss()
        self.renewal.look(news, mono)
        if cells := self.renewal.overdue(self.peers, self.cells, mono):
            for cell in cells:
                cell.slots.replan()
            self._keep_versions()

    def retune(self, cell: Cell, sf: int) -> None:
        """Have a bridge and its nodes use another spreading factor. Raises FelinarError."""
        cell.retune(sf)
        self._keep_versions()
        self._changed(cell)

    def _dismiss(self) -> None:
        """Nodes whose key is no more in force are not there any more, whatever they send."""
        keyed = set(self._keys.nodes())
        for address in set(self.peers) - (keyed & set(self._keys.sessions())):
            peer = self.peers[address]
            if address in keyed and self._keys.uid(address) == peer.uid:
                continue  # its session has ended; it joins anew
            self._leave(peer)
            self._waiting.pop(address, None)
            self._tell("a node's key is out of use: its session has ended, its slot is free", node=address)
            for cell in self.cells:
                if address in cell.present:
                    cell.present.discard(address)
                    self._changed(cell)

    # What is heard

    def heard(self, cell: Cell, data: bytes, end: float, rssi: int, snr: float) -> None:
        """A frame that a bridge has heard, which ended at `end` (ms); call `settle` when there are no more for now."""
        now = self._ms()
        self._copies = {d: seen for d, seen in self._copies.items() if now - seen[0] < _COPY_MS}
        if data in self._copies:
            self._copies[data][1].append(cell)
            count(self.counts, "copies")
            return
        others = [cell]
        self._copies[data] = (now, others)
        begin = round(end - air_ms(cell.frame.sf, min(len(data), 255)))
        try:
            if data and data[0] & 63 == schema.JOIN_REQ:
                self._join(cell, others, data, rssi, snr)
                return
            opened = self.keyring.open(data, self._interval(cell, data, begin))
            if opened.kind not in _FROM_NODE:
                raise WireError("direction")
            self._opened.append((opened, cell, begin, rssi, snr))
        except WireError as error:
            count(self.counts, error.reason)
        except FelinarError as error:
            self._trouble(error)

    def _interval(self, cell: Cell, data: bytes, begin: int) -> int:
        """The interval whose slot of its sender a frame would be of, whichever bridge has heard it."""
        address = data[1] << 8 | data[2] if len(data) > 2 else -1
        peer = self.peers.get(address)
        return ((peer and peer.home) or cell).slots.interval(begin, address)

    def settle(self) -> list[tuple[Cell, Fact]]:
        """Make durable what was opened, act on it; the facts, and with each the bridge over which its node is reached."""
        opened, self._opened = self._opened, []
        if opened:
            try:
                self.keyring.commit()
            except KeyStoreError as error:
                self.counts["unkept"] = self.counts.get("unkept", 0) + len(opened)
                self._trouble(error)
                opened = []
        for one, cell, begin, rssi, snr in opened:
            try:
                self._act(one, self._peer(one, cell, rssi, snr), begin)
            except WireError as error:
                count(self.counts, error.reason)
            except FelinarError as error:
                self._trouble(error)
        facts, self._facts = self._facts, []
        return facts

    def _uid(self, address: int) -> str:
        """Who has the node's key is the node: a board is known by it, as frames on the air say nothing of the chip."""
        uid = self._keys.uid(address)
        if uid is None:
            raise WireError("address")
        return uid

    def _peer(self, opened: Opened, cell: Cell, rssi: int, snr: float) -> Peer:
        peer = self.peers.get(opened.address)
        if peer is None or peer.boot != opened.boot:
            peer = self._enter(opened.address, opened.boot, opened.schema, cell)
        home = peer.home
        peer.way = home if home and home.ready else cell
        peer.rssi, peer.snr, peer.heard = rssi, snr, self._ms()
        if peer.address not in peer.way.present:
            self._hello(peer, new=False)
        return peer

    def _enter(self, address: int, boot: int, version: int, cell: Cell) -> Peer:
        uid = self._uid(address)
        peer = self.peers[address] = Peer(address, uid, boot, version, cell)
        peer.firmware, peer.reset = self.known.get((address, uid), ("", 0))
        return peer

    def _hello(self, peer: Peer, *, new: bool) -> None:
        peer.way.present.add(peer.address)
        self.known[peer.address, peer.uid] = peer.firmware, peer.reset
        hello = Hello(
            peer.address, peer.uid, peer.boot, peer.schema, peer.firmware, peer.reset, clock_set=True, first=0, last=0,
            new=new,
        )  # fmt: skip
        self._facts.append((peer.way, hello))

    # Joins

    def _join(self, cell: Cell, others: list[Cell], data: bytes, rssi: int, snr: float) -> None:
        self._asking = cell, others
        self._assigned = None
        try:
            answer = self.renewal.join(data)
        except AirError as error:
            raise WireError(error.reason) from error
        address = data[1] << 8 | data[2]
        home = self._assigned
        if home is not None:
            for other in self.cells:
                if other is not home:
                    other.slots.moved(address)
                other.down.done(("acc", address))
            before = self.peers.get(address)
            joined = self.keyring.joined(address)
            assert joined is not None
            peer = self._enter(address, joined.boot, joined.schema, home)
            peer.home = home
            new = before is None or (before.uid, before.boot) != (peer.uid, peer.boot)
            if before is not None and not new:
                peer.bases, peer.loaded = before.bases, before.loaded
            peer.rssi, peer.snr, peer.heard = rssi, snr, self._ms()
            self._hello(peer, new=new)
            if new or not peer.firmware:
                self.query(peer, schema.QUERY_HELLO, BULK, 30_000)
        # Asked again it is the same answer; a node that has found another bridge meanwhile sees by its map that it is void.
        now = self._ms()
        way = home or cell
        self.answers[address] = answer
        way.down.done(("acc", address))
        way.down.push(Item(REPLY, ("acc", address), len(answer), now, now + 8000))

    def _assign(self, address: int) -> tuple[int, int]:
        """The slot and the map's version for a node that joins; the version is durable before anybody is told."""
        cell, heard_by = self._asking
        now = self._ms()
        when, tried, ears = self._tried.get(address, (0, set(), heard_by))
        if now - when > _TRIED_MS:
            tried = set()
        elif cell.number in tried and now - when > _VOID_MS:
            # Of two bridges on one channel both hear it, but it follows the beacons of one: it was not this one.
            cell = next((other for other in ears if other.ready and other.number not in tried), cell)
        self._tried[address] = now, tried | {cell.number}, heard_by
        version = cell.slots.version
        slot = cell.slots.assign(address, now // INTERVAL)
        if cell.slots.version != version:
            self._keep_versions()
        self._assigned = cell
        return slot, cell.slots.version

    # Messages

    def _act(self, opened: Opened, peer: Peer, begin: int) -> None:
        if peer.home:
            peer.home.slots.heard(begin, peer.address)
        unix = self._clock.now().unix
        if opened.kind in KINDS:
            self._kept(opened, peer, begin)
        elif opened.kind == schema.TIME_REQ:
            self.tell_time(peer, self._named(opened)["nonce"] or 0)
        elif opened.kind == schema.HEALTH:
            values = self._named(opened)
            self.answered(peer, ("query", peer.address, schema.QUERY_HEALTH))
            self._facts.append((peer.way, Health(peer.address, peer.uid, peer.boot, unix, values["up"], values)))
        elif opened.kind == schema.HELLO:
            v = self._named(opened)
            self.answered(peer, ("query", peer.address, schema.QUERY_HELLO))
            peer.firmware, peer.reset = f"{v['major']}.{v['minor']}.{v['patch']}", v["reset"] or 0
            self._hello(peer, new=False)
        else:
            v = self._named(opened)
            id, code = v["id"], v["code"]
            if id is None or code is None:
                raise WireError("values")
            what = self.renewal.answered(peer.address, id, code)
            if what is not None:
                self.answered(peer, ("rekey", peer.address, what))
                return
            if not self.answered(peer, ("order", peer.address, id)):
                raise WireError("stray_result")
            self._facts.append((peer.way, OrderAnswered(peer.address, id, code, v["level"], v["relay"], unix)))

    def _named(self, opened: Opened) -> dict[str, int | None]:
        history = self._history
        values = history.decode(opened.schema, opened.kind, opened.body, sealed=True)
        named = history.named(opened.kind, history.table(opened.schema, opened.kind), values)
        return {name: value if isinstance(value, int) else None for name, value in named.items()}

    def _kept(self, opened: Opened, peer: Peer, begin: int) -> None:
        unix = self._clock.now().unix
        try:
            messages, values = unpack(opened, peer.uid, unix, lambda *i: peer.bases.get(i), self._history)
        except BaseMissing:
            if not peer.loaded:
                # It may have been stored before this daemon began: the store is asked first.
                waiting = self._waiting.setdefault(peer.address, [])
                waiting.append((opened, begin))
                if len(waiting) == 1:
                    self._load(peer.address, peer.uid)
                return
            count(self.counts, "base")
            self.query(peer, schema.QUERY_WHOLE, REPLY, 0)
            return
        peer.bases.update(values)
        if len(peer.bases) > 4 * BASES:
            peer.bases = dict(sorted(peer.bases.items())[-2 * BASES :])
        now = self._ms()
        if late := sum(frame.late(now) for frame in peer.frames):
            self.counts["unstored"] = self.counts.get("unstored", 0) + late
        peer.frames = [frame for frame in peer.frames if not frame.late(now)]
        peer.frames.append(Frame(messages, begin, opened.interval, opened.kind == schema.EVENT))
        self._facts += [(peer.way, message) for message in messages]

    def loaded(self, address: int, rows: Iterable[Row]) -> None:
        """The newest reports that are stored of a board (none when they can't be had); then call `settle`."""
        peer = self.peers.get(address)
        waiting = self._waiting.pop(address, [])
        if peer is None:
            return
        peer.loaded = True
        for row in rows:
            opened = self._history.open(row.schema, schema.REPORT, row.body)
            if opened and (row.boot, row.seq) not in peer.bases:
                peer.bases[row.boot, row.seq] = opened[1]
        for one, begin in waiting:
            try:
                self._kept(one, peer, begin)
            except WireError as error:
                count(self.counts, error.reason)

    def acknowledge(self, address: int, uid: str, boot: int, base: int, bitmap: int) -> None:
        """What is stored of a board now: a frame all of whose messages are has its bit set in the next beacon.

        Only a frame that was sealed for the slot that it came in says what the slot brought: another may have been kept from
        here and sent again by somebody else. An event that did not come in its node's slot has no bit: it is answered by
        an ACK of its own.
        """
        peer = self.peers.get(address)
        if peer is None or peer.uid != uid:
            return
        stored = {(boot, base + i) for i in range(32) if bitmap >> i & 1}
        for frame in peer.frames[:]:
            if frame.missing.isdisjoint(stored):
                continue
            frame.missing -= stored
            if frame.missing:
                continue
            peer.frames.remove(frame)
            if frame.interval and peer.home and peer.home.slots.stored(frame.begin, address):
                count(self.counts, "acknowledged")
            elif frame.event:
                self.tell_stored(peer, boot, base, bitmap)
            else:
                count(self.counts, "strange_slot")


def _cells(plan: Sequence[tuple[int, int]], versions: Mapping[int, int], random: Callable[[int], bytes]) -> list[Cell]:
    """The bridges' cells, each with a version of its slot map that its nodes have not had lately, and no other one has."""
    first = random(1)[0]
    cells: list[Cell] = []
    taken: set[int] = set()
    for number, sf in plan:
        version = versions.get(number, first + _APART * number) % VERSIONS + 1
        while version in taken:
            version = version % VERSIONS + 1
        taken.add(version)
        cells.append(Cell(number, sf, version))
    for cell in cells:
        cell.down.neighbours = [
            other.down for other in cells if other is not cell and other.frame.phase != cell.frame.phase
        ]
    return cells
