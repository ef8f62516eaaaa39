"""The host's end of a bridge's line for tests: the plan of felinar_air.host with real keys, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from felinar import wire_batch
from felinar.keys import Broadcast, Keyring, SqliteKeyStore
from felinar_air import plan
from felinar_air.host import COMMAND, REPLY, Downlink, Item, Slots
from felinar_sim.air_street import AirStreet
from felinar_wire import WireError, codec, core, frame, kept, schema, serial, tesla

PING_US = 2_000_000
BRIDGE_DBM = 22
_WRAP = 1 << 30
EPOCH_MS = schema.EPOCH_UNIX * 1000

Identity = tuple[int, int, int]
Make = Callable[[int], bytes]


class AirHost:
    """Plans one bridge: beacons, joins, acknowledgements, commands. `stored` holds what came, by (address, boot, seq)."""

    def __init__(self, street: AirStreet, store: SqliteKeyStore, sf: int = 7) -> None:
        self.street, self.clock = street, street.clock
        self.console = street.bridge.console
        self.store = store
        self.counts: dict[str, int] = {}
        self.slots = Slots(plan.Superframe(sf, 0))
        self.down = Downlink(self.slots, self.counts)
        self.broadcast = Broadcast(store.chain_secret(), store.zone_key)
        self.keyring = Keyring(
            store, crc=lambda version: schema.crc, now=self.ms, anchor=self.broadcast.anchor, slot=self._slot,
            random=lambda n: bytes(n),
        )  # fmt: skip
        self.stored: dict[Identity, tuple[int, list[Any]]] = {}
        self.twice = 0
        self.frames: list[tuple[int, int, int]] = []  # (ms, address, kind) of what opened
        self.results: list[tuple[int, int, list[Any]]] = []  # (ms, address, values)
        self.health: dict[int, dict[str, Any]] = {}
        self.joins: list[tuple[int, int]] = []  # (ms, address)
        self.done: list[tuple[int, int]] = []  # (id, result) of transmissions
        self.silent = False
        """No beacons and no answers while set."""
        self.skip = 0
        """So many beacons to come are left out."""
        self._deframer = serial.Deframer(400)
        self._offset: int | None = None  # bridge's µs - the world's
        self._pinged = (0, 0)
        self._ids = 0
        self._commands: dict[tuple[int, int], Item] = {}
        self.console.on_output.append(self._output)
        self.clock.at(self.clock.now_us + 1_500_000, self._begin)

    def ms(self) -> int:
        """The host's time, ms since 2024."""
        return self.clock.now_us // 1000 - EPOCH_MS

    # The line

    def _say(self, kind: int, *values: Any) -> None:
        self.console.write(serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values))))

    def _begin(self) -> None:
        self._say(core.LISTEN, self.slots.frame.sf, self.slots.frame.uplink * 1000)
        self._ping()

    def _ping(self) -> None:
        self._ids = self._ids % 0xFFFF + 1
        self._pinged = self._ids, self.clock.now_us
        self._say(core.PING, self._ids)
        self.clock.at(self.clock.now_us + PING_US, self._ping)

    def _output(self, chunk: bytes) -> None:
        for content in self._deframer.feed(chunk):
            kind = content[0]
            if kind not in core.BRIDGE:
                continue  # what the boot ROM says
            values: list[Any] = core.decode(core.BRIDGE[kind], content[1:])
            if kind == core.HEARTBEAT and values[0] == self._pinged[0]:
                first = self._offset is None
                self._offset = values[2] - (self._pinged[1] + self.clock.now_us) // 2
                if first:
                    self._wake()
            elif kind == core.TX_DONE:
                self.done.append((values[0], values[1]))
            elif kind == core.RX and self._offset is not None:
                at, _, _, sf, _, data = values
                ahead = (at - self.clock.now_us - self._offset + _WRAP // 2) % _WRAP - _WRAP // 2
                end = self.clock.now_us + ahead
                self._heard(data, (end - plan.airtime(sf, len(data))) // 1000 - EPOCH_MS)

    # What goes down

    def _wake(self) -> None:
        while True:
            now = self.ms()
            found = self.down.next(now)
            if found is None:
                break
            at, item = found
            if self.silent:
                continue
            if item is None:
                if self.skip:
                    self.skip -= 1
                    continue
                first, bits = self.slots.beacon(at // plan.INTERVAL)
                data = self.broadcast.beacon(
                    plan.BEACONS + self.slots.frame.bridge, now, at, self.slots.version, first, bits
                )
            else:
                assert callable(item.what)
                data = item.what(at)
            assert self._offset is not None
            when = ((at + EPOCH_MS) * 1000 + self._offset) % _WRAP
            self._ids = self._ids % 0xFFFF + 1
            self._say(core.TX, self._ids, when, self.slots.frame.sf, plan.DOWNLINK * 1000, BRIDGE_DBM, data)
        self.clock.at(max((self.down.wake + EPOCH_MS) * 1000, self.clock.now_us + 2000), self._due)

    def _due(self) -> None:
        if (self.down.wake + EPOCH_MS) * 1000 <= self.clock.now_us + 1:
            self._wake()

    def push(
        self, priority: int, make: Make, size: int, *, lasts: int = 8000, gaps: tuple[int, ...] = (), reply: int = 0
    ) -> Item:
        """Queue what `make(at)` gives when its time has come."""
        now = self.ms()
        item = Item(priority, make, size, now, now + lasts, gaps, reply)
        self.down.push(item)
        self.clock.at(self.clock.now_us, self._wake)
        return item

    def command(self, address: int, kind: int, values: list[Any], *, reply: int = 18) -> None:
        """A sealed message to a node, repeated until a RESULT with its id (its first value) comes."""
        body = codec.encode(kind, values) if kind != schema.REKEY else values[0]
        id = values[0] if kind != schema.REKEY else int.from_bytes(body[:2], "big")
        item = self.push(
            COMMAND, lambda at: self.keyring.seal(address, kind, body), len(body) + 13, lasts=60_000, gaps=(0, 0, 1000), reply=reply,
        )  # fmt: skip
        self._commands[address, id] = item

    def group(self, address: int, number: int, mode: int, level: int, ttl: int, *, right: bool = True) -> None:
        """A GROUP_LAMP, sent once; `right` False spoils its TESLA tag, as a thief of the zone key would."""

        def make(at: int) -> bytes:
            data = self.broadcast.lamp(address, at, number, mode, level, 0, ttl, 0)
            return data if right else data[:-1] + bytes((data[-1] ^ 1,))

        self.push(COMMAND, make, 29)

    # What comes up

    def _slot(self, address: int) -> tuple[int, int]:
        return self.slots.assign(address, self.ms() // plan.INTERVAL), self.slots.version

    def _heard(self, data: bytes, began: int) -> None:
        if self.silent:
            return
        try:
            kind, address, _, _ = frame.unpack(data, frame.SEALED)
            if kind == schema.JOIN_REQ:
                answer = self.keyring.answer(data)
                self.joins.append((self.ms(), address))
                self.push(REPLY, lambda at: answer, len(answer))
                return
            opened = self.keyring.open(data, self.slots.interval(began, address))
        except WireError as error:
            self.counts[error.reason] = self.counts.get(error.reason, 0) + 1
            return
        self.keyring.commit()
        self.frames.append((began, address, opened.kind))
        self.slots.heard(began, address)
        if opened.kind in (schema.REPORT, schema.BATCH, schema.EVENT):
            self._keep(address, opened, began)
            return
        values: list[Any] = list(codec.decode(opened.kind, opened.body))
        if opened.kind == schema.RESULT:
            self.results.append((self.ms(), address, values))
            item = self._commands.pop((address, values[0]), None)
            if item is not None:
                self.down.done(item.what)
        elif opened.kind == schema.HEALTH:
            self.health[address] = dict(zip([f[0] for f in schema.fields(schema.HEALTH)], values, strict=True))
            item = self._commands.pop((address, schema.QUERY_HEALTH), None)
            if item is not None:
                self.down.done(item.what)
        elif opened.kind == schema.TIME_REQ:
            nonce = values[0]

            def tell(at: int) -> bytes:
                now = self.ms()
                return self.keyring.seal(
                    address, schema.TIME, codec.encode(schema.TIME, [nonce, now // 1000, now % 1000])
                )

            self.push(REPLY, tell, 22)

    def _keep(self, address: int, opened: Any, began: int) -> None:
        boot, seq, lag, body = kept.unpack_lag(opened.body, opened.boot, kept.expected(opened.counter))
        if opened.kind == schema.BATCH:
            rows = wire_batch.decode(body, seq)
        elif lag:
            rows = [(seq, codec.decode(schema.REPORT, body, self.stored[address, boot, seq - lag][1], lag))]
        else:
            rows = [(seq, codec.decode(opened.kind, body))]
        kind = schema.EVENT if opened.kind == schema.EVENT else schema.REPORT
        for number, values in rows:
            if (address, boot, number) in self.stored:
                self.twice += 1
                assert self.stored[address, boot, number] == (kind, values), "one identity, two contents"
            self.stored[address, boot, number] = kind, values
        if not (opened.interval and self.slots.stored(began, address)):
            base = seq - seq % 32
            bitmap = sum(1 << i for i in range(32) if (address, boot, base + i) in self.stored)
            ack = codec.encode(schema.ACK, [boot, base, bitmap])
            self.push(REPLY, lambda at: self.keyring.seal(address, schema.ACK, ack), len(ack) + 13)

    # The account

    def reports(self, address: int) -> list[dict[str, Any]]:
        """A node's stored reports by field, in the order of their identities."""
        names = [f[0] for f in schema.fields(schema.REPORT)]
        return [
            dict(zip(names, values, strict=True))
            for (node, _, _), (kind, values) in sorted(self.stored.items())
            if node == address and kind == schema.REPORT
        ]

    def missing(self, older_s: float = 0, kind: int | None = None) -> list[Identity]:
        """What nodes have kept before so many seconds and is not stored as it was made, of one kind or of any."""
        limit = self.clock.now_us - older_s * 1e6
        return [
            (pole.address, a.boot, a.seq)
            for pole in self.street.street
            for a in pole.appended
            if a.at_us <= limit
            and kind in (None, a.kind)
            and self.stored.get((pole.address, a.boot, a.seq)) != (a.kind, codec.decode(a.kind, a.body))
        ]


def ahead(ms: int) -> int:
    """Milliseconds until the next TESLA interval begins."""
    return -ms % tesla.INTERVAL
