"""Unix sockets at paths of any length: the system takes 107 bytes, a directory's descriptor makes any path short."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST = 100


class ShortPath:
    """`path` names the same socket as the one given, in few bytes, until `close` (Linux)."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self.path = str(path)
        if len(os.fsencode(self.path)) > _LONGEST:
            self._descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            self.path = f"/proc/self/fd/{self._descriptor}/{path.name}"

    def close(self) -> None:
        """The short path is no longer needed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
