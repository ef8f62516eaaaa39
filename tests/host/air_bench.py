"""A street in virtual time for the host's side of the air: bridges on their lines, lamps made of the node's own cores."""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from felinar.air.air import Air
from felinar.air.modem import WRAP
from felinar.air.station import Station
from felinar.clock import Now
from felinar.facts import Fact, Hello, Kept
from felinar.keys import SqliteKeyStore
from felinar.store import SqliteStore
from felinar_air.node import Access, compose
from felinar_air.plan import BEACONS, BRIDGES, DOWNLINK, INTERVAL, airtime
from felinar_wire import WireError, codec, core, frame, join, kept, schema, serial, tesla
from felinar_wire.clock import Clock as NodeClock
from felinar_wire.session import Session

SECRET = bytes(range(32))
START = 1_800_003_000
"""Unix time at which streets begin: no beacon is near midnight."""
PERIOD = 300
_LINE_US = 2000
_EPOCH = schema.EPOCH_UNIX


class Street:
    """Virtual time in µs, what is on the air, and chance. `loss` of frames each way, 0 to 1."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.us = 0
        self.start = START
        self.loss = 0.0
        self.beacon_loss = 0.0
        self.bridges: list[FakeBridge] = []
        self.lamps: list[Lamp] = []
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def now(self) -> Now:
        return Now(5000 + self.us / 1e6, self.start + self.us / 1e6)

    @property
    def ms(self) -> float:
        """The host's time in ms since 2024."""
        return (self.start - _EPOCH) * 1000 + self.us / 1000

    def after(self, us: float, call: Callable[..., None], *args: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.us + max(0, int(us)), self._number, call, args))

    def run(self, seconds: float) -> None:
        end = self.us + int(seconds * 1e6)
        while self._events and self._events[0][0] <= end:
            self.us, _, call, args = heapq.heappop(self._events)
            call(*args)
        self.us = end

    def until(self, condition: Callable[[], object], limit_s: float = 3600) -> float:
        """Let time pass until a condition holds; how long it took in s."""
        begin = self.us
        while not condition():
            assert self.us - begin < limit_s * 1e6, "it did not come to that"
            self.run(0.05)
        return (self.us - begin) / 1e6

    def lost(self, data: bytes) -> bool:
        return self.rng.random() < (self.beacon_loss if data[0] & 63 == schema.BEACON else self.loss)


class FakeBridge:
    """A bridge as its firmware is, on a line that can be pulled."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.plugged = True
        self.clock_us = street.rng.randrange(WRAP)
        self.ppm = street.rng.uniform(-20, 20)
        self.hear: tuple[int, int] | None = None
        self.queue: list[list[Any]] = []
        self.results: list[tuple[int, int]] = []
        self.sent: list[tuple[int, bytes]] = []
        """(host ms, frame) of all that went on the air."""
        self.busy: list[tuple[int, int]] = []
        self.deaf = False
        self.snr = 18
        """Quarters of a dB with which it hears everybody."""
        self.fill = 0
        """So many TX are refused as the queue is full."""
        self.boot_us = street.us
        self._deframer = serial.Deframer(300)
        self._counts = dict.fromkeys(("heard", "bad", "sent", "refused", "dropped"), 0)
        self.host: Host | None = None
        self.station: Station | None = None
        street.bridges.append(self)
        street.after(2_000_000, self._beat)

    def us(self) -> int:
        return int(self.street.us * (1 + self.ppm / 1e6) + self.clock_us) % WRAP

    def restart(self) -> None:
        """Its supply fails for a moment."""
        self.clock_us = self.street.rng.randrange(WRAP)
        self.boot_us = self.street.us
        self.hear = None
        self.queue.clear()
        self._deframer = serial.Deframer(300)
        self._hello()

    def _say(self, kind: int, *values: Any) -> None:
        if self.plugged and self.host:
            data = b"\0" + serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values)))
            self.street.after(_LINE_US + self.street.rng.randrange(1000), self.host.receive, self, data)

    def _beat(self, id: int = 0) -> None:
        up = (self.street.us - self.boot_us) // 1_000_000
        self._say(core.HEARTBEAT, id, up, self.us(), *self._counts.values())
        if not id:
            self.street.after(2_000_000, self._beat)

    def _hello(self) -> None:
        self._say(core.BRIDGE_HELLO, b"bridge\0\0", 0, 1, 0, 1, 8, 863_000_000, 870_000_000, 22)
        self._say(core.CREDIT, 8 - len(self.queue))

    def feed(self, data: bytes) -> None:
        for content in self._deframer.feed(data):
            values = core.decode(core.BRIDGE[content[0]], content[1:])
            if content[0] == core.PING:
                self._beat(values[0])  # type: ignore[arg-type]
            elif content[0] == core.LISTEN:
                self.hear = values[0], values[1]  # type: ignore[assignment]
                self._hello()
            else:
                self._tx(*values)

    def _tx(self, *values: Any) -> None:
        id, at, sf, hz, _, data = values
        assert hz == DOWNLINK * 1000
        if self.fill:
            self.fill -= 1
            self._done(id, 5)
            return
        wait = (at - self.us() + WRAP // 2) % WRAP - WRAP // 2
        if wait < 3000:
            self._done(id, 1)
            return
        assert len(self.queue) < 8, "more than it has room for"
        self.queue.append([id, data])
        self.street.after(wait, self._transmit, [id, data], sf)

    def _done(self, id: int, result: int, airtime_us: int = 0) -> None:
        self.results.append((id, result))
        self._say(core.TX_DONE, id, result, self.us(), airtime_us)
        self._say(core.CREDIT, 8 - len(self.queue))

    def _transmit(self, item: list[Any], sf: int) -> None:
        if item not in self.queue:
            return
        self.queue.remove(item)
        id, data = item
        air = airtime(sf, len(data))
        assert not self.busy or self.busy[-1][1] <= self.street.us, "it is sending already"
        self.busy = [*self.busy[-20:], (self.street.us, self.street.us + air)]
        self.sent.append((round(self.street.ms), data))
        self.street.after(air, self._sent, id, data, sf, air)

    def _sent(self, id: int, data: bytes, sf: int, air: int) -> None:
        self._counts["sent"] += 1
        self._done(id, 0, air)
        for lamp in self.street.lamps:
            if self in lamp.near and not self.street.lost(data):
                lamp.hear(data, self.street.us - air, sf)

    def receive(self, data: bytes, sf: int, khz: int, air: int, rssi: int = -90) -> None:
        end = self.street.us
        sending = any(begin < end and until > end - air for begin, until in self.busy)
        if self.hear == (sf, khz * 1000) and not sending and not self.deaf:
            self._counts["heard"] += 1
            self._say(core.RX, self.us(), rssi, self.snr, sf, khz * 1000, data)


class Lamp:
    """A node: its access, session, group receiver and reports; its clock is its own."""

    def __init__(
        self, street: Street, address: int, root: bytes, near: list[FakeBridge], *, schema_version: int = 1
    ) -> None:
        self.street = street
        self.address = address
        self.root = root
        self.near = near
        self.version = schema_version
        self.counts: dict[str, int] = {}
        self.zones: dict[int, bytes] = {}
        self.joins = 0
        self.counter = 0
        self.heard: list[tuple[int, bytes]] = []
        self.orders: list[tuple[float, int, list[Any]]] = []
        """(ms, kind, values) of commands that were done, once each."""
        self.groups: list[tuple[float, str, bytes]] = []
        self.keyed: list[int] = []
        """What each REKEY was for that came: a zone, or 0."""
        self.keeps = True
        """Whether a REKEY is heard."""
        self.acked: list[tuple[float, list[int]]] = []
        self.whole_asked = 0
        self.answers = True
        self.fired: dict[int, int] = {}
        self.made = 0
        self.boot = 0
        self.speaks = True
        street.lamps.append(self)
        self.start()

    def start(self) -> None:
        """The power comes (back)."""
        self.boot += 1
        self.offset = self.street.rng.randrange(10_000_000)
        self.access = Access(self.address, self.street.rng.randbytes, self.counts, (7,))
        self.session: Session | None = None
        self.group: tesla.Group | None = None
        self.clock = NodeClock()
        self.pending: dict[int, schema.Values] = {}
        self.base: tuple[int, schema.Values] | None = None
        self.made = 0
        self.joined_at = 0.0
        self._done: dict[int, bytes] = {}
        self._asked = 0
        self._planned = -1
        self._life = object()
        self.street.after(1_000_000, self._second, self._life)

    def now(self) -> int:
        return self.street.us // 1000 + self.offset

    def values(self, seq: int) -> schema.Values:
        table = schema.TABLE[schema.REPORT]
        values: schema.Values = [(field[4] + field[5]) // 2 + (seq * (i + 3)) % 5 for i, field in enumerate(table)]
        for name, value in (
            ("time", START - _EPOCH + seq * PERIOD),
            ("up", seq * PERIOD),
            ("relay", seq & 1),
            ("doubt", 0),
        ):
            values[schema.index(schema.REPORT, name)] = value
        return values

    def report(self, count: int = 1) -> None:
        for _ in range(count):
            self.made += 1
            self.pending[self.made] = self.values(self.made)

    def _second(self, life: object) -> None:
        if life is not self._life:
            return
        if self.access.step(self.now()):
            pass  # there is one spreading factor, so nothing to tune
        if self.group and (event := self.group.poll(self.clock.now(self.now())[0])):
            self.groups.append((self.street.ms, event[0], event[4]))
        at, limit, n = self.access.turn(self.now())
        if at and n != self._planned and at - self.now() < 3000:
            self._planned = n
            self.street.after((at - self.now()) * 1000, self._turn, limit, n, life)
        self.street.after(1_000_000, self._second, life)

    # From the air

    def hear(self, data: bytes, began_us: int, sf: int) -> None:
        if sf != self.access.frame.sf:
            return
        with contextlib.suppress(WireError):  # counted in `counts`
            self._hear(data, began_us // 1000 + self.offset)

    def _hear(self, data: bytes, began: int) -> None:
        kind, address, low, payload = frame.unpack(data, 1)
        if kind >> 4 == 2:
            self._group_frame(data, kind, address, low, payload, began)
        elif address == self.address and kind == schema.JOIN_ACC and self.counter:
            session, host, slot, slot_map, key = join.accept(
                data, self.root, address, self.counter, schema.crc, self.counts
            )
            self.session = session
            self.clock.exchange(host, self._asked, self.now())
            n = host // INTERVAL
            self.group = tesla.Group(tesla.Chain(tesla.anchor(n), key), self.counts, self.street.rng.randbytes)
            self.group.zones = self.zones
            self.group.last = dict.fromkeys(self.zones, 0)
            self.access.joined(slot, slot_map, n, self.now())
            self.counter = 0
            self.joins += 1
            self.joined_at = self.street.ms
        elif address == self.address and self.session:
            kind, _, body = self.session.open(data)
            self._obey(kind, body)
        elif address != self.address:
            self.access.overheard(self.now())

    def _group_frame(self, data: bytes, kind: int, address: int, low: int, payload: bytes, began: int) -> None:
        bridge = address - BEACONS
        if self.group is None or (0 <= bridge < BRIDGES and bridge != self.access.frame.bridge):
            if kind == schema.BEACON:
                self._beacon(bridge, low, payload[:-8], began)
            return
        if 0 <= bridge < BRIDGES:
            self.group.last.setdefault(address, 0)
        for what, kind, address, counter, body in self.group.receive(data, *self.clock.now(self.now())):
            if kind == schema.BEACON and what == "held":
                self._beacon(address - BEACONS, counter, body, began)
            elif kind == schema.BEACON:
                done = self.access.verified(address - BEACONS, counter, body)
                if isinstance(done, list):
                    self._acknowledged(done)
            elif kind == schema.GROUP_LAMP:
                self.groups.append((self.street.ms, what, body))

    def _acknowledged(self, seqs: list[int]) -> None:
        self.acked.append((self.street.ms, seqs))
        for seq in seqs:
            self.pending.pop(seq, None)
        if not self.base or max(seqs) > self.base[0]:
            self.base = (max(seqs), self.values(max(seqs)))

    def _beacon(self, bridge: int, counter: int, body: bytes, began: int) -> None:
        self.access.heard(bridge, counter, body, began)
        if self.access.joining and bridge == self.access.frame.bridge and (at := self.access.join(self.now())):
            self.street.after((at - self.now()) * 1000, self._join, self._life)

    def _join(self, life: object) -> None:
        if life is not self._life or not self.access.joining:
            return
        self.access.tries += 1
        self.fired[0] = self.fired.get(0, 0) + 1
        self.counter = self.fired[0]
        self._asked = self.now()
        self.transmit(join.request(self.root, self.address, self.counter, self.version, self.boot))

    def _obey(self, kind: int, body: bytes) -> None:
        if not self.answers:
            return
        if kind == schema.REKEY:
            self._rekey(*core.decode(core.LAYOUT[kind], body))
            return
        values = codec.decode(kind, body)
        if kind == schema.QUERY and values[0] == schema.QUERY_WHOLE:
            self.base = None
            self.whole_asked += 1
        elif kind == schema.QUERY and values[0] == schema.QUERY_HELLO:
            hello = [1, 1, 2, 3, self.boot, 1, 4, 2, schema.RESET_POWER, 1, 7, 1, self.made]
            self.say(schema.HELLO, codec.encode(schema.HELLO, hello))
        elif kind == schema.QUERY:
            health: list[Any] = [0] * len(schema.TABLE[schema.HEALTH])
            health[0], health[1], health[2], health[4] = 60, self.boot, self.made, len(self.pending)
            self.say(schema.HEALTH, codec.encode(schema.HEALTH, health))
        elif kind == schema.ACK:
            boot, base, bitmap = values
            self.acked.append((self.street.ms, [base + i for i in range(32) if bitmap >> i & 1]))  # type: ignore[operator]
            assert boot == self.boot
        elif kind == schema.TIME:
            self.orders.append((self.street.ms, kind, values))
        elif kind in (schema.LAMP_SET, schema.CONFIG):
            id = values[0]
            assert isinstance(id, int)
            if id not in self._done:
                self.orders.append((self.street.ms, kind, values))
                self._done[id] = codec.encode(schema.RESULT, [id, schema.RESULT_APPLIED, 60, 1])
            self.say(schema.RESULT, self._done[id])

    def _rekey(self, id: Any, what: Any, key: Any) -> None:
        if not self.keeps:
            return
        if id not in self._done:
            self.keyed.append(what)
            if what:
                self.zones[what] = key
                if self.group:
                    self.group.last.setdefault(what, 0)
            else:
                self.root = key
            answer: list[Any] = [id, schema.RESULT_APPLIED, 60, 1]
            self._done[id] = codec.encode(schema.RESULT, answer)
        self.say(schema.RESULT, self._done[id])

    # To the air

    def say(self, kind: int, body: bytes) -> None:
        assert self.session
        data = self.session.seal(kind, body)
        self.street.after(15_000, self.transmit, data)

    def event(self, code: int = schema.EVENT_LAMP_FAILURE) -> int:
        """An alarm, at a random time; its seq."""
        assert self.session
        self.made += 1
        body = codec.encode(schema.EVENT, [round(self.street.ms) // 1000, 100, code, 0])
        self.session.sent = max(self.session.sent, 4 * self.made - 1)
        body = kept.pack(self.boot, self.made, self.boot, body, kept.expected(self.session.sent + 1))
        data = self.session.seal(schema.EVENT, body)
        self.street.after((self.access.contend(self.now(), len(data)) - self.now()) * 1000, self.transmit, data)
        return self.made

    def _turn(self, limit: int, n: int, life: object) -> None:
        if life is not self._life or not self.pending or not self.session or not self.speaks:
            return
        if not self.access.clear(self.now(), False):
            return
        old = sorted(self.pending)
        seqs = [*old[:-1][: 3 if len(old) < 8 else 15], old[-1]]
        rows = [(seq, self.pending[seq]) for seq in seqs]
        self.session.sent = max(self.session.sent, 4 * seqs[-1] - 1)
        expect = kept.expected(self.session.sent + 1)
        kind, payload, told = compose(rows, self.base, limit, self.boot, self.boot, expect)
        self.heard.append((kind, payload))
        self.access.sent(n, told)
        self.transmit(self.session.seal(kind, payload, n))

    def transmit(self, data: bytes) -> None:
        khz = self.access.frame.uplink
        air = airtime(self.access.frame.sf, len(data))
        self.street.after(air, self._end, data, khz, air)

    def _end(self, data: bytes, khz: int, air: int) -> None:
        for bridge in self.near:
            if not self.street.lost(data):
                bridge.receive(data, self.access.frame.sf, khz, air)


class Host:
    """The host's cores over a real key store and a real database, driven by the street's time."""

    def __init__(
        self,
        street: Street,
        folder: Path,
        bridges: list[FakeBridge],
        plan: list[tuple[int, int]] | None = None,
        *,
        create: bool = True,
    ) -> None:
        self.street = street
        self.folder = folder
        self.bridges = bridges
        self.plan = plan or [(number, 7) for number in range(len(bridges))]
        self.versions: dict[int, int] = {}
        self.facts: list[tuple[int, Fact]] = []
        self.said: list[str] = []
        self.refuses = False
        """The database can't be written: nothing is acknowledged."""
        self.unanswered_loads = False
        self.members: dict[int, set[int]] = {}
        self.told_of_keys: list[tuple[str, int]] = []
        self.start(create=create)

    def start(self, *, create: bool = False) -> None:
        self.store = SqliteStore(self.folder / "felinar.sqlite3", linger_s=0)
        self.store._connection.execute("PRAGMA synchronous=OFF")
        self.keys = SqliteKeyStore(
            self.folder / "keys.db", SECRET, create=create, role="sessions", now=lambda: self.street.now().unix,
            random=self.street.rng.randbytes, machine=lambda: "machine",
        )  # fmt: skip
        self.keys._db.execute("PRAGMA synchronous=OFF")
        self.air = Air(
            self.keys, self.plan, self.street, load=self._load, save=self.versions.update, versions=dict(self.versions),
            random=self.street.rng.randbytes, say=lambda topic, sentence: self.said.append(sentence),
            tell=lambda words, node=-1, **_: self.told_of_keys.append((words, node)), members=lambda: self.members,
        )  # fmt: skip
        self.on = True
        for bridge, cell in zip(self.bridges, self.air.cells, strict=True):
            bridge.host = self
            self.open(bridge, cell.number)
        self.street.after(1_000_000, self._tick, self.air)

    def open(self, bridge: FakeBridge, number: int) -> None:
        """The line of a bridge is opened."""
        cell = next(cell for cell in self.air.cells if cell.number == number)
        bridge.plugged = True
        bridge.station = Station(self.air, cell, 22, self.street.now())
        self._pump(bridge)

    def pull(self, bridge: FakeBridge) -> None:
        """Its plug is pulled."""
        bridge.plugged = False
        assert bridge.station
        bridge.station.end()
        bridge.station = None

    def stop(self) -> None:
        """The daemon ends in an orderly way."""
        self.on = False
        for bridge in self.bridges:
            bridge.host = bridge.station = None
        self.keys.close()
        self.store.close()

    def receive(self, bridge: FakeBridge, data: bytes) -> None:
        if bridge.station:
            bridge.station.receive(data, self.street.now())
            self._act()

    def _tick(self, air: Air) -> None:
        if self.on and self.air is air:
            air.tick()
            self._act()
            self.street.after(1_000_000, self._tick, air)

    def act(self) -> None:
        self._act()

    def _act(self) -> None:
        while facts := self.air.settle():
            self.facts += [(cell.number, fact) for cell, fact in facts]
            for _, fact in facts:
                if isinstance(fact, Hello):
                    self.store.note_hello(fact, self.street.now().unix).result()
            messages = [fact for _, fact in facts if isinstance(fact, Kept)]
            if messages and not self.refuses:
                commit = self.store.keep(messages).result()
                for (node, uid, boot, base), bitmap in commit.acknowledgements.items():
                    self.air.acknowledge(node, uid, boot, base, bitmap)
        for bridge in self.bridges:
            self._pump(bridge)

    def _pump(self, bridge: FakeBridge) -> None:
        station = bridge.station
        if station is None or not self.on:
            return
        now = self.street.now()
        data = station.output(now)
        if data and bridge.plugged:
            self.street.after(_LINE_US, bridge.feed, data)
        wait = max(station.wake(now) - now.mono, 0.001)
        when = self.street.us + wait * 1e6
        due = getattr(bridge, "due", 0)
        if not self.street.us < due <= when:
            bridge.due = when  # type: ignore[attr-defined]
            self.street.after(wait * 1e6, self._due, bridge, when)

    def _due(self, bridge: FakeBridge, when: float) -> None:
        if getattr(bridge, "due", 0) == when:
            bridge.due = 0  # type: ignore[attr-defined]
            self._pump(bridge)

    def _load(self, address: int, uid: str) -> None:
        boards = {view.id for view in self.store.boards() if (view.node, view.uid) == (address, uid)}
        rows = self.store.read(schema.REPORT, nodes=[address], newest=True, limit=16).result()
        if not self.unanswered_loads:
            self.air.loaded(address, [row for row in rows if row.board in boards])

    def stored(self, kind: int = schema.REPORT) -> list[tuple[int, int, int, schema.Values]]:
        """(node, boot, seq, values) of what is in the database."""
        rows = self.store.read(kind, limit=10_000).result()
        return [(row.node, row.boot, row.seq, codec.decode(kind, row.body)) for row in rows]

    def told(self, kind: type[Any]) -> list[Any]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]


def street(
    folder: Path, *, bridges: int = 1, lamps: int = 1, seed: int = 1, plan: list[tuple[int, int]] | None = None
) -> tuple[Street, Host]:
    """A street whose lamps hear every bridge; nothing has happened yet."""
    town = Street(seed)
    host = Host(town, folder, [FakeBridge(town) for _ in range(bridges)], plan)
    for i in range(lamps):
        Lamp(town, i + 1, host.keys.provision(i + 1), list(town.bridges))
    return town, host


def provisioned(folder: Path, now: Callable[[], Now], random: Callable[[int], bytes], nodes: int) -> dict[int, bytes]:
    """The root keys of nodes 1 to `nodes`, in a key store made in the folder for a `Host` with create=False."""
    keys = SqliteKeyStore(
        folder / "keys.db", SECRET, create=True, now=lambda: now().unix, random=random, machine=lambda: "machine"
    )
    roots = {address: keys.provision(address) for address in range(1, nodes + 1)}
    keys.close()
    return roots
