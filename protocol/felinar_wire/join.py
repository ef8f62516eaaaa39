"""How a node enters a session: one join counter a boot, one request, one answer.

JOIN_REQ: header with the join counter's low half | high half (16) | schema version (16) | boot (16) | CMAC-64 under the
join key. JOIN_ACC: header, same counter | time, s (32) | ms/4 (8) | random (16) | CCM under the new downlink key of slot
(16), slot map (8), TESLA key (16 bytes). Time and random are the host's nonce: with the join counter they make the keys.
"""

from struct import pack, unpack

from felinar_wire.ccm import Ccm
from felinar_wire.cmac import cmac, derive
from felinar_wire.errors import WireError
from felinar_wire.session import Session, refused



JOIN_REQ = 0x30
JOIN_ACC = 0x31
CORE = 1  # stands in the nonce for a message's CRC: the core schema is frozen


def reserve(read, write) -> int:  # type: ignore[no-untyped-def]
    """The next join counter, durable before it is given out: `read()` is the last one, 0 on a fresh node.

    Raises WireError("storage") when it does not read back, ("spent") after 2**31 - 1 joins.
    """
    counter = read() + 1
    if counter > 0x7FFFFFFF:
        raise WireError("spent")
    write(counter)
    if read() != counter:
        raise WireError("storage")
    return counter  # type: ignore[no-any-return]


def nonce(kind: int, address: int, counter: int) -> bytes:
    """The 13 bytes in front of a core message's authentication: as a sealed frame's nonce, with the core's CRC."""
    return pack(">BHIHI", 64 | kind, address, counter, CORE, 0)


def keys(root: bytes, address: int, counter: int, host_nonce: bytes) -> tuple[bytes, bytes]:
    """(uplink key, downlink key) of the session that join `counter` and the host's 7-byte nonce begin."""
    context = pack(">HI", address, counter) + host_nonce
    return derive(root, b"up", context), derive(root, b"down", context)


def request(root: bytes, address: int, counter: int, schema: int, boot: int) -> bytes:
    """The JOIN_REQ (19 bytes), the same bytes however often it is repeated."""
    front = nonce(JOIN_REQ, address, counter)
    body = pack(">HHH", counter >> 16, schema, boot)
    return front[:3] + front[5:7] + body + cmac(derive(root, b"join", b""), front + body)[:8]


def accept(data: bytes, root: bytes, address: int, counter: int, crc, counts: dict):  # type: ignore
    """(session, host's time in ms since 2024, slot, slot map, TESLA key) from the answer to join `counter`.

    The host's time lies between the first sending of the request and now; the TESLA key is that of
    `tesla.anchor(time // tesla.INTERVAL)`. Raises WireError, counted: "short", "version", "kind", "address",
    "counter" (another join's), "tag".
    """
    front = nonce(JOIN_ACC, address, counter)
    if len(data) != 39:
        reason = "short"
    elif data[0] >> 6 != 1:
        reason = "version"
    elif data[0] != front[0]:
        reason = "kind"
    elif data[1:3] != front[1:3]:
        reason = "address"
    elif data[3:5] != front[5:7]:
        reason = "counter"
    else:
        up, down = keys(root, address, counter, data[5:12])
        body = Ccm(down).open(front, data[12:], 8)
        if body is not None:
            seconds, quarters = unpack(">IB", data[5:10])
            slot, slot_map = unpack(">HB", body[:3])
            return Session(address, up, down, crc, counts), seconds * 1000 + quarters * 4, slot, slot_map, body[3:]
        reason = "tag"
    raise refused(counts, reason)
