"""A board's console: the chip's small receive ring, the speed of the line, and who listens at the other end."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from felinar_sim.clock import Clock, Timer
from felinar_sim.link import Source

RING = 260
"""Bytes the chip's console ring holds (MicroPython's ESP32 port)."""
_CONSOLE, _INTERRUPT = int(Source.CONSOLE), int(Source.INTERRUPT)
_PIECE = 32  # bytes that arrive at once, about what the chip's interrupt takes from its FIFO
_NOISE_US = 20_000


class Line(Protocol):
    """Something that carries a console: a pseudo-terminal, a TCP port."""

    def send(self, data: bytes) -> None:
        """Bytes from the board."""

    def close(self) -> None:
        """Let go of everything."""


class Console:
    """What stands between a board and its line.

    `write` is the outside writing to the board, `on_output` gets what the board writes. The ring keeps 260 bytes; what comes while
    it is full is dropped and counted in `overflowed`. `pulled` is a pulled cable: nothing passes either way.
    """

    def __init__(self, clock: Clock, *, baud: int = 115_200, seed: int | str = 0) -> None:
        self.on_output: list[Callable[[bytes], None]] = []
        self.lines: list[Line] = []
        self.baud = baud
        self.overflowed = 0
        self.lost_unpowered = 0
        self.sent = 0
        self.received = 0
        self.garbage_sent = 0
        self.on_input: Callable[[], None] = lambda: None
        self.on_interrupt: Callable[[], None] = lambda: None
        self._clock = clock
        self._random = random.Random(f"console/{seed}")
        self._listening = False
        self._incoming: deque[bytes] = deque()
        self._arrival: Timer | None = None
        self._line_free_us = 0
        self._ring = bytearray()
        self._fetched = 0
        self._interrupt_char = 3
        self.interrupted = False
        self._pulled = False
        self._noise_rate = 0.0
        self._noise_owed = 0.0
        self._noise: Timer | None = None
        self._flip = 0.0

    # The outside

    def write(self, data: bytes) -> None:
        """Bytes for the board; they arrive at the speed of the line."""
        with self._clock.lock:
            if self._pulled or not data:
                return
            data = self._disturb(bytes(data))
            self._incoming.extend(data[i : i + _PIECE] for i in range(0, len(data), _PIECE))
            if self._arrival is None:
                self._line_free_us = max(self._line_free_us, self._clock.now_us)
                self._expect()

    def garbage(self, bytes_per_second: float) -> None:
        """Send random bytes to the listeners all the time, among what the board says; 0 ends it."""
        with self._clock.lock:
            self._noise_rate = bytes_per_second
            self._noise_owed = 0.0
            if self._noise is not None:
                self._noise.cancel()
                self._noise = None
            if bytes_per_second > 0:
                self._noise = self._clock.at(self._clock.now_us + _NOISE_US, self._make_noise)

    def corrupt(self, share: float) -> None:
        """Damage this share of all bytes, both ways; 0 ends it."""
        self._flip = share

    @property
    def pulled(self) -> bool:
        """Whether the cable is pulled."""
        return self._pulled

    @pulled.setter
    def pulled(self, value: bool) -> None:
        with self._clock.lock:
            self._pulled = value
            if value:
                self._forget_incoming()

    @property
    def waiting(self) -> int:
        """Bytes in the board's ring that its program has not read."""
        return len(self._ring) + self._fetched

    # The board

    def power(self, listening: bool) -> None:
        """The chip's receiver starts or ends; its ring is empty afterwards. The adapter and its line stay."""
        self._listening = listening
        self._ring.clear()
        self._fetched = 0
        self._interrupt_char = 3
        self.interrupted = False

    def output(self, data: bytes) -> None:
        """Bytes that the board has sent."""
        self.sent += len(data)
        self._deliver(data)

    def sending_us(self, n: int) -> int:
        """How long n bytes take on the line."""
        return n * 10_000_000 // self.baud

    def interrupt_on(self, char: int) -> None:
        """Which byte interrupts the program; -1 none."""
        self._interrupt_char = char

    def flags(self) -> int:
        """What answers say about the console; an interrupt is told once."""
        flags = _CONSOLE if self._ring else 0
        if self.interrupted:
            self.interrupted = False
            flags |= _INTERRUPT
        return flags

    @property
    def pending(self) -> bool:
        """Whether a wait for the console ends now."""
        return bool(self._ring)

    def fetch(self) -> bytes:
        """Hand the ring's content to the stand-in; it counts as in the ring until the program has read it."""
        data = bytes(self._ring)
        self._fetched += len(data)
        self._ring.clear()
        return data

    def taken(self, n: int) -> None:
        """The program has read n bytes of what was fetched."""
        self._fetched = max(0, self._fetched - n)

    def close(self) -> None:
        """Let go of the lines."""
        self.garbage(0)
        for line in self.lines:
            line.close()
        self.lines.clear()

    def _expect(self) -> None:
        self._line_free_us += self.sending_us(len(self._incoming[0]))
        self._arrival = self._clock.at(self._line_free_us, self._arrive)

    def _arrive(self) -> None:
        self._arrival = None
        if self._incoming:
            piece = self._incoming.popleft()
            if self._listening:
                self._receive(piece)
            else:
                self.lost_unpowered += len(piece)
        if self._incoming:
            self._expect()

    def _receive(self, piece: bytes) -> None:
        self.received += len(piece)
        if self._interrupt_char >= 0 and self._interrupt_char in piece:
            self.interrupted = True
            self.on_interrupt()
            piece = piece.replace(bytes([self._interrupt_char]), b"")
        room = RING - self.waiting
        self.overflowed += max(0, len(piece) - room)
        self._ring += piece[: max(0, room)]
        self.on_input()

    def _forget_incoming(self) -> None:
        self._incoming.clear()
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _make_noise(self) -> None:
        self._noise_owed += self._noise_rate * _NOISE_US / 1_000_000
        n = int(self._noise_owed)
        self._noise_owed -= n
        if n:
            self.garbage_sent += n
            self._deliver(self._random.randbytes(n))
        self._noise = self._clock.at(self._clock.now_us + _NOISE_US, self._make_noise)

    def _deliver(self, data: bytes) -> None:
        if self._pulled:
            return
        data = self._disturb(data)
        for listener in self.on_output:
            listener(data)
        for line in self.lines:
            line.send(data)

    def _disturb(self, data: bytes) -> bytes:
        if not self._flip:
            return data
        rnd = self._random
        return bytes(b ^ rnd.randrange(1, 256) if rnd.random() < self._flip else b for b in data)
