"""The bodies of messages by name, whatever schema version their node speaks."""

from __future__ import annotations

from felinar_wire import WireError, codec, schema


def unpack(version: int, kind: int, body: bytes) -> dict[str, object] | None:
    """Values by name in wire steps; None when the body is of a schema that this host can't read, or is damaged."""
    if version != schema.VERSION:
        return None
    try:
        return {f[0]: v for f, v in zip(schema.fields(kind), codec.decode(kind, body), strict=True)}
    except (WireError, KeyError):
        return None
