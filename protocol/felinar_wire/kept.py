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


try:
    from felinar_wire._kept_host import unpack as unpack  # the receiver's half
    from felinar_wire._kept_host import unpack_lag as unpack_lag
except ImportError:
    pass  # a node's build leaves it out: nobody sends kept messages to a node
