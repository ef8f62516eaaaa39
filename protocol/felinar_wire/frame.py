"""The frame: a header of five bytes in front of a payload; a sealed one has its tag behind it.

Byte 0: version (2 bits), class (2), number in the class (4); 1-2: address; 3-4: low 16 bits of the counter.
"""

from felinar_wire.errors import WireError

HEADER = 5
CLEAR = 0  # version of a frame on a wired line
SEALED = 1  # version of a frame whose payload is ciphertext with a tag behind it
LONGEST = 255  # bytes of a frame, the most that a LoRa packet holds


def tag_length(kind: int) -> int:
    """Bytes of tag behind the payload of a sealed frame: 4 for class 0 (telemetry), 8 for every other."""
    return 8 if kind >> 4 else 4


def pack(kind: int, address: int, counter: int, payload: bytes, version: int = 0) -> bytes:
    """A frame; of a sealed one the payload is ciphertext and tag. Raises WireError: "header" (beyond range), "long"."""
    if not (0 <= kind < 64 and 0 <= address < 65536 and 0 <= version < 4):
        raise WireError("header")
    if len(payload) > 250:
        raise WireError("long")
    return bytes((version << 6 | kind, address >> 8, address & 255, counter >> 8 & 255, counter & 255)) + payload


def unpack(data: bytes, want: int = 0) -> "tuple[int, int, int, bytes]":
    """(kind, address, low 16 bits of the counter, payload) of a frame.

    Raises WireError: "short", "long", "version" (not the one wanted: a sealed frame for a clear one, or the like).
    """
    if len(data) < 5:
        raise WireError("short")
    if len(data) > 255:
        raise WireError("long")
    if data[0] >> 6 != want:
        raise WireError("version")
    return data[0] & 63, data[1] << 8 | data[2], data[3] << 8 | data[4], data[5:]
