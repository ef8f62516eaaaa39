"""The receiver's half of `kept`: takes the identity of a kept message off its payload."""

from felinar_wire.errors import WireError


def unpack_lag(payload: bytes, session_boot: int, expect: int = 0) -> "tuple[int, int, int, bytes]":
    """(boot, seq, lag, body) of a payload. Raises WireError: "short", "range", "coding" (not the shortest way)."""
    if not payload:
        raise WireError("short")
    how = payload[0] >> 4
    at = 1
    back = how
    boot = session_boot
    if how > 13:
        at = 3 if how == 14 else 7
        if len(payload) < at:
            raise WireError("short")
        near = payload[1] << 8 | payload[2]
        if how == 14:
            back = (near ^ 32768) - 32768
            near = 0 <= back < 14
        else:
            boot = near
            back = expect - int.from_bytes(payload[3:7], "big")
            near = boot == session_boot and -32768 <= back < 32768
        if near:
            raise WireError("coding")
    seq = expect - back
    if not 0 <= seq < 0x40000000:
        raise WireError("range")
    return boot, seq, payload[0] & 15, payload[at:]


def unpack(payload: bytes, session_boot: int, expect: int = 0) -> "tuple[int, int, bytes]":
    """(boot, seq, body) of a payload with a whole body. Raises what `unpack_lag` does, and WireError("form")."""
    boot, seq, lag, body = unpack_lag(payload, session_boot, expect)
    if lag:
        raise WireError("form")
    return boot, seq, body
