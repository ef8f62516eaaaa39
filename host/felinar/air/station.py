"""A bridge's line and its part of the plan together, without I/O: bytes and time in, bytes out; what nodes say goes to the air."""

from __future__ import annotations

from felinar_wire import schema

from felinar.air.air import Air
from felinar.air.cell import Cell
from felinar.air.modem import RESULTS, About, Done, Event, Heard, Modem, Said
from felinar.clock import Now


class Station:
    """The time between the opening of a bridge's line and its end. After `receive` and `output`: `air.settle`.

    `logs` are lines of the bridge's own log, `about` who it is, both for whoever asks.
    """

    def __init__(self, air: Air, cell: Cell, dbm: int, now: Now) -> None:
        self.air = air
        self.cell = cell
        self.modem = Modem(cell.frame.uplink * 1000, cell.frame.sf, dbm, now.mono)
        self.logs: list[Said] = []
        self.heard = 0
        self._flying: dict[int, object] = {}

    @property
    def about(self) -> About | None:
        """What the bridge said of itself."""
        return self.modem.about

    def receive(self, chunk: bytes, now: Now) -> None:
        """Take bytes from the line, however they were cut."""
        self._take(self.modem.receive(chunk, now.mono), now)

    def output(self, now: Now) -> bytes:
        """Let time act; the bytes to write."""
        modem = self.modem
        modem.retune(self.cell.frame.uplink * 1000, self.cell.frame.sf, now.mono)
        self._take(modem.tick(now.mono), now)
        self.air.ready(self.cell, modem.ready)
        while modem.room > 0:
            found = self.air.poll(self.cell)
            if found is None:
                break
            at, data, what = found
            self._flying[modem.transmit(now.mono + (at - _ms(now)) / 1000, data)] = what
        return modem.take()

    def wake(self, now: Now) -> float:
        """The monotonic time at which `output` has something to do, if no bytes come before."""
        wake = self.modem.wake()
        if self.modem.room > 0:
            wake = min(wake, now.mono + (self.cell.down.wake - _ms(now)) / 1000)
        return wake

    def end(self) -> None:
        """The line is gone."""
        self.air.ready(self.cell, False)
        for what in self._flying.values():
            self.air.done(self.cell, what, "lost")
        self._flying.clear()

    def _take(self, events: list[Event], now: Now) -> None:
        for event in events:
            match event:
                case Heard():
                    self.heard += 1
                    end = _ms(now) - (now.mono - event.end) * 1000
                    self.air.heard(self.cell, event.data, end, event.rssi, event.snr)
                case Done():
                    self.air.done(self.cell, self._flying.pop(event.id, None), RESULTS[event.result])
                case Said():
                    self.logs.append(event)


def _ms(now: Now) -> float:
    return (now.unix - schema.EPOCH_UNIX) * 1000
