"""The pipe between a simulated board and the simulator: numbers, layout and the simulator's end.

The board's MicroPython writes *requests* and reads *answers*, little-endian:

| request, 24 bytes | |
|---|---|
| op, arg | u8 each: what (`Op`), and a small argument (pin, port, kind) |
| taken | u16: console bytes that the program has read since its last request |
| length | u32: bytes of data behind the header, filled up to a multiple of 8 |
| cost | u32: µs of virtual time that the board has spent since its last request |
| b, a | u32, i64: arguments |

| answer, 24 bytes | |
|---|---|
| uptime | i64: µs since the boot |
| status | u16: 0, or an error number; of WAIT how many bytes of its data are pins whose handlers are due, and times 64 how many behind them a script (`spi.Hasty.foresee`) |
| flags | u16: what has input waiting (`Source`), whether Ctrl-C came, which of the pins that HELLO named are low until the board does something, whether it does by deselecting the SPI chip (`IDLE`: no) |
| length | u32: bytes of data behind the header |
| free | i64: uptime until which nothing else happens in the world, so that the board may wait until then by itself |

The watchdog's food goes another way: the program writes its uptime (i64, µs) into a file that both have open, and the simulator looks
there when the watchdog is about to bite. So a feed costs no turn, and one right before a hang counts.

Some requests are *posts*: they are carried out in order and have no answer (`POSTS`). What goes to a chip on SPI and its chip select
waits in the board for the next request and comes with it, each at its own moment. Everything else is answered when it is done,
so the board sleeps in the pipe.
"""

from __future__ import annotations

import os
import select
import tempfile
from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from felinar_sim.errors import SimulatorError


class Op(IntEnum):
    """What a board asks for; the same numbers stand in standin/simlink.py."""

    HELLO = 0
    SYNC = 1
    WAIT = 2
    EXIT = 3
    CONSOLE_WRITE = 4
    KBD_INTR = 5
    PROBE = 7
    RANDOM = 8
    LEVELS = 9
    PIN_MODE = 10
    PIN_WRITE = 11
    PIN_READ = 12
    PIN_IRQ = 13
    IRQ_TAKE = 14
    PWM = 15
    ADC = 16
    COUNTER_SETUP = 17
    COUNTER_READ = 18
    I2C_SETUP = 20
    I2C_WRITE = 21
    I2C_READ = 22
    I2S_SETUP = 24
    I2S_READ = 25
    I2S_STOP = 26
    UART_SETUP = 28
    UART_WRITE = 29
    UART_READ = 30
    WDT = 32
    RTC_SET = 33
    RTC_READ = 34
    RTC_WRITE = 35
    SPI_SETUP = 36
    SPI_TRANSFER = 37
    SPI_WRITE = 38
    FLASH_READ = 40
    FLASH_WRITE = 41
    FLASH_ERASE = 42
    NVS_GET = 44
    NVS_SET = 45
    NVS_ERASE = 46


POSTS = frozenset(
    {
        Op.EXIT, Op.KBD_INTR, Op.PROBE, Op.PIN_MODE, Op.PIN_WRITE, Op.PIN_IRQ, Op.PWM, Op.COUNTER_SETUP, Op.I2C_SETUP,
        Op.I2S_SETUP, Op.I2S_STOP, Op.UART_SETUP, Op.SPI_SETUP, Op.SPI_WRITE, Op.WDT, Op.RTC_SET, Op.RTC_WRITE,
    }
)  # fmt: skip


class Source(IntFlag):
    """What can end a wait, and what an answer says is waiting."""

    CONSOLE = 1
    I2S0 = 2
    I2S1 = 4
    UART1 = 8
    UART2 = 16
    IRQ = 128
    INTERRUPT = 256
    LOW0 = 512
    LOW1 = 1024
    IDLE = 2048


class Exit(IntEnum):
    """Why a program ends itself."""

    HARD = 0
    SOFT = 1
    DEEP = 2


class Frame(NamedTuple):
    """One request."""

    op: int
    arg: int
    taken: int
    cost: int
    a: int
    b: int
    data: bytes


class Answer(NamedTuple):
    """What a device answers: an error number, data, and how long it took in µs."""

    status: int = 0
    data: bytes = b""
    took_us: int = 0


DONE = Answer()
_REQUEST = Struct("<BBHIIIq")
_ANSWER = Struct("<qHHIq")
_CHUNK = 8192


class Hung(SimulatorError):
    """A board has made no request for a long (wall-clock) time."""


class Link:
    """The simulator's end of one board's two pipes."""

    def __init__(self) -> None:
        self.board_in, self._to = os.pipe()
        self._from, self.board_out = os.pipe()
        self._food = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the rest)
        self._food.write(bytes(8))
        self._buffer = b""
        self._poll = select.poll()
        self._poll.register(self._from, select.POLLIN)

    def fileno(self) -> int:
        """The descriptor that becomes readable when the board asks for something."""
        return self._from

    @property
    def board_food(self) -> int:
        """The descriptor of the file in which the board says when it fed its watchdog last."""
        return self._food.fileno()

    def fed_us(self) -> int:
        """Uptime at which the program fed its watchdog last; 0 not yet."""
        return int.from_bytes(os.pread(self._food.fileno(), 8, 0), "little")

    def started(self) -> None:
        """The board's process has its own copies of its ends: close ours, so that its death is seen."""
        os.close(self.board_in)
        os.close(self.board_out)
        self.board_in = self.board_out = -1

    def wait_next(self, hang_s: float) -> Frame | None:
        """The next request, waiting for it; None when the board's process has ended. Raises Hung after hang_s seconds."""
        buffer = self._buffer
        while True:
            if buffer and (frame := self._parse()) is not None:
                return frame
            if not self._poll.poll(hang_s * 1000):
                raise Hung(f"no request for {hang_s:g} s")
            data = os.read(self._from, _CHUNK)
            if not data:
                return None
            self._buffer = buffer = self._buffer + data

    def receive(self) -> bool:
        """Take what has come, without waiting for more; False at the end of the pipe."""
        return self._fill()

    def next(self) -> Frame | None:
        """The next complete request among what was received."""
        return self._parse()

    def _fill(self) -> bool:
        data = os.read(self._from, _CHUNK)
        self._buffer = self._buffer + data if self._buffer else data
        return bool(data)

    def _parse(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 24:
            return None
        op, arg, taken, length, cost, b, a = _REQUEST.unpack_from(buffer)
        if not length:
            self._buffer = buffer[24:]
            return Frame(op, arg, taken, cost, a, b, b"")
        end = 24 + length
        filled = end + (-length & 7)
        if len(buffer) < filled:
            return None
        self._buffer = buffer[filled:]
        return Frame(op, arg, taken, cost, a, b, buffer[24:end])

    def answer(self, uptime_us: int, status: int, flags: int, data: bytes, free_us: int = 0) -> bool:
        """Send an answer; False when the board's process has ended."""
        message = _ANSWER.pack(uptime_us, status, flags, len(data), free_us) + data
        try:
            sent = os.write(self._to, message)
            while sent < len(message):
                sent += os.write(self._to, message[sent:])
        except BrokenPipeError:
            return False
        return True

    def drain(self) -> list[Frame]:
        """Requests that were still in the pipe when the process was killed."""
        while self._poll.poll(0) and self._fill():
            pass
        frames = []
        while (frame := self._parse()) is not None:
            frames.append(frame)
        return frames

    def close(self) -> None:
        """Close every descriptor that is still open."""
        for fd in (self.board_in, self.board_out, self._to, self._from):
            if fd >= 0:
                os.close(fd)
        self.board_in = self.board_out = self._to = self._from = -1
        self._food.close()
