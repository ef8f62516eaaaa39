"""One bridge on a serial line, without I/O: what it hears, what it is told to send, and what time it is there."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from felinar_air.modem import LONGEST
from felinar_air.plan import DOWNLINK
from felinar_wire import WireError, core, serial

WRAP = 1 << 30
"""µs after which a bridge's time begins anew (18 minutes)."""
PING_S = 2.0
DEAD_S = 7.0
"""A bridge that has said nothing for so long is not there: it says something every three seconds."""
SENT, LATE, DUTY, RADIO, SILENT, FULL, LOST = range(7)
RESULTS = ("sent", "late", "duty", "radio", "silent", "full", "lost")
"""What became of a transmission, as TX_DONE numbers it; "lost" is one that the bridge has said nothing of."""

DOWNLINK_HZ = DOWNLINK * 1000
_QUICK_S = 0.25
_QUICK = 4
_WINDOW_S = 60.0
_OVERDUE_S = 3.0
_ANSWER_S = 1.0
_BOOT_S = 4.0
"""From a bridge's start until it surely reads its line."""


class Heard(NamedTuple):
    """A frame from the air. `end` is the monotonic time in s at which it ended, `rssi` in dBm, `snr` in dB."""

    end: float
    rssi: int
    snr: float
    sf: int
    hz: int
    data: bytes


class Done(NamedTuple):
    """The end of a transmission: `result` is one of RESULTS by number, `airtime` in µs (0 when it was not sent)."""

    id: int
    result: int
    airtime: int


class Said(NamedTuple):
    """A line of the bridge's own log; `level` 0 debug to 3 error."""

    level: int
    text: str


class About(NamedTuple):
    """What a bridge said of itself; `chip` 1 is an SX126x, 2 an SX127x, `dbm` its highest power."""

    uid: str
    version: str
    chip: int
    dbm: int


Event = Heard | Done | Said | About


class BridgeClock:
    """The bridge's time against the host's monotonic one, by the exchange of the last minute that was quickest.

    The answer was stamped at some moment between question and answer; its middle is wrong by half of the round trip at
    most, some milliseconds on a serial line. In a minute crystals (20 ppm each) drift 2.4 ms apart.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, int]] = deque()

    @property
    def known(self) -> bool:
        """Whether there is an exchange to go by."""
        return bool(self._samples)

    @property
    def round_trip(self) -> float:
        """Of the exchange that is gone by, in s."""
        return min(self._samples)[0] if self._samples else 0.0

    def exchange(self, asked: float, answered: float, us: int) -> None:
        """The bridge told `us` in an answer to a question; monotonic times in s."""
        while self._samples and answered - self._samples[0][1] > _WINDOW_S:
            self._samples.popleft()
        self._samples.append((answered - asked, (asked + answered) / 2, us))

    def forget(self) -> None:
        """The bridge has started anew."""
        self._samples.clear()

    def us(self, mono: float) -> int:
        """The bridge's time at a monotonic time."""
        _, at, us = min(self._samples)
        return (us + round((mono - at) * 1e6)) % WRAP

    def mono(self, us: int) -> float:
        """The monotonic time at a bridge's time that is less than nine minutes away."""
        _, at, then = min(self._samples)
        return at + ((us - then + WRAP // 2) % WRAP - WRAP // 2) / 1e6


class Modem:
    """The conversation with one bridge from the opening of its line on. Times are monotonic, in s.

    `counts` tells frames and bytes both ways, results of transmissions, and what was dropped, by reason; `beat` what the
    bridge counts itself since its start (heard, bad, sent, refused, dropped, and `up` in s).
    """

    def __init__(self, hz: int, sf: int, dbm: int, now: float) -> None:
        self.clock = BridgeClock()
        self.about: About | None = None
        self.beat: dict[str, int] = {}
        self.counts: dict[str, int] = {"frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0}
        self.last_heard = now
        self._hear = sf, hz
        self._dbm = dbm
        self._deframer = serial.Deframer(limit=LONGEST)
        self._out = bytearray()
        self._room = 0
        self._queue = 0
        self._waiting: dict[int, float] = {}
        self._id = 0
        self._ping_id = 0
        self._pings: dict[int, float] = {}
        self._ping_due = now
        self._listen_due = now
        self._listening = False
        self._answers = 0
        self._listened = now

    @property
    def ready(self) -> bool:
        """Whether it listens as it was told, and its time is known."""
        return self._listening and self.clock.known

    @property
    def room(self) -> int:
        """How many more transmissions it takes now."""
        return min(self._room, self._queue - len(self._waiting)) if self.ready else 0

    @property
    def bad(self) -> dict[str, int]:
        """What was dropped on the line, by reason."""
        other = {k: n for k, n in self.counts.items() if not k.startswith(("frames", "bytes", "tx_"))}
        return {**self._deframer.bad, **other}

    def dead(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        return now - self.last_heard >= DEAD_S

    def wake(self) -> float:
        """When `tick` has something to do, if no bytes come before."""
        due = [self._ping_due, self.last_heard + DEAD_S, *self._waiting.values()]
        if not self._listening:
            due.append(self._listen_due)
        return min(due)

    # To the bridge

    def transmit(self, at: float, data: bytes) -> int:
        """Have a frame sent at a monotonic time; its number. Only while there is `room`."""
        self._id = self._id % 0xFFFF + 1
        sf, _ = self._hear
        self._say(core.TX, self._id, self.clock.us(at), sf, DOWNLINK_HZ, self._dbm, data)
        self._waiting[self._id] = at + _OVERDUE_S
        self._room -= 1
        return self._id

    def tick(self, now: float) -> list[Event]:
        """Let time act: questions that are due, transmissions that nothing was heard of."""
        events: list[Event] = []
        for id in [id for id, until in self._waiting.items() if until <= now]:
            events.append(self._done(id, LOST, 0))
        if not self._listening and now >= self._listen_due:
            self._listen_due = now + PING_S
            self._listen(now)
        if now >= self._ping_due:
            quick = len(self.clock._samples) < _QUICK
            self._ping_due = now + (_QUICK_S if quick else PING_S)
            self._ping_id = self._ping_id % 0xFFFF + 1
            self._pings = {id: at for id, at in self._pings.items() if now - at < DEAD_S}
            self._pings[self._ping_id] = now
            self._say(core.PING, self._ping_id)
        return events

    def retune(self, hz: int, sf: int, now: float) -> None:
        """Have it listen there from now on, and send at that spreading factor; nothing when it does."""
        if self._hear != (sf, hz):
            self._hear = sf, hz
            self._listening = False
            self._listen_due = now

    def _listen(self, now: float) -> None:
        self._listened = now
        self._answers += 1
        self._say(core.LISTEN, *self._hear)

    def take(self) -> bytes:
        """The bytes to write."""
        out = bytes(self._out)
        self._out.clear()
        self.counts["bytes_out"] += len(out)
        return out

    def _say(self, kind: int, *values: int | bytes) -> None:
        # A zero first: whatever half a frame is in the bridge's buffer ends there.
        self._out += b"\0" + serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values)))
        self.counts["frames_out"] += 1

    # From the bridge

    def receive(self, chunk: bytes, now: float) -> list[Event]:
        """Take bytes from the line, however they were cut."""
        self.counts["bytes_in"] += len(chunk)
        events: list[Event] = []
        for content in self._deframer.feed(chunk):
            try:
                events += self._take(content, now)
            except WireError as error:
                self._count(error.reason)
        return events

    def _take(self, content: bytes, now: float) -> list[Event]:
        kind = content[0] if content else -1
        if kind not in _FROM_BRIDGE:
            raise WireError("type")
        values = core.decode(core.BRIDGE[kind], content[1:])
        names = [name for name, _ in core.fields(core.BRIDGE[kind])]
        told = dict(zip(names, values, strict=True))
        v = {name: value for name, value in told.items() if isinstance(value, int)}
        data = next((value for value in values[::-1] if isinstance(value, bytes)), b"")
        self.counts["frames_in"] += 1
        self.last_heard = now
        if kind == core.RX:
            if not self.clock.known:
                self._count("untimed")
                return []
            return [Heard(self.clock.mono(v["at"]), v["rssi"], v["snr"] / 4, v["sf"], v["frequency"], data)]
        if kind == core.TX_DONE:
            if v["id"] not in self._waiting:
                raise WireError("stray_done")
            return [self._done(v["id"], min(v["result"], LOST), v["airtime"])]
        if kind == core.CREDIT:
            self._room = v["frames"]
            return []
        if kind == core.LOG:
            return [Said(v["level"], data.decode(errors="replace"))]
        if kind == core.HEARTBEAT:
            return self._beat(v, now)
        return self._hello(data, v, now)

    def _beat(self, v: dict[str, int], now: float) -> list[Event]:
        events: list[Event] = []
        if v["up"] + 1 < self.beat.get("up", 0):  # it has started anew, and its hello was lost
            events = self._restarted(now)
        if now - self._listened > _ANSWER_S:
            self._answers = 0
            if self._listening and self._listened < now - v["up"] + _BOOT_S:
                # It may have been starting then: what it said of itself at its start answered nothing.
                self._listen(now)
        self.beat = {name: v[name] for name in ("up", "heard", "bad", "sent", "refused", "dropped")}
        asked = self._pings.pop(v["id"], None)
        if asked is not None:
            self.clock.exchange(asked, now, v["at"])
        return events

    def _hello(self, uid: bytes, v: dict[str, int], now: float) -> list[Event]:
        events: list[Event] = []
        if self._answers:
            self._answers -= 1
            self._listening = True
        else:
            events = self._restarted(now)
        self._queue = v["queue"]
        self.about = About(uid.hex(), f"{v['major']}.{v['minor']}.{v['patch']}", v["chip"], v["dbm"])
        return [*events, self.about]

    def _restarted(self, now: float) -> list[Event]:
        """It knows nothing of what it was told, and its time is another."""
        self._count("frames_restarts")
        self.clock.forget()
        self._pings.clear()
        self._listening = False
        self._listen_due = self._ping_due = now
        self._answers = 0
        self.beat = {}
        return [self._done(id, LOST, 0) for id in list(self._waiting)]

    def _done(self, id: int, result: int, airtime: int) -> Done:
        del self._waiting[id]
        self._count("tx_" + RESULTS[result])
        return Done(id, result, airtime)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


_FROM_BRIDGE = frozenset((core.RX, core.TX_DONE, core.CREDIT, core.LOG, core.HEARTBEAT, core.BRIDGE_HELLO))
