"""A street of medium-access cores under one ether: real frames, real plans, no firmware; events on one virtual clock."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from felinar import wire_batch
from felinar.air.orders import REPEATS
from felinar.keys.broadcast import Broadcast
from felinar_air import host, node, plan
from felinar_sim.ether import FLOOR_DBM, LIMIT_DB, Ether, Receptions, Transmission
from felinar_wire import codec, frame, kept, schema, tesla

from felinar_bench import corpus
from felinar_bench.air_lamp import (
    ACC,
    BASE,
    BRIDGE_DBM,
    COMMAND,
    FIRST,
    JOIN,
    KEPT,
    NODE_DBM,
    PERIOD,
    RELAY_US,
    RESULT,
    TURN_US,
    Bridge,
    Lamp,
    Mask,
    place,
)


class Street:
    """`nodes` lamps around bridges, for as long as `run` says. Times are in µs from the beginning."""

    def __init__(
        self,
        seed: int,
        nodes: int = 1000,
        sf: int = 7,
        *,
        loss: float = 0.2,
        beacon_loss: float = 0.05,
        places: list[tuple[float, float]] | None = None,
        radius: float = 1200.0,
        joined: bool = True,
    ) -> None:
        """`places` of bridges in metres; lamps lie within `radius` of one, where the link has 6 dB to spare."""
        self.seed = seed
        self.sf = sf
        self.loss = loss
        self.beacon_loss = beacon_loss
        self.rng = random.Random(seed)
        self.ether = Ether(seed)
        self.counts: dict[str, int] = {}
        self.now = 0
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self.broadcast = Broadcast(self.rng.randbytes(32), lambda _: bytes(16))
        self.bridges = [Bridge(self, i, x, y) for i, (x, y) in enumerate(places or [(0.0, 0.0)])]
        for one in self.bridges:
            one.down.neighbours = [other.down for other in self.bridges if other is not one]
        self.days = corpus.nodes()
        self.latencies: list[float] = []
        self.frames = self.copies = self.twice = self.wrong = 0
        self.at_join: list[float] = []
        """Seconds at which a lamp was given its slot."""
        self.commands: dict[object, Callable[[int, int], None]] = {}
        self.ears: list[Callable[[int, Bridge, Any, Mask, int], None]] = []
        """Called with (when, bridge, what, who heard it, interval) at the end of group frames and beacons."""
        self.lamps: list[Lamp] = []
        while len(self.lamps) < nodes:
            near = self.bridges[len(self.lamps) % len(self.bridges)]
            self._lamp(near, radius)
        self.station_of = np.array([lamp.station for lamp in self.lamps])
        self.lamp_of = {lamp.station: lamp for lamp in self.lamps}
        self.bridge_of = {bridge.station: bridge for bridge in self.bridges}
        self.lamp_place = np.full(len(self.lamps) + len(self.bridges), -1)
        for lamp in self.lamps:
            self.lamp_place[lamp.station] = lamp.place
        for bridge in self.bridges:
            self.ether.tune(bridge.station, bridge.frame.uplink, sf, 0)
            self.at(0, self._host, bridge)
        self.awake: set[int] = set()
        for lamp in self.lamps:
            self.ether.tune(lamp.station, plan.DOWNLINK, sf, 0)
            if joined:
                bridge = self.bridges[0]
                slot = bridge.slots.assign(lamp.address, FIRST)
                lamp.access.joined(slot, bridge.slots.version, FIRST - 1, self._local(lamp))
                self._plan(lamp)
            else:
                self.awake.add(lamp.place)
                self.watch(lamp, lamp.life)

    def _lamp(self, near: Bridge, radius: float) -> None:
        """One more lamp; where it would hear its bridge too weakly it would be planned elsewhere, so it is put elsewhere."""
        least = LIMIT_DB[self.sf] + host.MARGIN / 10 - NODE_DBM + FLOOR_DBM
        x, y = place(self.rng, self.ether, near.station, radius, least)
        self.lamps.append(Lamp(self, len(self.lamps), len(self.lamps) + 1, x, y))

    # Time

    def at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` called at a time in µs."""
        self._number += 1
        heapq.heappush(self._events, (max(when, self.now), self._number, call, args))

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        end = self.now + int(seconds * 1e6)
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, call, args = heapq.heappop(events)
            call(*args)
        self.now = end

    def _ms(self) -> int:
        return BASE + self.now // 1000

    def _local(self, lamp: Lamp) -> int:
        return lamp.crystal.local(self.now) // 1000

    def _late(self) -> int:
        """µs until an interrupt is served: now and then the heap is being collected."""
        return self.rng.randrange(500) if self.rng.random() < 0.95 else self.rng.randrange(8000)

    # The host and its bridges

    def _host(self, bridge: Bridge) -> None:
        bridge.due = -1
        if not bridge.alive:
            return
        while True:
            found = bridge.down.next(self._ms())
            if found is None:
                break
            at, item = found
            self.at((at - BASE) * 1000, self._send, bridge, item, self.now)
        self._wake(bridge, max((bridge.down.wake - BASE) * 1000, self.now + 1000))

    def _wake(self, bridge: Bridge, when: int) -> None:
        if bridge.due < 0 or when < bridge.due:
            bridge.due = when
            self.at(when, self._due, bridge, when)

    def _due(self, bridge: Bridge, when: int) -> None:
        if bridge.due == when:
            self._host(bridge)

    def revive(self, bridge: Bridge) -> None:
        """A bridge is there again."""
        bridge.alive = True
        self.ether.tune(bridge.station, bridge.frame.uplink, self.sf, self.now)
        self._wake(bridge, self.now)

    def push(self, bridge: Bridge, item: host.Item) -> None:
        bridge.down.push(item)
        self._wake(bridge, self.now)

    def _send(self, bridge: Bridge, item: host.Item | None, asked: int) -> None:
        """The bridge transmits; item None is the beacon, built now, which is within its interval."""
        if not bridge.alive:
            return
        now = self._ms()
        what: Any = item.what if item else None
        if item is None:
            first, bits = bridge.slots.beacon(now // tesla.INTERVAL)
            address = plan.BEACONS + bridge.frame.bridge
            what = self.broadcast.beacon(address, now, now, bridge.slots.version, first, bits)
            size, loss = len(what), self.beacon_loss
        else:
            size, loss = item.size, self.loss
        sent = self.ether.begin(bridge.station, self.now, plan.DOWNLINK, self.sf, BRIDGE_DBM, what, size, loss)
        self.at(sent.end, self._sent, bridge, sent)

    def _sent(self, bridge: Bridge, sent: Transmission) -> None:
        heard = self.ether.end(sent)
        self.ether.tune(bridge.station, bridge.frame.uplink, self.sf, self.now)
        mask = np.zeros(len(self.lamps), np.bool_)
        places = self.lamp_place[heard.stations]
        mask[places[places >= 0]] = True
        n = (BASE + sent.begin // 1000) // tesla.INTERVAL
        if isinstance(sent.data, bytes):
            _, _, low, body = frame.unpack(sent.data, 1)
            entry = (n << 8 | low & 255, body[:-8], sent.begin, mask)
            bridge.beacons.setdefault(n, []).append(entry)
            bridge.beacons.pop(n - KEPT, None)
            for place in sorted(self.awake):
                if mask[place]:
                    self._hear(self.lamps[place], bridge, entry)
        elif isinstance(sent.data, tuple):
            kind, place = sent.data[0], sent.data[1]
            if kind == "acc":
                for other in self.awake:
                    self.lamps[other].access.crowd += bool(mask[other])
                if mask[place]:
                    self._accepted(self.lamps[place], bridge, sent.data)
            elif kind == "command":
                self._commanded(bridge, sent, mask)
        for ear in self.ears:
            ear(self.now, bridge, sent.data, mask, n)

    def _received(self, sent: Transmission, heard: Receptions) -> None:
        """What bridges heard comes to the host."""
        for station in heard.stations:
            bridge = self.bridge_of.get(int(station))
            if bridge is not None and bridge.alive:
                self._arrived(bridge, sent)

    def _arrived(self, bridge: Bridge, sent: Transmission) -> None:
        lamp = self.lamp_of[sent.source]
        begin = BASE + (sent.begin + self._late()) // 1000
        data = sent.data
        if isinstance(data, bytes):
            self._stored(bridge, lamp, begin, data)
        elif isinstance(data, tuple) and data[0] == "join":
            n = begin // tesla.INTERVAL
            for other in self.bridges:
                if other is not bridge:
                    other.slots.moved(lamp.address)
            slot = bridge.slots.assign(lamp.address, n)
            what = ("acc", lamp.place, slot, bridge.slots.version)
            bridge.down.done(what)
            ms = self._ms()
            self.push(bridge, host.Item(host.REPLY, what, ACC, ms, ms + 8000))
        elif isinstance(data, tuple) and data[0] == "result":
            bridge.slots.heard(begin, lamp.address)
            bridge.down.done(data[1])
            listener = self.commands.get(data[1])
            if listener:
                listener(self.now, lamp.place)

    def _stored(self, bridge: Bridge, lamp: Lamp, begin: int, data: bytes) -> None:
        slots = next((other.slots for other in self.bridges if lamp.address in other.slots.of), bridge.slots)
        kind, counter, payload = lamp.host.open(data, slots.interval(begin, lamp.address))
        boot, seq, lag, body = kept.unpack_lag(payload, 1, kept.expected(counter))
        if kind == schema.BATCH:
            rows = wire_batch.decode(body, seq)
        elif lag:
            if seq - lag not in lamp.known:  # acknowledged, and not here: what must never be
                self.wrong += 1
                return
            rows = [(seq, codec.decode(kind, body, lamp.known[seq - lag], lag))]
        else:
            rows = [(seq, codec.decode(kind, body))]
        now = self.now / 1e6
        for seq, values in rows:
            if values != self.values(lamp, seq) or boot != 1:
                self.wrong += 1
                continue
            if seq in lamp.stored:
                self.twice += 1
                continue
            lamp.stored.add(seq)
            lamp.known[seq] = values
            self.latencies.append(now - seq * PERIOD)
        if len(lamp.known) > 60:
            for seq in sorted(lamp.known)[:-30]:
                del lamp.known[seq]
        bridge.slots.heard(begin, lamp.address)
        if not bridge.slots.stored(begin, lamp.address):
            self.counts["strange slot"] = self.counts.get("strange slot", 0) + 1

    # Lamps

    def values(self, lamp: Lamp, seq: int) -> schema.Values:
        """The report of a period that ended `seq` periods after the beginning."""
        day = self.days[lamp.place % len(self.days)]
        values = day[(lamp.place * 37 + seq) % len(day)].copy()
        values[0] = BASE // 1000 + seq * PERIOD
        values[1] = seq * PERIOD
        return values

    def _began(self, lamp: Lamp, begin: int) -> int:
        return lamp.crystal.local(begin + self._late()) // 1000

    def _plan(self, lamp: Lamp) -> None:
        """Wake a lamp shortly before its next slot."""
        access = lamp.access
        frame = access.frame
        begin = frame.start(access.slot % frame.slots)
        n = (BASE + self.now // 1000 + 400 - begin) // plan.INTERVAL + 1
        n += (access.slot // frame.slots - n) % plan.CYCLE
        self.at((n * plan.INTERVAL + begin - BASE) * 1000 - 150_000, self._wake_lamp, lamp, lamp.life)

    def _wake_lamp(self, lamp: Lamp, life: int) -> None:
        access = lamp.access
        if lamp.life != life:
            return
        self.catch_up(lamp)
        local = self._local(lamp)
        access.step(local)
        if access.joining:
            self.awake.add(lamp.place)
            return
        self.at(self.now + plan.CYCLE * plan.INTERVAL * 1000, self._wake_lamp, lamp, life)
        at, limit, n = access.turn(local)
        if limit < 40:
            self.counts["unsure"] = self.counts.get("unsure", 0) + 1
            return
        self.at(lamp.crystal.when(at * 1000) + self._late(), self._turn, lamp, limit, n, life)

    def catch_up(self, lamp: Lamp) -> None:
        """Tell a lamp in its slot of those beacons that mattered: around its last frame, and the newest proven one.

        A beacon is proven when one of two intervals later or more was heard too; the rest change nothing.
        """
        access = lamp.access
        bridge = self.bridges[access.frame.bridge]
        log = bridge.beacons
        place = lamp.place
        n = self._ms() // plan.INTERVAL
        newest = n
        while newest > n - 40 and not any(e[3][place] for e in log.get(newest, ())):
            newest -= 1
        last = newest - 2
        while last > n - 40 and not any(e[3][place] for e in log.get(last, ())):
            last -= 1
        sent = access._flight[0]
        for m in sorted({sent + 1, sent + 2, last} if sent else {last}):
            if m <= last:
                for entry in log.get(m, ()):
                    if entry[3][place]:
                        self._prove(lamp, bridge, entry)

        for entry in log.get(newest, ()):
            if entry[3][place]:
                access.heard(bridge.frame.bridge, entry[0], entry[1], self._began(lamp, entry[2]))

    def watch(self, lamp: Lamp, life: int) -> None:
        """Have a lamp look every second whether its bridge is still there, until it has joined."""
        if lamp.life == life:
            lamp.access.step(self._local(lamp))
            self.at(self.now + 1_000_000, self.watch, lamp, life)

    def _prove(self, lamp: Lamp, bridge: Bridge, entry: tuple[int, bytes, int, Mask]) -> None:
        counter, body, begin, _ = entry
        access = lamp.access
        number = bridge.frame.bridge
        access.heard(number, counter, body, self._began(lamp, begin))
        done = access.verified(number, counter, body)
        if isinstance(done, list):
            seqs = set(done)
            lamp.pending = [seq for seq in lamp.pending if seq not in seqs]
            newest = max(done)
            if lamp.base is None or newest > lamp.base[0]:
                lamp.base = (newest, self.values(lamp, newest))

    def _make(self, lamp: Lamp) -> None:
        newest = self.now // (PERIOD * 1_000_000)
        lamp.pending.extend(range(lamp.made + 1, newest + 1))
        lamp.made = max(lamp.made, newest)
        lamp.kept = max(lamp.kept, len(lamp.pending))

    def _choose(self, lamp: Lamp) -> list[int]:
        """The newest report and old ones: three, or as many as may fit when there are many."""
        pending = lamp.pending
        most = 3 if len(pending) < 8 else 15
        return [*pending[:-1][:most], pending[-1]]

    def _turn(self, lamp: Lamp, limit: int, n: int, life: int) -> None:
        self._make(lamp)
        if not lamp.pending or lamp.life != life:
            return
        if not lamp.access.clear(self._local(lamp), self.ether.receiving(lamp.station, self.now)):
            return
        rows = [(seq, self.values(lamp, seq)) for seq in self._choose(lamp)]
        session = lamp.up
        session.sent = max(session.sent, 4 * rows[-1][0] - 1)
        expect = kept.expected(session.sent + 1)
        kind, payload, seqs = node.compose(rows, lamp.base, limit, 1, 1, expect)
        data = session.seal(kind, payload, n)
        self.frames += 1
        self.copies += len(seqs)
        lamp.access.sent(n, seqs)
        self.transmit(lamp, data, len(data))

    def transmit(self, lamp: Lamp, data: object, size: int) -> None:
        """A lamp sends now."""
        frame = lamp.access.frame
        sent = self.ether.begin(lamp.station, self.now, frame.uplink, self.sf, NODE_DBM, data, size, self.loss)
        self.at(sent.end, self._finish, lamp, sent)

    def _finish(self, lamp: Lamp, sent: Transmission) -> None:
        heard = self.ether.end(sent)
        self.ether.tune(lamp.station, plan.DOWNLINK, self.sf, self.now)
        self._received(sent, heard)

    # Joins

    def _hear(self, lamp: Lamp, bridge: Bridge, entry: tuple[int, bytes, int, Mask]) -> None:
        rssi = round(self.ether.snr(bridge.station, lamp.station, BRIDGE_DBM) + FLOOR_DBM)
        lamp.access.heard(bridge.frame.bridge, entry[0], entry[1], self._began(lamp, entry[2]), rssi)
        if lamp.access.frame.bridge == bridge.frame.bridge:
            at = lamp.access.join(self._local(lamp))
            if at:
                self._ask(lamp, at)

    def _ask(self, lamp: Lamp, at: int) -> None:
        lamp.asks = at
        self.at(lamp.crystal.when(at * 1000), self._join, lamp, lamp.life, at)

    def _join(self, lamp: Lamp, life: int, at: int) -> None:
        access = lamp.access
        local = self._local(lamp)
        if lamp.life != life or lamp.asks != at or not access.joining or self.ether.sends(lamp.station):
            return
        busy = self.ether.active(lamp.station, access.frame.uplink, self.sf, self.now)
        if not access.clear(local, self.ether.receiving(lamp.station, self.now)) or busy:
            at = access.again(local)
            if at:
                self._ask(lamp, at)
            return
        access.tries += 1
        self.transmit(lamp, ("join", lamp.place), JOIN)

    def _accepted(self, lamp: Lamp, bridge: Bridge, acc: tuple[Any, ...]) -> None:
        access = lamp.access
        if not access.joining or access.frame.bridge != bridge.frame.bridge:
            return
        access.joined(acc[2], acc[3], self._ms() // plan.INTERVAL, self._local(lamp))
        lamp.life += 1
        self.at_join.append(self.now / 1e6)
        self.awake.discard(lamp.place)
        self._plan(lamp)

    # Commands

    def command(self, lamp: Lamp, done: Callable[[int, int], None], key: object, bridge: Bridge | None = None) -> None:
        """LAMP_SET to one lamp, repeated until it answers; `done` is called with (when, place) at the answer."""
        bridge = bridge or self.bridges[0]
        ms = self._ms()
        what = ("command", lamp.place, key)
        self.commands[what] = done
        self.push(bridge, host.Item(host.COMMAND, what, COMMAND, ms, ms + 60_000, REPEATS, RESULT))

    def _commanded(self, bridge: Bridge, sent: Transmission, mask: Mask) -> None:
        assert isinstance(sent.data, tuple)
        place = sent.data[1]
        for other in np.flatnonzero(mask):
            if other != place:
                self.lamps[other].access.overheard(self._local(self.lamps[other]))
        lamp = self.lamps[place]
        if mask[place]:
            self.at(self.now + TURN_US, self._answer, lamp, sent.data)
            for ear in self.ears:
                ear(self.now + RELAY_US, bridge, ("switched", place, sent.data[2]), mask, 0)

    def _answer(self, lamp: Lamp, what: tuple[Any, ...]) -> None:
        if not self.ether.sends(lamp.station):
            self.transmit(lamp, ("result", what), RESULT)

    # Account

    def delivered(self, older_s: float = 1800) -> tuple[int, int]:
        """(reports stored, reports made) of those older than that."""
        last = int((self.now / 1e6 - older_s) // PERIOD)
        made = stored = 0
        for lamp in self.lamps:
            made += last
            stored += sum(1 for seq in lamp.stored if seq <= last)
        return stored, made

    def trace_hash(self) -> str:
        """A hash of all that was on the air and of what came of it: equal for equal runs."""
        account = [sorted(self.counts.items()), self.delivered(0), self.twice, self.wrong, self.at_join, self.latencies]
        return hashlib.blake2b((self.ether.digest + repr(account)).encode(), digest_size=8).hexdigest()
