"""What a line can tell the host: the facts that a session yields and the daemon acts upon."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hello:
    """A node said who it is. `uid` is its chip's number as 12 hexadecimal digits; `boot` counts its starts."""

    node: int
    uid: str
    boot: int
    schema: int
    firmware: str
    reset: int
    clock_set: bool
    first: int
    last: int
    new: bool
    """It was not known on this line, or has started anew."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that the node keeps until acknowledged: identity (node, uid, boot, seq), a body that never changes."""

    node: int
    uid: str
    boot: int
    seq: int
    kind: int
    schema: int
    body: bytes
    heard: float
    """Unix time of arrival."""
    time: int | None = None
    """Unix time that the message itself tells, None when the node's clock was not set or the body can't be read."""
    up: int | None = None
    """Seconds since the node's start that the message tells, None when the body can't be read."""


@dataclass(frozen=True, slots=True)
class Health:
    """A node's account of itself; `values` by the schema's names."""

    node: int
    uid: str
    boot: int
    heard: float
    up: int | None
    values: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderSent:
    """A command went out, for the `tries`-th time."""

    node: int
    id: int
    tries: int


@dataclass(frozen=True, slots=True)
class OrderAnswered:
    """A node answered a command. `code` as in the schema's RESULT; `level` in %, `relay` 0 or 1 at that moment."""

    node: int
    id: int
    code: int
    level: int | None
    relay: int | None
    heard: float


@dataclass(frozen=True, slots=True)
class OrderExpired:
    """A command's time ran out before the node answered."""

    node: int
    id: int


@dataclass(frozen=True, slots=True)
class Stale:
    """The line's node has left three pings in a row unanswered."""

    unanswered: int


Fact = Hello | Kept | Health | OrderSent | OrderAnswered | OrderExpired | Stale
