"""The wired line: frames over the console or a UART, delimited so that a stray print spoils nothing but itself."""

import asyncio
import select
import sys

from felinar_wire import frame, serial
from micropython import const

_NODE_FRAME = b"\0"  # type byte of a frame of the node as it is
_MOST = const(128)  # bytes read before others have their turn


class Line:
    """`on_frame` is called with each frame; `bad` counts what the line spoiled."""

    def __init__(self, board, on_frame) -> None:
        where = board.line
        if where["type"] == "uart":
            self._in = self._out = board.uart("uart%d" % where["uart"], where.get("baud", 115200))
        else:
            self._in = sys.stdin.buffer
            self._out = sys.stdout.buffer
        self._on_frame = on_frame
        self._deframer = serial.Deframer(frame.LONGEST + 1)

    @property
    def bad(self) -> int:
        return sum(self._deframer.bad.values())

    def send(self, data: bytes) -> None:
        """Send a frame. The zero in front ends whatever was printed before it."""
        self._out.write(b"\0" + serial.encode(_NODE_FRAME + data))

    async def run(self) -> None:
        """Take frames for ever. Bytes come one by one: the console's read blocks until it has all it was asked for."""
        source = self._in
        stream = asyncio.StreamReader(source)
        poll = select.poll()
        poll.register(source, select.POLLIN)
        chunk = bytearray(_MOST)
        while True:
            data = await stream.read(1)
            n = 0
            while data:
                chunk[n] = data[0]
                n += 1
                if n == _MOST or not poll.poll(0):
                    break
                data = source.read(1)
            for content in self._deframer.feed(bytes(chunk[:n])):
                if content[:1] == _NODE_FRAME:
                    self._on_frame(content[1:])
                else:
                    self._deframer.bad["type"] = self._deframer.bad.get("type", 0) + 1
