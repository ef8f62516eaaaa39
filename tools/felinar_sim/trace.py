"""A board's log, bounded in size, and the running hash of everything it did."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path


class Log:
    """Text lines in a file; when it is full, the older half of the story is in `<name>.1`."""

    def __init__(self, path: Path, limit: int = 1_000_000) -> None:
        self.path = path
        self.limit = limit

    def write(self, now_us: int, text: str) -> None:
        """One line: seconds of Unix time, and the text."""
        seconds, micros = divmod(now_us, 1_000_000)
        with open(self.path, "a", encoding="utf-8", errors="replace") as f:
            f.write(f"{seconds}.{micros:06d} {text.rstrip()}\n")
            full = f.tell() > self.limit
        if full:
            self.path.replace(self.path.with_name(self.path.name + ".1"))

    def text(self) -> str:
        """Everything that is kept."""
        parts = [self.path.with_name(self.path.name + ".1"), self.path]
        return "".join(p.read_text(encoding="utf-8", errors="replace") for p in parts if p.exists())


_ANSWER = struct.Struct("<HI")
_REQUEST = struct.Struct("<qqQBBI")


class Trace:
    """A hash over moments and bytes: equal hashes mean equal runs."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0

    def add(self, now_us: int, op: int, arg: int, a: int, b: int, data: bytes) -> None:
        """One request of the board."""
        self.count += 1
        self._hash.update(_REQUEST.pack(now_us, a, b, op, arg, len(data)) + data)

    def answer(self, status: int, data: bytes) -> None:
        """What the board was answered."""
        self._hash.update(_ANSWER.pack(status, len(data)) + data)

    def digest(self) -> str:
        """The hash so far, hexadecimal."""
        return self._hash.hexdigest()
