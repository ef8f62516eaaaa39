"""The frozen core schema: joins and group messages, laid out once for nodes of every version.

Their fields are whole bytes, big-endian, and never change; the CRC in their nonce is 1. `docs/protocol.md` is generated
from this table, the host packs with it; nodes have the same offsets in `felinar_wire.join` and `felinar_wire.tesla`.
"""

from __future__ import annotations

from struct import calcsize, pack, unpack
from typing import NamedTuple

from felinar_wire import WireError, join, tesla


class Field(NamedTuple):
    """A field: `code` is struct's letter (B 8, H 16, I 32 bits, 16s sixteen bytes) or * for the rest of the body."""

    name: str
    code: str
    unit: str
    meaning: str


class Message(NamedTuple):
    """A message: what protects it and its fields in order."""

    name: str
    direction: str
    protection: str
    fields: tuple[Field, ...]


_KEY = Field("key", "16s", "", "TESLA key of two intervals ago")

MESSAGES = {
    join.JOIN_REQ: Message(
        "JOIN_REQ",
        "node to host",
        "clear; CMAC-64 under derive(root, 'join', '')",
        (
            Field("high", "H", "", "high 16 bits of the join counter; the header has the low ones"),
            Field("schema", "H", "", "version of the node's message table"),
            Field("boot", "H", "", "boot number that kept messages are told by"),
        ),
    ),
    join.JOIN_ACC: Message(
        "JOIN_ACC",
        "host to node",
        "time, quarters, random clear (the host's nonce); the rest CCM with 8-byte tag under the new downlink key",
        (
            Field("time", "I", "s", "host's time since 2024-01-01T00:00:00Z when the answer was made"),
            Field("quarters", "B", "4 ms", "and the part of a second"),
            Field("random", "H", "", "random"),
            Field("slot", "H", "", "the node's slot"),
            Field("slot_map", "B", "", "version of the slot map"),
            Field("key", "16s", "", "TESLA key of interval max(n - 2, n - n % 8640 - 1), n = time / 10 s"),
        ),
    ),
    tesla.BEACON: Message(
        "BEACON",
        "host to all nodes of a bridge",
        "clear; TESLA CMAC-64",
        (
            _KEY,
            Field("slot_map", "B", "", "version of the slot map that first and bits refer to"),
            Field("ms", "H", "ms", "start of the beacon on the air, from the start of its interval"),
            Field("first", "H", "", "slot of the first bit"),
            Field("bits", "*", "", "1 where that slot's frame was stored, highest bit first"),
        ),
    ),
    tesla.GROUP_LAMP: Message(
        "GROUP_LAMP",
        "host to a group",
        "clear; zone tag, and TESLA CMAC-64 over all of it",
        (
            Field("id", "H", "", "number of the command"),
            Field("mode", "B", "", "as in LAMP_SET: 0 auto, 1 on, 2 off, 3 dim"),
            Field("level", "B", "%", "level for dim"),
            Field("fade", "B", "s", "time to fade"),
            Field("ttl", "H", "10 s", "time to live"),
            Field("reason", "B", "", "as in LAMP_SET"),
            Field("zone_tag", "8s", "", "CMAC-64 under the zone key over nonce and the fields before"),
        ),
    ),
    tesla.KEY_DISCLOSE: Message(
        "KEY_DISCLOSE",
        "host to all nodes of a bridge",
        "clear; TESLA CMAC-64",
        (
            _KEY,
            Field("first", "I", "10 s", "first interval of the next day's chain"),
            Field("next", "16s", "", "key of the interval before it, where that chain begins"),
        ),
    ),
}


def encode(kind: int, **values: int | bytes) -> bytes:
    """The body of a core message from its fields by name; KeyError when one is missing, struct.error beyond a range."""
    out = b""
    for name, code, _, _ in MESSAGES[kind].fields:
        value = values[name]
        out += value if code == "*" and isinstance(value, bytes) else pack(">" + code, value)
    return out


def decode(kind: int, body: bytes) -> dict[str, int | bytes]:
    """Fields by name; WireError("short") or ("trailing") when the body has another length."""
    values: dict[str, int | bytes] = {}
    for name, code, _, _ in MESSAGES[kind].fields:
        size = len(body) if code == "*" else calcsize(code)
        if len(body) < size:
            raise WireError("short")
        values[name] = body if code == "*" else unpack(">" + code, body[:size])[0]
        body = body[size:]
    if body:
        raise WireError("trailing")
    return values
