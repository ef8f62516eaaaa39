"""What a bridge does: it hears all the time that it does not send, sends when it is told to, and says what it heard."""

from felinar_wire import core
from felinar_wire.errors import WireError

from felinar_air.duty import Duty
from felinar_air.plan import airtime

QUEUE = 8  # TX that wait for their time
VERSION = (0, 1, 0)
LONGEST = 300  # bytes in a serial frame: more than a TX or an RX with a frame of 255 takes

_LEAD = 12000  # us before its time that a frame is handed to the radio
_LATE = 3000  # us; the radio needs that long to be ready
_OVERDUE = 200000  # us; a radio that has not ended by then has failed
_HOST_MS = 10000
_BEAT_MS = 3000  # longer than between two PINGs, each of which has one as its answer
_REST_MS = 1000
_SENT = 0
_TOO_LATE = 1
_DUTY = 2
_FAULT = 3
_NO_HOST = 4
_NO_ROOM = 5
_WARNING = 2


def after(a: int, b: int) -> int:
    """Microseconds from b to a in the bridge's time, which wraps at 2**30 (18 minutes)."""
    return (a - b + 0x20000000 & 0x3FFFFFFF) - 0x20000000


class Modem:
    """`take` gets the content of each serial frame, `step` is called after `rest` ms, or when the radio has
    something to tell; neither waits.

    `radio` is a driver that was started, `lora` what is common to its kind, as `drivers.lora` has it (`RX`, `BAD`,
    `TX_DONE`, `DriverError`, `TIMEOUT`); `send(data)` sends the content of a serial frame; `us()` is the bridge's time. `broken` says that
    the radio has to be started anew; then call `listen`. `least` bytes a frame must have.
    """

    def __init__(self, radio, lora, send, us, uid: bytes, chip: int = 1, dbm: int = 22, least: int = 1) -> None:  # type: ignore[no-untyped-def]
        self._radio = radio
        self._lora = lora
        self._send_content = send
        self._us = us
        self._who = uid, chip, dbm
        self._least = least
        self._queue: "list[tuple[int, int, int, int, int, bytes]]" = []  # (at, id, sf, Hz, dBm, data), the earliest first
        self._active: "tuple[int, int, int] | None" = None  # the one that is on the air
        self._hear: "tuple[int, int] | None" = None  # (Hz, sf)
        self._host_ms = -_HOST_MS  # uptime of the last PING
        self._silent = True
        self._beat_ms = 0
        self._up_ms = 0
        self.duty = Duty()
        self.broken = False
        self.heard = self.bad = self.sent = self.dropped = self.late = 0

    def _say(self, kind: int, *values: "int | bytes") -> None:
        self._send_content(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values)))

    def hello(self) -> None:
        """Say who this is, and how much may be sent to it."""
        uid, chip, dbm = self._who
        uid = (uid + bytes(8))[:8]
        self._say(core.BRIDGE_HELLO, uid, *VERSION, chip, QUEUE, 863000000, 870000000, dbm)
        self._say(core.CREDIT, QUEUE - len(self._queue))

    def log(self, text: str) -> None:
        """Say something to the host's log."""
        self._say(core.LOG, _WARNING, text.encode())

    def _beat(self, id: int) -> None:
        self._beat_ms = self._up_ms
        refused = self.duty.refused + self.late
        self._say(
            core.HEARTBEAT, id, self._up_ms // 1000, self._us(), self.heard, self.bad, self.sent, refused, self.dropped
        )

    def listen(self) -> None:
        """Hear on, as the host has said last."""
        if self._hear:
            try:
                self._radio.configure(self._hear[0], self._hear[1], self._who[2])
                self._radio.listen()
            except self._lora.DriverError:
                self.broken = True

    # From the host

    def take(self, content: bytes) -> None:
        """Do what the host says; what makes no sense is counted in `dropped`."""
        try:
            kind = content[0] if content else -1
            if kind not in (core.TX, core.LISTEN, core.PING):
                raise WireError("kind")
            values = core.decode(core.BRIDGE[kind], content[1:])
            if kind == core.PING:
                self._host_ms = self._up_ms
                self._silent = False
                self._beat(values[0])  # type: ignore[arg-type]
            elif kind == core.LISTEN:
                sf, hz = values
                if not (7 <= sf <= 12 and 863000000 <= hz <= 870000000):  # type: ignore[operator]
                    raise WireError("range")
                self._hear = hz, sf  # type: ignore[assignment]
                if not self._active:
                    self.listen()
                self.hello()
            else:
                self._enqueue(*values)  # type: ignore[arg-type]
        except WireError:
            self.dropped += 1

    def _enqueue(self, id: int, at: int, sf: int, hz: int, dbm: int, data: bytes) -> None:
        if not (7 <= sf <= 12 and self._least <= len(data) < 256 and at < 0x40000000):
            raise WireError("range")
        queue = self._queue
        if self._silent:
            self._done(id, _NO_HOST, at)
        elif len(queue) >= QUEUE:
            self._done(id, _NO_ROOM, at)
        else:
            i = len(queue)
            while i and after(queue[i - 1][0], at) > 0:
                i -= 1
            queue.insert(i, (at, id, sf, hz, min(dbm, self._who[2]), data))

    def _done(self, id: int, result: int, at: int, airtime: int = 0) -> None:
        self._say(core.TX_DONE, id, result, at, airtime)
        self._say(core.CREDIT, QUEUE - len(self._queue))

    # Time passes

    def step(self, up_ms: int) -> None:
        """Let time act, at an uptime in ms."""
        self._up_ms = up_ms
        if not self._silent and up_ms - self._host_ms > _HOST_MS:
            self._silent = True
            self.log("no host for ten seconds: silent")
            while self._queue:
                item = self._queue.pop(0)
                self._done(item[1], _NO_HOST, item[0])
        try:
            self._radio_step()
        except self._lora.DriverError:
            self._failed()
        if up_ms - self._beat_ms >= _BEAT_MS:
            self._beat(0)

    def rest(self) -> int:
        """For how many ms `step` may wait, unless the radio or the host has something to say."""
        active = self._active
        if active:
            due = active[0], active[2] + _OVERDUE
        elif self._queue:
            due = self._queue[0][0], -_LEAD
        else:
            return _REST_MS
        return max(0, min(_REST_MS, (after(due[0], self._us()) + due[1]) // 1000))

    def _failed(self) -> None:
        active = self._active
        self._active = None
        self.broken = True
        self.log("the radio has failed")
        if active:
            self._done(active[1], _FAULT, active[0])

    def _transmit(self, data: bytes, at: int) -> bool:
        """Whether it goes out; not when the bridge had other things to do, and its time has passed."""
        lora = self._lora
        try:
            self._radio.transmit(data, at)
            return True
        except lora.DriverError as error:
            if error.reason != lora.TIMEOUT:
                raise
            return False

    def _radio_step(self) -> None:
        radio = self._radio
        lora = self._lora
        while True:
            event = radio.poll()
            if not event:
                break
            what = event[0]
            if what == lora.RX:
                _, at, rssi, snr, n = event
                self.heard += 1
                hz, sf = self._hear or (0, 0)
                self._say(core.RX, at, rssi, max(-128, min(127, snr)), sf, hz, bytes(radio.buffer[:n]))
            elif what == lora.BAD:
                self.bad += 1
            elif what == lora.TX_DONE and self._active:
                at, id, air = self._active
                self._active = None
                self.sent += 1
                self._done(id, _SENT, at, air)
                self.listen()
        now = self._us()
        if self._active:
            if after(now, self._active[0]) > self._active[2] + _OVERDUE:
                self._failed()
            return
        while self._queue and not self._active and after(self._queue[0][0], now) <= _LEAD:
            at, id, sf, hz, dbm, data = self._queue.pop(0)
            air = airtime(sf, len(data))
            if after(at, now) < _LATE:
                self.late += 1
                self._done(id, _TOO_LATE, at)
            elif not self.duty.take(hz, air, self._up_ms // 1000):
                self._done(id, _DUTY, at)
            else:
                self._active = at, id, air
                radio.configure(hz, sf, dbm)
                if not self._transmit(data, at):
                    self._active = None
                    self.late += 1
                    self._done(id, _TOO_LATE, at)
                    self.listen()
