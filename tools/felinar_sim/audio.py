"""The board's I2S ports: DMA blocks of 256 frames from a microphone; what is fetched too late is lost silently, oldest first."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from felinar_sim.chips.base import AudioSource
from felinar_sim.chips.microphone import Microphone
from felinar_sim.clock import Clock
from felinar_sim.link import DONE, Answer, Frame

BLOCK = 256
"""Frames in a DMA block (MicroPython's ESP32 port)."""


class I2sPort:
    """One receiving port while it runs. `lost` counts frames that were overwritten before they were read."""

    def __init__(
        self, source: AudioSource | None, rate: int, blocks: int, *, bits16: bool, stereo: bool, now_us: int
    ) -> None:
        self.rate = rate
        self.lost = 0
        self.read_frames = 0
        self._source = source
        self._capacity = blocks * BLOCK
        self._bits16, self._stereo = bits16, stereo
        self.bytes_per_frame = (2 if bits16 else 4) * (2 if stereo else 1)
        self._start_us = now_us
        self._at = 0
        # the first call starts the microphone's clock; its frames are kept until they are read
        self._first = source.frames(0, BLOCK, now_us) if source is not None else b""

    def available(self, now_us: int) -> int:
        """Frames in complete DMA blocks that have not been read."""
        done = (now_us - self._start_us) * self.rate // 1_000_000 // BLOCK * BLOCK
        if done - self._at > self._capacity:
            self.lost += done - self._capacity - self._at
            self._at = done - self._capacity
        return done - self._at

    def ready_us(self, frames: int = 1) -> int:
        """When so many frames will be there."""
        blocks = -(-(self._at + frames) // BLOCK)
        return self._start_us + -(-blocks * BLOCK * 1_000_000 // self.rate)

    def take(self, size: int, now_us: int) -> Answer:
        """Up to `size` bytes of what is there, in the program's format."""
        n = min(self.available(now_us), size // self.bytes_per_frame)
        first, self._at = self._at, self._at + n
        self.read_frames += n
        return Answer(0, self._format(self._frames(first, n, now_us)), 20 + n // 50)

    def _frames(self, first: int, n: int, now_us: int) -> bytes:
        if self._source is None or n == 0:
            return bytes(4 * n)  # no microphone: the line is pulled down
        if first >= BLOCK:
            self._first = b""
            return self._source.frames(first, n, now_us)
        kept = self._first[4 * first : 4 * (first + n)]
        more = n - len(kept) // 4
        return kept + (self._source.frames(BLOCK, more, now_us) if more else b"")

    def _format(self, mono: bytes) -> bytes:
        if self._bits16:
            mono = b"".join(mono[i + 2 : i + 4] for i in range(0, len(mono), 4))
        if self._stereo:
            size = 2 if self._bits16 else 4
            mono = b"".join(mono[i : i + size] + bytes(size) for i in range(0, len(mono), size))
        return mono


class I2sPorts:
    """The ports of a board that run, by number, in `ports`; `sources` are its microphones, by the prefix of their pins."""

    def __init__(
        self,
        clock: Clock,
        pins: Mapping[str, int],
        later: Callable[[int, Callable[[], None]], object],
        finish: Callable[[Answer], None],
    ) -> None:
        """`later(when, action)` is done unless the program ends before, `finish` gives the answer of a read that has waited."""
        self.ports: dict[int, I2sPort] = {}
        self.sources: dict[str, AudioSource] = {}
        self._clock = clock
        self._pins = pins
        self._later = later
        self._finish = finish

    def setup(self, f: Frame, now: int) -> Answer:
        """I2S_SETUP: arg = port | 16-bit << 4 | stereo << 5, a = sck | ws << 8 | sd << 16 | DMA blocks << 32, b = rate."""
        source: AudioSource | None = None
        for name, part in self.sources.items():
            wanted = tuple(self._pins.get(f"{name}_{line}") for line in ("sck", "ws", "sd"))
            if wanted == (f.a & 255, f.a >> 8 & 255, f.a >> 16 & 255):
                source = part
                if isinstance(part, Microphone):
                    part.rate = f.b
        self.ports[f.arg & 15] = I2sPort(
            source, f.b, f.a >> 32, bits16=bool(f.arg & 16), stereo=bool(f.arg & 32), now_us=now
        )
        return DONE

    def read(self, f: Frame, now: int) -> Answer | None:
        """I2S_READ: arg = port | 128 (what is there; else the answer waits until the buffer is full), b = bytes."""
        port = self.ports.get(f.arg & 15)
        if port is None:
            return Answer(errno.EIO)
        if f.arg & 128:
            return port.take(f.b, now)
        return self._fill(port, f.b, b"", now)

    def _fill(self, port: I2sPort, size: int, have: bytes, now: int) -> Answer | None:
        have += port.take(size - len(have), now).data
        missing = (size - len(have)) // port.bytes_per_frame
        if missing == 0:
            return Answer(0, have, 20)

        def more() -> None:
            answer = self._fill(port, size, have, self._clock.now_us)
            if answer is not None:
                self._finish(answer)

        self._later(port.ready_us(min(missing, BLOCK)), more)
        return None

    def stop(self, f: Frame, now: int) -> Answer:
        """I2S_STOP."""
        self.ports.pop(f.arg & 15, None)
        return DONE
