"""The host's side of a node's line while it is proven, without I/O: bytes go in, messages and lines of text come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from felinar_wire import WireError, codec, core, frame, schema, serial

EVERYONE = 0xFFFF
_FRAME = b"\0"
_INTERRUPT = b"\x03"
_TRIES = 1000
_MOST = 4096
_KINDS = (schema.HELLO, schema.HEALTH, schema.RESULT)


class Said(NamedTuple):
    """A message of a node: values of bits by field name, of PROOF its nonce and tag."""

    kind: int
    address: int
    values: dict[str, Any]


class Talk:
    """Takes a line apart. What the node prints between frames is text, whole lines of which are in `lines`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bad = 0
        self._rest = bytearray()
        self._shown = 0  # bytes of the rest whose lines have been told
        self._counter = 0

    def take(self, data: bytes) -> list[Said]:
        """The messages in what came; text goes to `lines`."""
        said = []
        self._rest += data
        while (end := self._rest.find(0)) >= 0:
            piece = bytes(self._rest[:end])
            frames = list(serial.Deframer(frame.LONGEST + 1).feed(piece + b"\0")) if piece else []
            if frames:
                said += self._read(frames)
            else:
                self._text(piece, whole=True)
            del self._rest[: end + 1]
            self._shown = 0
        if len(self._rest) > _MOST:
            del self._rest[:-_MOST]
            self._shown = 0
        self._text(bytes(self._rest), whole=False)
        return said

    def _text(self, piece: bytes, *, whole: bool) -> None:
        fresh = piece[self._shown :]
        end = len(fresh) if whole else fresh.rfind(b"\n") + 1
        # The rest may be a frame whose end has not come: none of a node's is text from its first byte to a line's end.
        line = fresh[:end]
        if line and all(byte in b"\r\n\t" or 32 <= byte < 127 or byte > 127 for byte in line):
            self.lines += [text for text in line.decode(errors="replace").splitlines() if text]
            self._shown += end

    def _read(self, contents: Sequence[bytes]) -> list[Said]:
        said = []
        for content in contents:
            if content[:1] != _FRAME:
                continue
            try:
                kind, address, _, payload = frame.unpack(content[1:])
                if kind == core.PROOF:
                    nonce, tag = core.decode(core.LAYOUT[kind], payload)
                    said.append(Said(kind, address, {"nonce": nonce, "tag": tag}))
                elif kind in _KINDS:
                    names = [each[0] for each in schema.fields(kind)]
                    said.append(Said(kind, address, dict(zip(names, codec.decode(kind, payload), strict=False))))
            except WireError:
                self.bad += 1
        return said

    def _frame(self, kind: int, address: int, payload: bytes) -> bytes:
        # A Ctrl-C that comes while the node starts would end it at its prompt; another counter makes other bytes.
        for _ in range(_TRIES):
            data = bytes(serial.encode(_FRAME + frame.pack(kind, address, self._counter, payload)))
            self._counter = self._counter + 1 & 0xFFFF
            if _INTERRUPT not in data:
                break
        return data

    def ask_hello(self) -> bytes:
        return self._frame(schema.QUERY, EVERYONE, codec.encode(schema.QUERY, [schema.QUERY_HELLO]))

    def challenge(self, address: int, nonce: bytes) -> bytes:
        return self._frame(core.CHALLENGE, address, core.encode(core.LAYOUT[core.CHALLENGE], [nonce]))

    def time(self, address: int, nonce: int, unix: float) -> bytes:
        values: list[int | str | None] = [nonce, int(unix) - schema.EPOCH_UNIX, int(unix * 1000) % 1000]
        return self._frame(schema.TIME, address, codec.encode(schema.TIME, values))


def uid(hello: Said) -> str:
    """The chip's id that a HELLO tells, in hex."""
    names = [name for name in hello.values if name.startswith("uid")]
    return "".join(f"{hello.values[name]:04x}" for name in names)
