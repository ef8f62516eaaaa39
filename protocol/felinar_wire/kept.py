"""The identity of a kept message, (boot, seq), in front of its body; one byte in the common case.

First byte: high half how the identity is told, low half the form of the body (0 whole). High half 0-13: this boot, and
seq is that much below what the frame's counter lets one expect; 14: this boot, seq follows; 15: boot (as the distance
back from the session's) and seq follow. Numbers follow seven bits a byte, lowest first, high bit set when more come.
"""

from felinar_wire.errors import WireError


def expected(counter: int, first: int = 0) -> int:
    """The seq that a session's frame counter lets one expect: four counts a kept message (it and three old ones).

    `first` is the seq expected at counter 0. A node that advances its counter to 4 * (seq - first) or beyond before
    each new kept message pays one byte for the identity; one that does not pays two to four, and is understood as well.
    """
    return first + (counter >> 2)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _take(data: bytes, at: int, limit: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at == len(data):
            raise WireError("short")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if value > limit:
            raise WireError("range")
        if byte < 128:
            if shift and not byte:
                raise WireError("coding")
            return value, at
        shift += 7
        if shift > 28:
            raise WireError("range")


def pack(boot: int, seq: int, session_boot: int, body: bytes, expect: int = 0, form: int = 0) -> bytes:
    """Identity in front of a body: boot 0-65535, seq below 2**30; `expect` from `expected`, 0 on a wired line."""
    if not (0 <= boot < 65536 and 0 <= seq < 0x40000000):
        raise WireError("range")
    if boot != session_boot:
        return bytes((0xF0 | form,)) + _number(session_boot - boot & 65535) + _number(seq) + body
    if 0 <= expect - seq < 14:
        return bytes((expect - seq << 4 | form,)) + body
    return bytes((0xE0 | form,)) + _number(seq) + body


def unpack(payload: bytes, session_boot: int, expect: int = 0) -> tuple[int, int, bytes]:
    """(boot, seq, body) of a payload whose body is whole; WireError: "short", "range", "coding", "form"."""
    boot, seq, form, body = unpack_form(payload, session_boot, expect)
    if form:
        raise WireError("form")
    return boot, seq, body


def unpack_form(payload: bytes, session_boot: int, expect: int = 0) -> tuple[int, int, int, bytes]:
    """(boot, seq, form, rest) of a payload; WireError: "short", "range", "coding" (not the shortest way)."""
    if not payload:
        raise WireError("short")
    how = payload[0] >> 4
    form = payload[0] & 15
    boot = session_boot
    at = 1
    if how < 14:
        seq = expect - how
        if seq < 0:
            raise WireError("range")
    else:
        if how == 15:
            back, at = _take(payload, at, 65535)
            if not back:
                raise WireError("coding")
            boot = session_boot - back & 65535
        seq, at = _take(payload, at, 0x3FFFFFFF)
        if how == 14 and 0 <= expect - seq < 14:
            raise WireError("coding")
    return boot, seq, form, payload[at:]
