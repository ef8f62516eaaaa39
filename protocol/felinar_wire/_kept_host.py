"""The receiver's half of `kept`: takes the identity of a kept message off its payload."""

from felinar_wire import kept
from felinar_wire.errors import WireError


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
    if kept.pack(boot, seq, session_boot, b"", expect, lag) != payload[:at]:
        raise WireError("coding")
    return boot, seq, lag, payload[at:]


def unpack(payload: bytes, session_boot: int, expect: int = 0) -> "tuple[int, int, bytes]":
    """(boot, seq, body) of a payload with a whole body. Raises what `unpack_lag` does, and WireError("form")."""
    boot, seq, lag, body = unpack_lag(payload, session_boot, expect)
    if lag:
        raise WireError("form")
    return boot, seq, body
