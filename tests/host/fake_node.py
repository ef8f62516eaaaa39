"""A lamp node for the host's tests: it speaks felinar_wire as docs/architecture.md says, in the test's own time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from felinar_wire import codec, frame, kept, schema, serial

IN_FLIGHT = 8
PLAIN: dict[str, int] = {
    "up": 100, "lux": 500, "pm1": 50, "pm25": 84, "pm10": 120, "temp": 75, "rh": 810, "leq": 561, "lmax": 712,
    "l10": 590, "l50": 540, "l90": 480, "relay": 1, "dim": 100, "power": 605, "energy": 12,
}  # fmt: skip


@dataclass
class FakeNode:
    """`send` holds the bytes for the line; `feed` takes the line's bytes. Faults are attributes."""

    address: int = 1
    uid: tuple[int, int, int] = (0xA1B2, 0xC3D4, 0x0001)
    boot: int = 1
    lamp_w: float = 60.0
    deaf: bool = False
    silent_results: bool = False
    lamp_dead: bool = False
    clock_unset: bool = False
    schema_version: int = schema.VERSION

    seq: int = 0
    up: int = 0
    time_unix: float = 0.0
    told_time: int | None = None
    relay: int = 1
    dim: int = 100
    report_s: int = 5
    made: int = 0
    sent: bytearray = field(default_factory=bytearray)
    outbox: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)
    executed: list[list[Any]] = field(default_factory=list)
    heard: list[tuple[int, list[Any]]] = field(default_factory=list)
    results: dict[int, list[int]] = field(default_factory=dict)
    refuse: int = schema.RESULT_APPLIED

    def __post_init__(self) -> None:
        self._counter = 0
        self._nonce = 0x100 + self.boot
        self._deframer = serial.Deframer()

    # What the test makes it do

    def restart(self) -> None:
        """Power came back: a new boot, the outbox is still there."""
        self.boot += 1
        self.seq = self.up = self.made = self._counter = 0
        self._nonce = 0x100 + self.boot
        self.told_time = None
        self.results.clear()

    def hello(self) -> None:
        pending = [seq for boot, seq in self.outbox if boot == self.boot]
        self._send(
            schema.HELLO,
            [self.schema_version, *self.uid, self.boot, 1, 2, 3, schema.RESET_POWER, int(self.told_time is not None),
             self._nonce, min(pending, default=self.seq), max(pending, default=self.seq)],
        )  # fmt: skip

    def report(self, unix: float | None = None, **values: Any) -> bytes:
        """Make a report and keep it; `unix` is its time, None when the clock is unset. Returns its body."""
        own = {**PLAIN, "up": self.up, "relay": self.relay, "dim": self.dim, "power": self.power}
        own["time"] = None if unix is None or self.clock_unset else int(unix) - schema.EPOCH_UNIX
        own.update(values)
        return self._keep(schema.REPORT, [own.get(f[0]) for f in schema.fields(schema.REPORT)])

    def event(self, code: int, arg: int, unix: float | None = None) -> bytes:
        time = None if unix is None else int(unix) - schema.EPOCH_UNIX
        return self._keep(schema.EVENT, [time, self.up, code, arg])

    @property
    def power(self) -> int:
        """Of the lamp, in 0.1 W."""
        if not self.relay or self.lamp_dead:
            return 3
        return round(self.lamp_w * 10 * self.dim / 100)

    def transmit(self) -> None:
        """Send the first eight pending messages (again)."""
        for (boot, seq), (kind, body) in list(self.outbox.items())[:IN_FLIGHT]:
            self._send_payload(kind, kept.pack(boot, seq, self.boot, body))

    def health(self) -> None:
        told = [self.up, self.boot, self.made, 0, len(self.outbox), 0, 0, 90_000, 20]
        self._send(schema.HEALTH, [*told, *[None] * (len(schema.fields(schema.HEALTH)) - len(told))])

    def take(self) -> bytes:
        """The bytes that it has put on the line since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data

    # What the line makes it do

    def feed(self, data: bytes) -> None:
        for content in self._deframer.feed(data):
            assert content[0] == 0
            kind, address, _counter, payload = frame.unpack(content[1:])
            if address not in (self.address, 0xFFFF):
                continue
            values = codec.decode(kind, payload)
            self.heard.append((kind, values))
            if not self.deaf:
                self._act(kind, values)

    def _act(self, kind: int, values: list[Any]) -> None:
        if kind == schema.QUERY:
            self.hello() if values[0] == schema.QUERY_HELLO else self.health()
        elif kind == schema.TIME and values[0] == self._nonce:
            self.told_time = values[1] + schema.EPOCH_UNIX
        elif kind == schema.ACK:
            boot, base, bitmap = values
            for b, seq in list(self.outbox):
                if b == boot and 0 <= seq - base < 32 and bitmap >> (seq - base) & 1:
                    del self.outbox[b, seq]
        elif kind in (schema.LAMP_SET, schema.CONFIG):
            self._order(kind, values)

    def _order(self, kind: int, values: list[Any]) -> None:
        id = values[0]
        if id not in self.results:
            self.executed.append([kind, *values])
            if self.refuse == schema.RESULT_APPLIED:
                if kind == schema.LAMP_SET:
                    mode, level = values[1], values[2]
                    self.relay = int(mode != schema.MODE_OFF)
                    self.dim = level if mode == schema.MODE_DIM else 100 if self.relay else 0
                else:
                    self.report_s = values[2]
            self.results[id] = [id, self.refuse, self.dim, self.relay]
        if not self.silent_results:
            self._send(schema.RESULT, self.results[id])

    def _keep(self, kind: int, values: list[Any]) -> bytes:
        body = codec.encode(kind, values)
        self.outbox[self.boot, self.seq] = (kind, body)
        self.seq += 1
        self.made += 1
        return body

    def _send(self, kind: int, values: list[Any]) -> None:
        self._send_payload(kind, codec.encode(kind, values))

    def _send_payload(self, kind: int, payload: bytes) -> None:
        self.sent += serial.encode(b"\0" + frame.pack(kind, self.address, self._counter, payload))
        self._counter = self._counter + 1 & 0xFFFF
