"""The board's I2S ports: DMA blocks of 256 frames from a microphone; what is fetched too late is lost silently, oldest first."""

from __future__ import annotations

from felinar_sim.chips.base import AudioSource
from felinar_sim.link import Answer

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
