"""The identity of a kept message, (boot, seq), in front of its body: one byte in the common case.

Low half of the first byte: 0 for a whole body, else how many seq lower the report is from which the body differs.
High half 0-13: the session's boot, and seq that much below the expected one; 14: the session's boot, and two bytes with
expected seq - seq (signed); 15: two bytes boot, four bytes seq.
"""

from felinar_wire.errors import WireError


def expected(counter: int, first: int = 0) -> int:
    """The seq that a session's frame counter lets one expect: four counts a kept message (it and three old ones).

    `first` is the seq expected at counter 0. A node that takes its counter to at least 4 * (seq - first) for each new
    kept message pays one byte for identities; one that does not pays three, seven where they are 32768 apart.
    """
    return first + (counter >> 2)


def pack(boot: int, seq: int, session_boot: int, body: bytes, expect: int = 0, lag: int = 0) -> bytes:
    """Identity and body: boot 0-65535, seq below 2**30, expect as `expected` has it (0 on a wired line), lag 0-15.

    Raises WireError("range").
    """
    back = expect - seq
    if not (0 <= boot < 65536 and 0 <= seq < 0x40000000 and 0 <= lag < 16):
        raise WireError("range")
    if boot != session_boot or not -32768 <= back < 32768:
        return bytes((240 | lag,)) + boot.to_bytes(2, "big") + seq.to_bytes(4, "big") + body
    if 0 <= back < 14:
        return bytes((back << 4 | lag,)) + body
    return bytes((224 | lag,)) + (back & 65535).to_bytes(2, "big") + body


def unpack_lag(payload: bytes, session_boot: int, expect: int = 0) -> "tuple[int, int, int, bytes]":
    """(boot, seq, lag, body) of a payload. Raises WireError: "short", "range", "coding" (not the shortest way)."""
    how = payload[0] >> 4 if payload else 0
    at = 7 if how == 15 else 3 if how == 14 else 1
    if len(payload) < at:
        raise WireError("short")
    boot = session_boot
    if how == 15:
        boot = payload[1] << 8 | payload[2]
        seq = int.from_bytes(payload[3:7], "big")
    else:
        seq = expect - how
        if how == 14:
            seq = expect - ((payload[1] << 8 | payload[2]) + 32768 & 65535) + 32768
    lag = payload[0] & 15
    if pack(boot, seq, session_boot, b"", expect, lag) != payload[:at]:
        raise WireError("coding")
    return boot, seq, lag, payload[at:]


def unpack(payload: bytes, session_boot: int, expect: int = 0) -> "tuple[int, int, bytes]":
    """(boot, seq, body) of a payload with a whole body. Raises what `unpack_lag` does, and WireError("form")."""
    boot, seq, lag, body = unpack_lag(payload, session_boot, expect)
    if lag:
        raise WireError("form")
    return boot, seq, body
