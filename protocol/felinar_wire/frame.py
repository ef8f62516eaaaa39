"""The frame: a header of five bytes in front of a payload; a sealed one has its tag behind it."""

from felinar_wire.errors import WireError

HEADER = 5
CLEAR = 0  # version of a frame on a wired line
SEALED = 1  # version of a frame whose payload is AES-CCM ciphertext with a tag behind it
LONGEST = 255  # bytes of a whole frame; a LoRa payload's limit


def tag_length(kind: int) -> int:
    """Bytes of tag behind the payload of a sealed frame: 4 for telemetry (class 0), 8 for everything else."""
    return 8 if kind >> 4 else 4


def header(kind: int, address: int, counter: int, version: int = CLEAR) -> bytes:
    """The five bytes in front: version (2 bits), kind with its class (6), address (16), counter's low 16 bits."""
    if not (0 <= kind < 64 and 0 <= address < 65536 and 0 <= version < 4):
        raise WireError("header")
    return bytes((version << 6 | kind, address >> 8, address & 255, counter >> 8 & 255, counter & 255))


def pack(kind: int, address: int, counter: int, payload: bytes, version: int = CLEAR) -> bytes:
    """A frame; of a sealed one the payload is ciphertext and tag. WireError("header") or ("long")."""
    if len(payload) > LONGEST - HEADER:
        raise WireError("long")
    return header(kind, address, counter, version) + payload


def version(data: bytes) -> int:
    """The version of a frame, CLEAR or SEALED; WireError("short") when it has no header."""
    if len(data) < HEADER:
        raise WireError("short")
    return data[0] >> 6


def unpack(data: bytes, want: int = CLEAR) -> tuple[int, int, int, bytes]:
    """(kind, address, counter's low 16 bits, payload) of a frame of the wanted version.

    Raises WireError: "short", "long", "version" (a sealed frame where a clear one belongs, or the other way round).
    """
    if len(data) > LONGEST:
        raise WireError("long")
    if version(data) != want:
        raise WireError("version")
    return data[0] & 63, data[1] << 8 | data[2], data[3] << 8 | data[4], data[HEADER:]
