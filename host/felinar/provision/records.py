"""What the ledger tells: the states of an entry, its rows, what a plan and a board got; MACs as they are kept and shown."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from felinar.provision.errors import ProvisionError
from felinar.provision.plan import PlanEntry


class State(StrEnum):
    """How far an entry is."""

    WAITING = "waiting"
    TAKEN = "taken"
    KEY_STORED = "key stored"
    WRITTEN = "written"
    PROVEN = "proven"
    READY = "ready"
    LABELLED = "labelled"
    FAILED = "failed"
    REVOKED = "revoked"


ORDER = (
    State.WAITING,
    State.TAKEN,
    State.KEY_STORED,
    State.WRITTEN,
    State.PROVEN,
    State.READY,
    State.LABELLED,
)
DONE = (State.READY, State.LABELLED)


class Record(msgspec.Struct, frozen=True):
    """An entry of the ledger. `reached` is the furthest state of the present attempt (it differs from `state` after a
    failure); `code` and `detail` tell of the newest failure; `changed` in Unix seconds; `line` ("wired", "radio") is what its
    board was written to speak through."""

    id: int
    entry: PlanEntry
    address: int
    state: State
    reached: State
    mac: str | None
    code: str
    detail: str
    changed: float
    line: str = ""

    @property
    def touched(self) -> bool:
        """Whether the identity may be on its board."""
        return self.reached in ORDER[2:]

    @property
    def keyed(self) -> bool:
        """Whether its board has proved its key."""
        return self.reached in ORDER[4:]


class Loose(msgspec.Struct, frozen=True):
    """A board that was flashed without a pole. `role` is "lamp" or "bridge", `line` of a lamp "wired" or "radio"; `address` and `name` of
    a bridge are 0 and empty. `state` is taken, written, proven, ready or failed; only ready is finished."""

    mac: str
    role: str
    line: str
    board: str
    address: int
    name: str
    port: str
    state: State
    code: str
    detail: str
    changed: float


class Taken(msgspec.Struct, frozen=True):
    """What a board got: `fresh` false when it goes on with what it had; `done` when nothing is left to do."""

    record: Record
    fresh: bool
    done: bool


class Merged(msgspec.Struct, frozen=True):
    """What a plan changed: poles added, changed while they waited, and such that differ but are on a board already."""

    added: list[str]
    changed: list[str]
    differ: list[str]
    same: int


class Past(msgspec.Struct, frozen=True):
    """A line of an address's history; `time` in Unix seconds."""

    time: float
    address: int
    pole: str
    mac: str | None
    event: str
    detail: str


def normal_mac(mac: str) -> str:
    """A MAC as it is kept, twelve hex digits as the chip tells them; ProvisionError for what is none."""
    digits = mac.lower().replace(":", "").replace("-", "")
    if len(digits) != 12 or any(c not in "0123456789abcdef" for c in digits):
        raise ProvisionError(f"'{mac}' is no MAC of a board.", code="mac")
    return digits


def shown_mac(mac: str) -> str:
    """A MAC as people write it, `24:6f:28:00:00:01`."""
    return ":".join(mac[i : i + 2] for i in range(0, len(mac), 2))
