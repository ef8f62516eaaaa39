"""The virtual board's flash: NOR behaviour over a plain image, the kind that `esptool read-flash` writes, and blocks that are bad."""

from __future__ import annotations

import os
from pathlib import Path

from felinar_sim.errors import SimulatorError
from felinar_sim.flash import BLOCK, Flash, Fuse

_STUCK_AT = 100  # where in a bad block cells no longer take a charge


class NorFlash(Flash):
    """A flash whose file is an image to the byte: every program and erase is in it when it returns.

    A file that exists keeps its content and must be of the right size; a shorter one is as if followed by erased flash. `bad` is the set of
    blocks (numbers of 4096 bytes) with cells that stay 0 whatever is erased or written.
    """

    def __init__(self, size: int, *, path: Path | None = None, seed: int | str = 0) -> None:
        super().__init__(size, fuse=Fuse(), seed=seed)
        self.bad: set[int] = set()
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SimulatorError(f"the image {path} cannot be opened: {error.strerror}") from error
        have = os.fstat(self._fd).st_size
        if have > self.size:
            self.close()
            raise SimulatorError(f"the image {path} has {have} bytes, the flash only {self.size}: name its size in MB")
        os.lseek(self._fd, 0, os.SEEK_END)
        while have < self.size:
            have += os.write(self._fd, b"\xff" * min(1 << 20, self.size - have))

    def program_us_all(self) -> int:
        """How long a real flash would have been busy with all that was done to it, µs."""
        return sum(self.erases) * 45_000 + -(-self.programmed // 256) * 400

    def _block(self, index: int) -> bytearray:
        block = self._blocks.get(index)
        if block is None:
            stored = os.pread(self._fd, BLOCK, index * BLOCK) if self._fd >= 0 else b"\xff" * BLOCK
            block = self._blocks[index] = bytearray(stored)
        return block

    def _store(self, index: int, offset: int, n: int) -> None:
        block = self._blocks[index]
        if index in self.bad:
            block[_STUCK_AT : _STUCK_AT + 4] = bytes(4)
            offset, n = 0, BLOCK
        if self._fd >= 0:
            os.pwrite(self._fd, block[offset : offset + n], index * BLOCK + offset)

    def place(self, at: int, data: bytes) -> None:
        """Put bytes there as if they had always been there: no operation, no wear, no loss of power."""
        self._check(at, len(data))
        while data:
            index, offset = divmod(at, BLOCK)
            part = data[: BLOCK - offset]
            self._block(index)[offset : offset + len(part)] = part
            self._store(index, offset, len(part))
            at += len(part)
            data = data[len(part) :]
