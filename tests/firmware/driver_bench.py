"""A bench for drivers: the driver runs in a real MicroPython, its chip is the simulator's model, time is virtual."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from felinar_sim import chips
from felinar_sim.chips import Conditions, Lamp, Nack

from tests.support.micropython import Worker

NACK, CRC, TIMEOUT, IDENTITY, RANGE, FAULT = range(1, 7)
"""The reasons of `drivers.DriverError`."""

_BYTE_US = 90  # nine bits at 100 kHz
_FRAME = 4


class DriverFailure(Exception):
    """The driver raised DriverError; `reason` is its number."""

    def __init__(self, reason: int) -> None:
        super().__init__(f"DriverError({reason})")
        self.reason = reason


class Bench:
    """One driver and the models on its buses. `log` keeps what went over them; `longest_ms` is the longest call."""

    def __init__(
        self, driver: str, entry: Mapping[str, Any] | None = None, conditions: Conditions | None = None
    ) -> None:
        self.now_us = 1_800_000_000_000_000
        self.conditions = conditions or Conditions()
        self.entry = {"driver": driver, **(entry or {})}
        self.lamp = Lamp(start_us=self.now_us)
        self.model: Any = None
        self.bus_hang = False
        self.log: list[Mapping[str, Any]] = []
        self.longest_ms = 0.0
        self.audio = Ring(self)
        self._samples = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115 (closed with the bench)
        self._worker = Worker(Path(__file__).with_name("driver_worker.py"))

    def close(self) -> None:
        self._worker.close()
        self._samples.close()

    def fit(self) -> Any:
        """Put the model of the entry's chip on the board and open the driver; returns what that says of itself."""
        self.model = chips.build(self.entry, lambda now_us: self.conditions, lamp=self.lamp)
        self.model.power_cycle(self.now_us)
        self.sleep(2)  # what is slowest to start, an SCD41, takes a second
        return self.open()

    def open(self) -> Any:
        return self.ask({"open": self.entry["driver"], "entry": self.entry})

    def make(self, name: str, **arguments: Any) -> None:
        """Make an output (class Relay or Dimmer) instead of a sensor."""
        self.ask({"make": name, "arguments": arguments})

    def start(self) -> None:
        self.ask({"do": "start"})

    def read(self) -> dict[str, Any]:
        return dict(self.ask({"do": "read"}))

    def levels(self) -> dict[str, Any]:
        return dict(self.ask({"do": "levels"}))

    def know(self, **values: float) -> None:
        """What other sensors of the board have measured last, by field."""
        self.ask({"do": "latest", "values": values})

    def get(self, name: str) -> Any:
        return self.ask({"do": "get", "name": name})

    def call(self, name: str, *arguments: Any) -> Any:
        return self.ask({"do": "call", "name": name, "arguments": arguments})

    def sleep(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Let the driver do something, serving its buses until it has; raises DriverFailure when it failed."""
        began_us = self.now_us
        answer = self._worker.ask(request)
        while "result" not in answer and "error" not in answer:
            reply = self._serve(answer)
            answer = self._worker.ask({**reply, "ms": self.now_us // 1000})
        self.longest_ms = max(self.longest_ms, (self.now_us - began_us) / 1000)
        if "error" in answer:
            raise DriverFailure(answer["error"])
        return answer["result"]

    def _serve(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if "sleep" in message:
            self.now_us += message["sleep"] * 1000
            return {}
        self.log.append(message)
        serve: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(self, "_" + message["bus"])
        return serve(message)

    def _i2c_write(self, message: Mapping[str, Any]) -> dict[str, Any]:
        data = bytes.fromhex(message["data"])
        return self._i2c(message, len(data), lambda chip: chip.write(data, self.now_us))

    def _i2c_read(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return self._i2c(message, message["n"], lambda chip: chip.read(message["n"], self.now_us))

    def _i2c(self, message: Mapping[str, Any], n: int, transfer: Callable[[Any], bytes | None]) -> dict[str, Any]:
        self.now_us += _BYTE_US * (1 + n)
        if self.bus_hang:
            self.now_us += 50_000
            return {"errno": errno.ETIMEDOUT}
        if self.model is None or self.model.address != message["address"]:
            return {"errno": errno.ENODEV}
        try:
            data = transfer(self.model)
        except Nack:
            return {"errno": errno.ENODEV}
        return {"data": data.hex()} if data is not None else {}

    def _pin(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.lamp.pin(message["name"], message["value"], self.now_us)
        if hasattr(self.model, "pin"):
            self.model.pin(message["name"], message["value"], self.now_us)
        return {}

    def _pwm(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.lamp.pwm(message["name"], message["duty"], message["hz"], self.now_us)
        return {}

    def _counter(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"value": self.model.pulses(message["name"], self.now_us)}

    def _uart_open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert message["baud"] == self.model.BAUD
        self._received = b""
        return {}

    def _uart_write(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.model.feed(bytes.fromhex(message["data"]), self.now_us)
        return {}

    def _uart_any(self, message: Mapping[str, Any]) -> dict[str, Any]:
        # The chip's buffer holds 256 bytes; what comes when it is full is lost.
        self._received = (self._received + self.model.take(self.now_us))[:256]
        return {"n": len(self._received)}

    def _uart_read(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._uart_any(message)
        n = message["n"] if message["n"] >= 0 else len(self._received)
        data, self._received = self._received[:n], self._received[n:]
        return {"data": data.hex()}

    def _i2s_open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.audio.open(message["rate"], message["size"])
        return {}

    def _i2s_close(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.audio.rate = 0
        return {}

    def _i2s_any(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"n": self.audio.available()}

    def _i2s_read(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._samples.seek(0)
        self._samples.write(self.audio.take(message["n"] // _FRAME))
        self._samples.truncate()
        return {"file": self._samples.name}


class Ring:
    """The I2S receiver's DMA buffer: it keeps the newest samples, and what is read too late is lost without a word."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.rate = 0
        self.samples: Callable[[int, int], bytes] | None = None  # first, n -> int32 little-endian
        self.speed = 1.0  # of the sample clock against the board's
        self.lost = 0
        self.largest = 0

    def open(self, rate: int, size: int) -> None:
        self.rate, self._capacity = (
            round(rate * self.speed),
            size // 8,
        )  # the chip's DMA has two slots of four bytes a frame
        self._began_us, self._at = self._bench.now_us, 0

    def available(self) -> int:
        if not self.rate or self.samples is None:
            return 0
        end = (self._bench.now_us - self._began_us) * self.rate // 1_000_000
        if end - self._at > self._capacity:
            self.lost += end - self._capacity - self._at
            self._at = end - self._capacity
        return end - self._at

    def take(self, n: int) -> bytes:
        n = min(n, self.available())
        self.largest = max(self.largest, n * _FRAME)
        assert self.samples is not None
        data = self.samples(self._at, n)
        self._at += n
        return data


@contextmanager
def bench(driver: str, entry: Mapping[str, Any] | None = None, conditions: Conditions | None = None) -> Iterator[Bench]:
    """A bench that is closed at the end."""
    made = Bench(driver, entry, conditions)
    try:
        yield made
    finally:
        made.close()
