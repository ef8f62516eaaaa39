"""What the control interface says: one set of types for the daemon that serves it and the client that reads it.

Times are ISO 8601 in UTC, values in the schema's units; null is missing, "under" and "over" are beyond the range.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Value = float | int | Literal["under", "over"] | None
Mode = Literal["auto", "on", "off", "dim"]
State = Literal["stored", "sent", "acknowledged", "measured", "refused", "expired", "failed", "superseded"]


class Reading(msgspec.Struct, frozen=True):
    """One report in physical units. `values` is null when its body is of a schema that this host can't read."""

    node: int
    board: str
    boot: int
    seq: int
    time: str
    time_source: Literal["node", "inferred", "arrival"]
    heard: str
    values: dict[str, Value] | None
    name: str | None = None


class ReadingPage(msgspec.Struct, frozen=True):
    """`after` asks for the next page; null on the last one."""

    readings: list[Reading]
    after: str | None = None


class NodeEvent(msgspec.Struct, frozen=True):
    """Something that happened at a node: `code` as in the schema's EVENT, with its name."""

    node: int
    board: str
    boot: int
    seq: int
    time: str
    code: int | None
    event: str
    argument: int | None


class Health(msgspec.Struct, frozen=True):
    """A node's own account: messages made and dropped since boot, pending in its outbox, and the rest of HEALTH."""

    heard: str
    boot: int
    values: dict[str, int | None]


class Radio(msgspec.Struct, frozen=True):
    """How a node is heard on the air: by which bridge, in which slot (null before it has one), `rssi` in dBm, `snr` in dB."""

    bridge: str
    slot: int | None
    sf: int
    rssi: int
    snr: float
    heard: str


class Node(msgspec.Struct, frozen=True):
    """A node, its newest values and the account of its messages.

    `stored` = `reports` + `events`. `duplicates` are repeats that were refused; `same_time` counts stored reports that
    share their time with another one (true duplicates would); `gaps` are numbers missing below the highest stored of
    each boot; `made` and `dropped` are the node's own figures, summed over the boots heard of. `mismatch` says in a
    sentence which of node and host is older where they do not understand each other, else it is empty.
    """

    node: int
    board: str
    boards: int
    last_heard: str
    online: bool
    stored: int
    reports: int
    events: int
    duplicates: int
    same_time: int
    gaps: int
    made: int
    dropped: int
    pending: int | None
    name: str | None = None
    link: str | None = None
    firmware: str | None = None
    schema: int | None = None
    mismatch: str = ""
    boot: int | None = None
    lamp_w: float | None = None
    health: Health | None = None
    latest: Reading | None = None
    radio: Radio | None = None


class Command(msgspec.Struct, frozen=True):
    """A command's life. `open` while something is still to come; `detail` says in words why it ended as it did.

    `measured` is the time of the report that showed it, with the power that it told.
    """

    id: int
    node: int
    what: Literal["lamp", "config"]
    state: State
    open: bool
    created: str
    expires: str
    mode: Mode | None = None
    level: int | None = None
    fade_s: int = 0
    for_s: int | None = None
    key: str | None = None
    value: int | None = None
    reason: str = ""
    tries: int = 0
    sent: str | None = None
    answered: str | None = None
    level_then: int | None = None
    relay_then: int | None = None
    measured: str | None = None
    power_w: float | None = None
    detail: str = ""


class LampOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a lamp command. `level` in % with "dim"; `for_s` how long it holds, in seconds; `fade_s` likewise."""

    mode: Mode
    level: int | None = None
    for_s: int | None = None
    fade_s: int = 0
    reason: str = ""


class GroupCommand(msgspec.Struct, frozen=True):
    """A command to all lamps of a group, which nobody answers: it is said again and again for a minute, by these bridges.

    "On" acts at once, anything else when the lamps know that it is genuine, after some 20 s.
    """

    id: int
    group: int
    mode: Mode
    level: int | None
    fade_s: int
    for_s: int | None
    bridges: list[str]


class ConfigOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a configuration command: the report period in seconds, 0 stops sampling until the next boot."""

    report_s: int


class Link(msgspec.Struct, frozen=True):
    """A line: where it leads, how it is and what went over it; `dropped` by reason, `reason` why it is not open."""

    url: str
    state: str
    since: str
    nodes: list[int]
    opened: int
    counts: dict[str, int]
    dropped: dict[str, int]
    reason: str = ""


class Bridge(msgspec.Struct, frozen=True):
    """A radio bridge. `frequency` in MHz is that of its nodes; `duty` is the used share of what it may send in an hour, 0 to 1.

    `nodes` have one of its `slots`; `waiting` is what is to be sent; `heard` and `sent` are frames on the air, `counts` what
    could not be sent, `line` and `dropped` what went over its line. `sf_wanted` is what its nodes' signals would allow,
    `clock_ms` by how much its time may be wrong.
    """

    url: str
    state: str
    since: str
    number: int
    frequency: float
    sf: int
    sf_wanted: int
    nodes: int
    slots: int
    waiting: int
    duty: float
    heard: int
    sent: int
    counts: dict[str, int]
    line: dict[str, int]
    dropped: dict[str, int]
    opened: int
    reason: str = ""
    uid: str | None = None
    version: str | None = None
    clock_ms: float | None = None


class StoreStatus(msgspec.Struct, frozen=True):
    """The store's figures: `queued` writes wait now, `refused` were turned away and so not acknowledged."""

    backend: str
    path: str
    trouble: str
    check: str
    queued: int
    queued_most: int
    refused: int
    batches: int
    failed_batches: int
    largest_batch: int
    commit_ms: float
    commit_ms_most: float


class Stream(msgspec.Struct, frozen=True):
    """Live listeners now, and what slow ones have missed since the start."""

    listeners: int
    missed: int


class Status(msgspec.Struct, frozen=True):
    """The daemon in one answer; `air` is what was refused or left out on the air, by reason."""

    version: str
    pid: int
    started: str
    data_dir: str
    store: StoreStatus
    stream: Stream
    links: list[Link]
    nodes: list[Node]
    commands: dict[str, int]
    bridges: list[Bridge] = []
    air: dict[str, int] = {}


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not fulfilled, and what to do about it."""

    error: str
    remedy: str = ""
