"""The serial line: frames out of a stream cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

from felinar_wire import WireError, serial

from felinar_fuzz.take import Take, number, require

_LIMITS = 1025
_CUTS = 4
_LONGEST = 1400  # bytes of a stream, about: two blocks of 254 bytes and the longest limit are within it
_SINGLY = 300  # a longer stream is not fed byte by byte as well
_CHUNKS = 200  # the last of so many is all that is left
_RAW = 0
_SAID = 1
_DAMAGED = 2
_RUN = 3


def deframer_input(limit: int, stream: bytes, cuts: bytes = b"\7\0\1\x40") -> bytes:
    """An input of the target: a limit, how the stream is cut, and the stream as it is."""
    out = number(limit, 2) + cuts
    for at in range(0, len(stream), 255):
        piece = stream[at : at + 255]
        out += number(_RAW) + number(len(piece)) + piece
    return out


def _stream(take: Take) -> bytes:
    """Pieces: raw bytes, the line's bytes of a frame, those with a byte spoilt, and of a frame of one byte repeated.

    A search by coverage would not come upon right checksums by itself.
    """
    out = bytearray()
    while take.more() and len(out) < _LONGEST:
        what = take.number() & 3
        if what == _RAW:
            out += take.piece(take.number())
        elif what == _RUN:
            size = take.number(2) % 1100
            out += _said(take.piece(1) * size)
        else:
            coded = bytearray(_said(take.piece(take.number())))
            if what == _DAMAGED:
                coded[take.number() % len(coded)] ^= take.number()
            out += coded
    return bytes(out)


def _said(data: bytes) -> bytes:
    coded = serial.encode(data)
    require(coded.find(0) == len(coded) - 1, "a zero inside of a coded frame")
    require(len(coded) - 1 <= serial.longest(len(data)), "a coded frame longer than `longest` says")
    require(serial.decode(coded[:-1]) == data, "what was coded is not what is decoded")
    return coded


def _cut(stream: bytes, cuts: bytes) -> Iterator[bytes]:
    """The stream in chunks whose lengths repeat; a length of zero is an empty chunk."""
    at = 0
    for i, size in enumerate(cycle(cuts)):
        if i == _CHUNKS:
            size = len(stream)
        yield stream[at : at + size]
        at += size
        if at >= len(stream):
            return


def _parse(data: bytes) -> tuple[int, bytes, bytes]:
    take = Take(data)
    limit = take.number(2) % _LIMITS
    cuts = take.piece(_CUTS)
    return limit, cuts if any(cuts) else b"\1", _stream(take)


def _model(limit: int, stream: bytes) -> tuple[list[bytes], dict[str, int]]:
    """What a deframer must find in the whole stream and count as bad, told without one."""
    found = []
    bad: dict[str, int] = {}
    *pieces, rest = stream.split(b"\0")
    for piece in pieces:
        reason = ""
        if len(piece) > serial.longest(limit):
            reason = "long"
        elif piece:
            try:
                data = serial.decode(piece)
                if len(data) <= limit:
                    found.append(data)
                else:
                    reason = "long"
            except WireError as error:
                reason = error.reason
        if reason:
            bad[reason] = bad.get(reason, 0) + 1
    if len(rest) > serial.longest(limit):
        bad["long"] = bad.get("long", 0) + 1
    return found, bad


def _fed(limit: int, chunks: Iterator[bytes]) -> tuple[list[bytes], dict[str, int], serial.Deframer]:
    deframer = serial.Deframer(limit)
    found = []
    for chunk in chunks:
        found += deframer.feed(chunk)
        require(len(deframer._held) <= serial.longest(limit), "more is held than a frame can be long")
    return found, deframer.bad, deframer


def deframer(data: bytes) -> None:
    """The same frames and counts however the stream is cut, no more held than a frame, and a good frame after a zero."""
    limit, cuts, stream = _parse(data)
    want = _model(limit, stream)
    require(set(want[1]) <= {"cobs", "short", "crc", "long"}, f"{want[1]} has a reason that is not documented")
    ways = [iter((stream,)), _cut(stream, cuts)]
    if len(stream) <= _SINGLY:
        ways.append(stream[i : i + 1] for i in range(len(stream)))
    for chunks in ways:
        found, bad, one = _fed(limit, chunks)
        require((found, bad) == want, f"found {found} and counted {bad}; it should be {want}")
        good = bytes(range(min(limit, 20)))
        require(one.feed(b"\0" + serial.encode(good))[-1:] == [good], "a good frame behind a zero is not found")
    for frame in want[0]:
        _said(frame)


def deframer_question(data: bytes) -> tuple[str, list[Any]]:
    """The call of tests/protocol/calls.py that the input makes."""
    limit, cuts, stream = _parse(data)
    return "deframe", [limit, [chunk.hex() for chunk in _cut(stream, cuts)]]
