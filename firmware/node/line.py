"""The wired line: frames over the console or a UART, delimited so that a stray print spoils nothing but itself."""

import asyncio
import select
import sys

from felinar_wire import frame, serial
from micropython import const

_NODE_FRAME = b"\0"  # type byte of a frame of the node as it is
_MOST = const(128)  # bytes read before others have their turn
_TYPED = const(80)  # longest line of text


class Line:
    """`on_frame` is called with each frame, `on_text` with each line that somebody types; `bad` counts what was spoiled.

    A frame for a node never begins with a printable character: its first byte is how far away the zero of its type is.
    So text between frames, up to a carriage return or line feed, is a line for the console.
    """

    def __init__(self, board, on_frame, on_text) -> None:
        where = board.line
        if where["type"] == "uart":
            self._in = self._out = board.uart("uart%d" % where["uart"], where.get("baud", 115200))
        else:
            self._in = sys.stdin.buffer
            self._out = sys.stdout.buffer
        self._on_frame = on_frame
        self._on_text = on_text
        self._deframer = serial.Deframer(frame.LONGEST + 1)

    @property
    def bad(self) -> int:
        return sum(self._deframer.bad.values())

    def write(self, data: bytes) -> None:
        """Text for who sits at the line; a host drops it with the zero in front of the next frame."""
        self._out.write(data)

    def send(self, data: bytes) -> None:
        """Send a frame. The zero in front ends whatever was printed before it."""
        self._out.write(b"\0" + serial.encode(_NODE_FRAME + data))

    def _feed(self, data: bytes) -> None:
        bad = self._deframer.bad
        for content in self._deframer.feed(data):
            if content[:1] == _NODE_FRAME:
                self._on_frame(content[1:])
            else:
                bad["type"] = bad.get("type", 0) + 1

    async def run(self) -> None:
        """Take frames for ever. Bytes come one by one: the console's read blocks until it has all it was asked for."""
        source = self._in
        stream = asyncio.StreamReader(source)
        poll = select.poll()
        poll.register(source, select.POLLIN)
        chunk = bytearray(_MOST)
        text = b""
        last = 0
        while True:
            data = await stream.read(1)
            n = 0
            while data:
                c = data[0]
                if last or not (31 < c < 127 or c in b"\r\n") or len(text) == _TYPED:
                    if text:  # it was none
                        self._feed(text + b"\0")
                        text = b""
                    chunk[n] = last = c
                    n += 1
                elif c > 31:
                    text += data
                    self.write(data)
                elif text:
                    self._on_text(text.decode())
                    text = b""
                if n == _MOST or not poll.poll(0):
                    break
                data = source.read(1)
            self._feed(bytes(chunk[:n]))
