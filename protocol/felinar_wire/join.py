"""How a node enters a session: one join counter a boot, one request, one answer.

JOIN_REQ: header with the join counter's low half | high half (16) | schema version (16) | boot (16) | CMAC-64 under
the join key. JOIN_ACC: header, same counter | time, s (32) | ms/4 (8) | random (16) | CCM under the new downlink key of
slot (16), slot map (8), TESLA key (16 bytes). Time and random are the host's nonce, of which the keys are made.
"""

from struct import pack, unpack

from felinar_wire import frame, schema
from felinar_wire.aes import Ccm, cmac, derive
from felinar_wire.errors import WireError
from felinar_wire.session import Session, counted, nonce

JOIN_REQ = schema.JOIN_REQ
JOIN_ACC = schema.JOIN_ACC


def reserve(read, write) -> int:  # type: ignore[no-untyped-def]
    """The next join counter, durable before it is given out: `read()` is the last one, 0 on a fresh node.

    Raises WireError("storage") when it does not read back, ("spent") after 2**31 - 1 joins.
    """
    counter = read() + 1
    if counter >> 31:
        raise WireError("spent")
    write(counter)
    if read() != counter:
        raise WireError("storage")
    return counter  # type: ignore[no-any-return]


def keys(root: bytes, address: int, counter: int, host_nonce: bytes) -> tuple[bytes, bytes]:
    """(uplink key, downlink key) of the session that join `counter` and the host's 7-byte nonce begin."""
    context = pack(">HI", address, counter) + host_nonce
    return derive(root, b"up", context), derive(root, b"down", context)


def request(root: bytes, address: int, counter: int, version: int, boot: int) -> bytes:
    """The JOIN_REQ (19 bytes), the same bytes however often it is repeated."""
    front = nonce(JOIN_REQ, address, counter)
    body = pack(">HHH", counter >> 16, version, boot)
    return front[:3] + front[5:7] + body + cmac(derive(root, b"join", b""), front + body)[:8]


def accept(data: bytes, root: bytes, address: int, counter: int, crc, counts: "dict[str, int]"):  # type: ignore
    """(session, host's time in ms since 2024, slot, slot map, TESLA key) from the answer to join `counter`.

    The host's time lies between the first sending of the request and now; the TESLA key is that of interval
    `tesla.anchor(time // tesla.INTERVAL)`. Raises WireError, counted: "short", "long", "version", "kind", "address",
    "counter" (another join's), "tag".
    """
    up, down, time, body = counted(counts, _accept, data, root, address, counter)
    seconds, quarters = unpack(">IB", time)
    slot, slot_map = unpack(">HB", body[:3])
    return Session(address, up, down, crc, counts), seconds * 1000 + quarters * 4, slot, slot_map, body[3:]


def _accept(data: bytes, root: bytes, address: int, counter: int) -> tuple[bytes, bytes, bytes, bytes]:
    kind, to, low, payload = frame.unpack(data, 1)
    if kind != JOIN_ACC:
        raise WireError("kind")
    if len(payload) != 34:
        raise WireError("short")
    if to != address:
        raise WireError("address")
    if low != counter & 0xFFFF:
        raise WireError("counter")
    up, down = keys(root, address, counter, payload[:7])
    body = Ccm(down).open(nonce(JOIN_ACC, address, counter), payload[7:], 8)
    if body is None:
        raise WireError("tag")
    return up, down, payload[:5], body
