"""One bridge's part of the plan: its superframe, its slots, what it sends, and who is there."""

from __future__ import annotations

from felinar_air.host import Downlink, Slots
from felinar_air.plan import INTERVAL, Superframe
from felinar_wire import schema

from felinar.facts import Kept


class Cell:
    """`number` is the bridge's (0-11, see `felinar_air.plan.Superframe`), `counts` what went down and what was held back."""

    def __init__(self, number: int, sf: int, version: int) -> None:
        self.number = number
        self.frame = Superframe(sf, number)
        self.slots = Slots(self.frame, version)
        self.counts: dict[str, int] = {}
        self.down = Downlink(self.slots, self.counts)
        self.ready = False
        """Whether its line is open and its time known."""
        self.present: set[int] = set()
        """Nodes that have been heard, or have joined, since it was ready."""
        self.announced = 0

    def retune(self, sf: int) -> None:
        """Begin a new map at another spreading factor: its nodes hear nothing any more, look for it, and join anew."""
        self.frame = self.slots.frame = Superframe(sf, self.number)
        self.slots.replan()
        self.present.clear()

    def duty(self, now: int) -> float:
        """The share of the downlink's duty cycle that was used in the last hour, 0 to 1."""
        self.down.ledger.room(now)
        return self.down.ledger.used / self.down.ledger.limit


class Peer:
    """A node on the air since it was first heard: its session's boot and version, where its slot is, how it was heard.

    `home` is the bridge of its slot, `way` the one that reaches it now. `rssi` in dBm, `snr` in dB, `heard` in ms.
    """

    def __init__(self, address: int, uid: str, boot: int, version: int, way: Cell) -> None:
        self.address = address
        self.uid = uid
        self.boot = boot
        self.schema = version
        self.way = way
        self.home: Cell | None = None
        self.rssi = 0
        self.snr = 0.0
        self.heard = 0
        self.firmware = ""
        self.reset = 0
        self.loaded = False
        """Whether the store was asked for its newest reports."""
        self.bases: dict[tuple[int, int], schema.Values] = {}
        self.frames: list[Frame] = []

    @property
    def slot(self) -> int | None:
        """Its slot, None while it has none."""
        return self.home.slots.of.get(self.address) if self.home else None


class Frame:
    """A frame with kept messages that wait for their commit: `begin` in ms is when it was sent.

    `interval` is the one it was sealed for, as it was sent in its node's slot, else 0.
    """

    def __init__(self, messages: list[Kept], begin: int, interval: int, event: bool) -> None:
        self.missing = {(message.boot, message.seq) for message in messages}
        self.begin = begin
        self.interval = interval
        self.event = event

    def late(self, now: int) -> bool:
        """Whether no beacon can acknowledge it any more."""
        return now - self.begin > 4 * INTERVAL
