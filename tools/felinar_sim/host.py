"""The other end of a node's line for tests, soak and benchmarks: a host that stores, acknowledges, gives the time and sends commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from felinar_wire import WireError, codec, frame, kept, schema, serial

from felinar_sim.street import Pole

Identity = tuple[int, int]


@dataclass
class Got:
    """A message without identity, by field name."""

    at_us: int
    kind: int
    values: dict[str, Any]


@dataclass
class Host:
    """Answers what the node says, at once and inside the simulation. Turn `answers` off and it only listens."""

    pole: Pole
    answers: bool = True
    gives_time: bool = True
    acknowledges: bool = True
    loses: int = 0  # every so many kept messages is not heard; 0 none
    stored: dict[Identity, tuple[int, bytes]] = field(default_factory=dict)
    twice: int = 0
    said: list[Got] = field(default_factory=list)
    heard: list[tuple[int, int, Identity | None]] = field(default_factory=list)  # (µs, kind, identity)
    boot: int = 0

    def __post_init__(self) -> None:
        self._deframer = serial.Deframer(frame.LONGEST + 1)
        self._counter = 0
        self._kept = 0
        self.pole.console.on_output.append(self._output)

    @property
    def bad(self) -> dict[str, int]:
        return self._deframer.bad

    def send(self, kind: int, values: Sequence[Any], address: int | None = None) -> None:
        data = frame.pack(
            kind, self.pole.address if address is None else address, self._counter, codec.encode(kind, list(values))
        )
        self._counter = self._counter + 1 & 0xFFFF
        self.pole.console.write(serial.encode(b"\0" + data))

    def _output(self, chunk: bytes) -> None:
        for content in self._deframer.feed(chunk):
            try:
                self._take(content)
            except WireError as error:
                raise AssertionError(f"the node sent what is no message: {error}") from error

    def _take(self, content: bytes) -> None:
        assert content[0] == 0
        kind, address, _, payload = frame.unpack(content[1:])
        assert address == self.pole.address
        now = self.pole.clock.now_us
        if kind in (schema.REPORT, schema.EVENT):
            self._keep(now, kind, payload)
            return
        names = [f[0] for f in schema.fields(kind)]
        values = dict(zip(names, codec.decode(kind, payload), strict=True))
        self.said.append(Got(now, kind, values))
        self.heard.append((now, kind, None))
        if kind == schema.HELLO:
            assert isinstance(values["boot"], int)
            self.boot = values["boot"]
            if self.answers and self.gives_time:
                self.send(schema.TIME, [values["nonce"], now // 1_000_000 - schema.EPOCH_UNIX, now // 1000 % 1000])

    def _keep(self, now: int, kind: int, payload: bytes) -> None:
        boot, seq, body = kept.unpack(payload, self.boot)
        self.heard.append((now, kind, (boot, seq)))
        if not self.answers:
            return
        self._kept += 1
        if self.loses and self._kept % self.loses == 0:
            return
        if (boot, seq) in self.stored:
            assert self.stored[boot, seq] == (kind, body), "one identity, two contents"
            self.twice += 1
        self.stored[boot, seq] = (kind, body)
        if self.acknowledges:
            base = seq - seq % 32
            bitmap = sum(1 << i for i in range(32) if (boot, base + i) in self.stored)
            self.send(schema.ACK, [boot, base, bitmap])

    # What was stored

    def reports(self, boot: int | None = None) -> list[dict[str, Any]]:
        return self._decoded(schema.REPORT, boot)

    def events(self, boot: int | None = None) -> list[tuple[str, int]]:
        names = {v: k for k, v in vars(schema).items() if k.startswith("EVENT_")}
        return [
            (names.get(v["code"], str(v["code"])).removeprefix("EVENT_").lower(), v["arg"])
            for v in self._decoded(schema.EVENT, boot)
        ]

    def _decoded(self, kind: int, boot: int | None) -> list[dict[str, Any]]:
        names = [f[0] for f in schema.fields(kind)]
        return [
            dict(zip(names, codec.decode(kind, body), strict=True))
            for (b, _), (k, body) in sorted(self.stored.items())
            if k == kind and boot in (None, b)
        ]

    def last(self, kind: int) -> dict[str, Any]:
        return next(got.values for got in reversed(self.said) if got.kind == kind)
