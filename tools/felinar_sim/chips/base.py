"""What every chip model shares: the protocols that the simulator calls, and the faults that a test can set.

A model answers at register level and knows nothing of the firmware. All times are `now_us`, integer microseconds of
Unix time, and never go back. The faults are plain attributes:

| attribute | effect while set |
|---|---|
| `nack` | the chip is there but refuses every transfer (`Nack`) |
| `bad_crc` | every checksum that the chip sends is wrong; chips without checksums are not affected |
| `stuck` | measuring goes on in time, but its result stays what it was last, to the bit |
| `slow_ms` | every conversion takes so many milliseconds longer |
| `gone` | the chip is off the bus: its state is lost, and it comes back as after power-on |
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Protocol, runtime_checkable

from felinar_sim.conditions import Surroundings


class Nack(Exception):
    """The chip did not acknowledge its address or a byte: what the bus master sees as EIO (I2C) or as silence."""


class ChipError(ValueError):
    """A board names a chip that has no model, or describes it wrongly; the message says which."""


@runtime_checkable
class PinListener(Protocol):
    """A part that sees output pins of the board."""

    def pin(self, name: str, level: int, now_us: int) -> None:
        """A pin of the board's `pins` table has changed; `level` is 0 or 1. A pin that is not driven (reset) reads as
        0."""


@runtime_checkable
class PwmListener(Protocol):
    """A part that sees PWM outputs of the board."""

    def pwm(self, name: str, duty_u16: int, hz: int, now_us: int) -> None:
        """A PWM output has changed; duty 0-65535. `hz` 0: the output is not driven (before the first use, and after a
        reset)."""


@runtime_checkable
class PulseSource(Protocol):
    """A part that sends pulses into a counter pin."""

    def pulses(self, name: str, now_us: int) -> int:
        """Rising edges on the named pin since the part was made; never decreases. 0 for a pin of another part."""


@runtime_checkable
class AudioSource(Protocol):
    """A digital microphone."""

    def frames(self, first: int, n: int, now_us: int) -> bytes:
        """Samples `first` … `first+n-1` of the stream since the clock started: mono int32, little-endian, 24 bits
        left-justified.

        The clock starts (again) at the call with `first` 0; sample k is what the microphone hears k/rate seconds
        after that call's `now_us`.
        """


class Chip(ABC):
    """A model with the faults that all share. Subclasses implement `_power_on` and, where they measure, `_sense`."""

    def __init__(self, surroundings: Surroundings, seed: int | str = 0) -> None:
        self.surroundings = surroundings
        self.random = random.Random(f"{type(self).__name__}/{seed}")
        self.nack = False
        self.bad_crc = False
        self.stuck = False
        self.slow_ms = 0
        self._gone = False
        self._last: Any = None
        self._seen_us = 0
        self._power_on(0)

    @property
    def gone(self) -> bool:
        """Whether the chip is off the bus. Setting it to False brings it back in its power-on state."""
        return self._gone

    @gone.setter
    def gone(self, value: bool) -> None:
        if self._gone and not value:
            self._power_on(self._seen_us)
        self._gone = bool(value)

    def power_cycle(self, now_us: int) -> None:
        """The board has lost and regained its supply: all state of the chip is that of a fresh power-on at
        `now_us`."""
        self._seen_us = max(self._seen_us, now_us)
        self._power_on(now_us)

    @abstractmethod
    def _power_on(self, now_us: int) -> None:
        """Put every register into the state that the data sheet gives for power-on."""

    def _sense(self, now_us: int) -> Any:
        """One measurement of the surroundings, as raw register values."""
        raise NotImplementedError

    def _measure(self, now_us: int) -> Any:
        """One measurement, or the last one again while the chip is stuck. A stuck chip that never measured takes one
        first."""
        if self._last is None or not self.stuck:
            self._last = self._sense(now_us)
        return self._last

    @property
    def _slow_us(self) -> int:
        return int(self.slow_ms * 1000)


class I2cChip(Chip):
    """A chip on an I2C bus at a 7-bit address. A transfer that it does not acknowledge raises `Nack`."""

    ADDRESSES: tuple[int, ...] = ()

    def __init__(self, surroundings: Surroundings, address: int | None = None, seed: int | str = 0) -> None:
        self.address = self.ADDRESSES[0] if address is None else address
        if self.address not in self.ADDRESSES:
            allowed = ", ".join(f"0x{a:02x}" for a in self.ADDRESSES)
            raise ChipError(f"{type(self).__name__} cannot have I2C address 0x{self.address:02x}; it has {allowed}")
        super().__init__(surroundings, f"{seed}/{self.address}")

    def write(self, data: bytes, now_us: int) -> None:
        """One write transfer, addressed to the chip, from start to stop or repeated start. Empty data: an address
        probe."""
        self._answering(now_us)
        if data:
            self._write(bytes(data), now_us)

    def read(self, n: int, now_us: int) -> bytes:
        """One read transfer of n bytes; bytes that the chip does not drive read as 0xFF, as a pulled-up bus does."""
        self._answering(now_us)
        data = self._read(n, now_us)
        return data[:n] + b"\xff" * (n - len(data))

    def _answering(self, now_us: int) -> None:
        self._seen_us = max(self._seen_us, now_us)
        if self._gone or self.nack:
            raise Nack(f"{type(self).__name__} at 0x{self.address:02x} does not answer")

    @abstractmethod
    def _write(self, data: bytes, now_us: int) -> None: ...

    @abstractmethod
    def _read(self, n: int, now_us: int) -> bytes: ...


class UartChip(Chip):
    """A chip on a serial line. Its bytes leave one by one at `BAUD`, 8N1, so a reader may catch a frame in pieces.

    Subclasses answer `_receive` and `_run` by calling `_send`.
    """

    BAUD = 9600

    def __init__(self, surroundings: Surroundings, seed: int | str = 0) -> None:
        self._line: deque[tuple[int, int]] = deque()  # when a byte has left, and the byte
        super().__init__(surroundings, seed)

    def feed(self, data: bytes, now_us: int) -> None:
        """Bytes that the board has sent to the chip; a chip that is gone or deaf (`nack`) loses them."""
        self._seen_us = max(self._seen_us, now_us)
        if data and not (self._gone or self.nack):
            self._run(now_us)
            self._receive(bytes(data), now_us)

    def take(self, now_us: int) -> bytes:
        """The bytes that the chip has sent since the last call, up to `now_us`; b"" when there are none."""
        self._seen_us = max(self._seen_us, now_us)
        if not self._gone:
            self._run(now_us)
        sent = bytearray()
        while self._line and self._line[0][0] <= now_us:
            sent.append(self._line.popleft()[1])
        return b"" if self._gone or self.nack else bytes(sent)

    def _send(self, data: bytes, at_us: int) -> None:
        """Put bytes on the line from `at_us` on, behind those that are still leaving."""
        each = 10 * 1_000_000 / self.BAUD
        start = max(at_us, self._line[-1][0] if self._line else at_us)
        self._line.extend((start + round(each * (i + 1)), byte) for i, byte in enumerate(data))

    def _power_on(self, now_us: int) -> None:
        self._line.clear()

    @abstractmethod
    def _receive(self, data: bytes, now_us: int) -> None:
        """Bytes have arrived."""

    @abstractmethod
    def _run(self, now_us: int) -> None:
        """Send whatever is due by itself up to now."""
