"""How a board's worker process and who started it speak: four bytes of length, most significant first, and MessagePack."""

from __future__ import annotations

from typing import IO, Any

import msgspec

_HEAD = 4


def send(to: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message."""
    data = msgspec.msgpack.encode(message)
    to.write(len(data).to_bytes(_HEAD, "big") + data)
    to.flush()


def receive(source: IO[bytes]) -> dict[str, Any] | None:
    """Read one message, however long it takes; None at the end."""
    head = source.read(_HEAD)
    if len(head) < _HEAD:
        return None
    message: dict[str, Any] = msgspec.msgpack.decode(source.read(int.from_bytes(head, "big")))
    return message


def taken(come: bytearray) -> dict[str, Any] | None:
    """Take the first message off what has come; None while that is not a whole one."""
    size = _HEAD + int.from_bytes(come[:_HEAD], "big")
    if len(come) < size:
        return None
    message: dict[str, Any] = msgspec.msgpack.decode(bytes(come[_HEAD:size]))
    del come[:size]
    return message
