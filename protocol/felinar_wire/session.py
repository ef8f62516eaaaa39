"""Sealed frames between one node and its host, from one boot to the next: keys, counters, replay window.

The nonce is the header's first byte, the address, the whole counter (32 bits), the message's CRC and four zeros: it
covers the header, and a frame whose sender has another table of messages fails its tag.
"""

from struct import pack

from felinar_wire.ccm import Ccm
from felinar_wire.errors import WireError
from felinar_wire.replay import Window


def refused(counts: dict, reason: str) -> WireError:  # type: ignore[type-arg]
    """Count a refusal under its reason, and give the error to raise."""
    counts[reason] = counts.get(reason, 0) + 1
    return WireError(reason)


class Session:
    """One end of a session. `crc(kind)` is a message's 16-bit CRC in the table that both ends hold, else a KeyError.

    `counts` is a dictionary that gets one more under its reason for each frame that was refused.
    """

    def __init__(self, address: int, send: bytes, receive: bytes, crc, counts: dict) -> None:  # type: ignore
        self.address = address
        self.counts = counts
        self.sent = 0  # counter of the last frame that was sealed; 0 is the JOIN_ACC
        self.limit = 0xFFFFFFFF  # the last counter that may be used
        self.window = Window()
        self._crc = crc
        self._send = Ccm(send)
        self._receive = Ccm(receive)

    def seal(self, kind: int, body: bytes) -> bytes:
        """The next frame. WireError("spent") when no counter is left: join anew."""
        if self.sent >= self.limit:
            raise WireError("spent")
        crc = self._crc(kind)
        self.sent += 1
        nonce = pack(">BHIHI", 64 | kind, self.address, self.sent, crc, 0)
        return nonce[:3] + nonce[5:7] + self._send.seal(nonce, body, 8 if kind >> 4 else 4)

    def open(self, data: bytes) -> tuple[int, int, bytes]:
        """(kind, counter, body) of an authentic new frame.

        Raises WireError: "short", "version", "class" (group frames have no place here), "kind" (not in the table),
        "address", "old" (64 or more behind), "replay", "spent", "tag".
        """
        try:
            return self._open(data)
        except KeyError:
            reason = "kind"
        except WireError as error:
            reason = error.reason
        raise refused(self.counts, reason)

    def _open(self, data: bytes) -> tuple[int, int, bytes]:
        if len(data) < 9:
            raise WireError("short")
        head = data[0]
        if head >> 6 != 1:
            raise WireError("version")
        kind = head & 63
        tag = 8 if kind >> 4 else 4
        if kind >> 4 == 2:
            raise WireError("class")
        if len(data) < 5 + tag:
            raise WireError("short")
        if data[1] << 8 | data[2] != self.address:
            raise WireError("address")
        crc = self._crc(kind)
        counter = self.window.locate(data[3] << 8 | data[4])
        nonce = pack(">BHIHI", head, self.address, counter, crc, 0)
        body = self._receive.open(nonce, data[5:], tag)
        if body is None:
            raise WireError("tag")
        self.window.mark(counter)
        return kind, counter, body
