"""The board's I2C buses: who is on them, how long a transfer takes, and what goes wrong."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Protocol

from felinar_sim.chips.base import Nack
from felinar_sim.link import DONE, Answer, Frame

_CALL_US = 40  # the driver's own time for a transfer
_GLITCH_US = 50_000


class I2cPart(Protocol):
    """What a bus needs of a chip model."""

    address: int

    def write(self, data: bytes, now_us: int) -> None: ...
    def read(self, n: int, now_us: int) -> bytes: ...


class I2cBus:
    """One bus. `stuck`: a chip holds the data line, so that every transfer times out. `transfers`, `nacks` count."""

    def __init__(self) -> None:
        self.chips: list[I2cPart] = []
        self.stuck = False
        self.transfers = 0
        self.nacks = 0


class I2cBuses:
    """The buses of a board by name ("i2c0"); a controller is connected to the bus whose pins it was given."""

    def __init__(self, pins: Mapping[str, int]) -> None:
        self._pins = pins
        self.buses: dict[str, I2cBus] = {}
        self._ports: dict[int, tuple[I2cBus | None, int, int]] = {}

    def bus(self, name: str) -> I2cBus:
        """The bus of that name, made when it is new."""
        return self.buses.setdefault(name, I2cBus())

    def setup(self, f: Frame, now: int) -> Answer:
        """I2C_SETUP: a = scl | sda << 8 | timeout µs << 16, b = Hz (0 ends it)."""
        if not f.b:
            self._ports.pop(f.arg, None)
            return DONE
        scl, sda, timeout = f.a & 255, f.a >> 8 & 255, f.a >> 16
        found = None
        for name, bus in self.buses.items():
            if self._pins.get(f"{name}_scl") == scl and self._pins.get(f"{name}_sda") == sda:
                found = bus
        self._ports[f.arg] = (found, f.b, timeout)
        return DONE

    def write(self, f: Frame, now: int) -> Answer:
        """I2C_WRITE: a = address, data."""
        bus, hz, timeout = self._port(f)
        if bus is not None and bus.stuck:
            return Answer(errno.ETIMEDOUT, b"", timeout)
        took = self._bits_us(hz, 1 + len(f.data))
        for chip in bus.chips if bus is not None else ():
            if chip.address == f.a:
                try:
                    chip.write(f.data, now + took)
                except Nack:
                    break
                return Answer(0, b"", took)
        return self._nack(bus, hz)

    def read(self, f: Frame, now: int) -> Answer:
        """I2C_READ: a = address, b = bytes."""
        bus, hz, timeout = self._port(f)
        if bus is not None and bus.stuck:
            return Answer(errno.ETIMEDOUT, b"", timeout)
        took = self._bits_us(hz, 1 + f.b)
        for chip in bus.chips if bus is not None else ():
            if chip.address == f.a:
                try:
                    data = chip.read(f.b, now + self._bits_us(hz, 1))
                except Nack:
                    break
                return Answer(0, data[: f.b].ljust(f.b, b"\xff"), took)
        return self._nack(bus, hz)

    def release(self) -> None:
        """A reset: no controller is set up."""
        self._ports.clear()

    def _port(self, f: Frame) -> tuple[I2cBus | None, int, int]:
        port = self._ports.get(f.arg & 127, (None, 100_000, _GLITCH_US))
        if port[0] is not None:
            port[0].transfers += 1
        return port

    def _nack(self, bus: I2cBus | None, hz: int) -> Answer:
        if bus is not None:
            bus.nacks += 1
        return Answer(errno.ENODEV, b"", self._bits_us(hz, 1))  # what the ESP32 port makes of ESP_FAIL

    @staticmethod
    def _bits_us(hz: int, size: int) -> int:
        """A transfer of so many bytes: nine bits a byte, start and stop."""
        return _CALL_US + (9 * size + 2) * 1_000_000 // hz
