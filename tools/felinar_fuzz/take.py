"""What targets share: parameters off the front of an input, and properties that must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from felinar_wire import WireError

_T = TypeVar("_T")


class Broken(AssertionError):
    """A property that does not hold for an input."""


def require(holds: bool, what: str) -> None:
    """Raises Broken(what) unless it holds; unlike `assert` it is there under `python -O` too."""
    if not holds:
        raise Broken(what)


def attempt(call: Callable[[], _T], reasons: frozenset[str]) -> tuple[_T | None, str]:
    """(result, "") of a call, or (None, reason) where it raises WireError; Broken for a reason that is not documented."""
    try:
        return call(), ""
    except WireError as error:
        require(error.reason in reasons, f"refused as {error.reason!r}, which the decoder does not document")
        return None, error.reason


class Take:
    """Takes parameters off the front of an input; behind its end all is zero, so that any bytes are an input."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        """A big-endian number of `size` bytes."""
        return int.from_bytes(self.piece(size).ljust(size, b"\0"), "big")

    def piece(self, size: int) -> bytes:
        """Up to `size` bytes: what there is."""
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.piece(len(self._data))


def number(value: int, size: int = 1) -> bytes:
    """The bytes that `Take.number` reads as `value`; a larger one is cut."""
    return (value & (1 << 8 * size) - 1).to_bytes(size, "big")
