"""Sealed frames between one node and its host, from one boot to the next: keys, counters, replay window.

The nonce is the header's first byte, the address, the whole counter (32 bits), the message's CRC and the interval whose
slot the frame is sent in (32 bits, 0 outside of slots): it covers the header, and a frame whose sender has another table
of messages, or that is played in another slot, fails its tag.
"""

from struct import pack

from felinar_wire import frame
from felinar_wire.aes import Ccm
from felinar_wire.errors import WireError


def nonce(kind: int, address: int, counter: int, crc: int = 1, n: int = 0) -> bytes:
    """The 13 bytes that make a sealed frame's authentication its own; CRC 1 stands for the frozen core schema."""
    return pack(">BHIHI", 64 | kind, address, counter, crc, n)


def count(counts: "dict[str, int]", reason: str) -> None:
    """One more under a reason."""
    counts[reason] = counts.get(reason, 0) + 1


def counted(counts: "dict[str, int]", check, *args):  # type: ignore
    """What `check(*args)` returns; a WireError or KeyError ("kind") is counted under its reason on its way out."""
    try:
        return check(*args)
    except KeyError:
        reason = "kind"
    except WireError as error:
        reason = error.reason
    count(counts, reason)
    raise WireError(reason)


class Session:
    """One end of a session. `crc(kind)` is a message's 16-bit CRC in the table that both ends hold, else a KeyError.

    `counts` is a dictionary that gets one more under its reason for each frame that was refused. `sent` is the counter
    of the last frame sealed; `top` the highest accepted, and `seen` a bit each for it and the 63 below (up to 0 all
    count as seen).
    """

    def __init__(self, address: int, send: bytes, receive: bytes, crc, counts: "dict[str, int]") -> None:  # type: ignore
        self.address = address
        self.counts = counts
        self.sent = 0
        self.top = 0
        self.seen = -1
        self._crc = crc
        self._send = Ccm(send)
        self._receive = Ccm(receive)

    def seal(self, kind: int, body: bytes, n: int = 0) -> bytes:
        """The next frame, for a slot of interval n or for none (0). WireError: "spent" (no counter left: join anew), "long"; KeyError for an unknown kind."""
        counter = self.sent + 1
        if counter >> 32:
            raise WireError("spent")
        tag = frame.tag_length(kind)
        front = nonce(kind, self.address, counter, self._crc(kind), n)
        if len(body) + tag > 250:
            raise WireError("long")
        self.sent = counter
        return front[:3] + front[5:7] + self._send.seal(front, body, tag)

    def open(self, data: bytes, n: int = 0) -> "tuple[int, int, bytes]":
        """(kind, counter, body) of an authentic new frame that was sealed for interval n.

        Raises WireError, counted: "short", "long", "version", "address", "kind" (not in the table), "old" (64 or more
        behind the newest, or no counter at all), "replay", "tag".
        """
        kind, counter, body = counted(self.counts, self._open, data, n)
        return kind, counter, body

    def _open(self, data: bytes, n: int) -> tuple[int, int, bytes]:
        kind, address, low, payload = frame.unpack(data, 1)
        tag = frame.tag_length(kind)
        if len(payload) < tag:
            raise WireError("short")
        if address != self.address:
            raise WireError("address")
        crc = self._crc(kind)
        back = (self.top - low + 0x8000 & 0xFFFF) - 0x8000
        counter = self.top - back
        if back > 63 or counter >> 32:
            raise WireError("old")
        if back >= 0 and self.seen >> back & 1:
            raise WireError("replay")
        body = self._receive.open(nonce(kind, address, counter, crc, n), payload, tag)
        if body is None:
            raise WireError("tag")
        if back >= 0:
            self.seen |= 1 << back
        else:
            self.top = counter
            self.seen = (self.seen << -back | 1) & 0xFFFFFFFFFFFFFFFF if back > -64 else 1
        return kind, counter, body
