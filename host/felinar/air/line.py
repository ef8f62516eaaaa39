"""The line to a bridge and its supervisor: opened, served and opened again, as `felinar.link` does for nodes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Protocol

from felinar.air.air import Air
from felinar.air.cell import Cell
from felinar.air.pi import open_radio
from felinar.air.station import Station
from felinar.clock import Clock
from felinar.config import BridgeConfig
from felinar.link import Opener
from felinar.port import Port, open_port
from felinar.reconnect import State
from felinar.session import Order
from felinar.supervisor import Supervisor, total

_LEVELS = ("debug", "info", "warning", "error")


class Handler(Protocol):
    """Who is told that something was heard or ordered, and how a line is."""

    def act(self) -> None: ...

    def line_changed(self, line: BridgeLine) -> None: ...


class BridgeLine(Supervisor):
    """A bridge as the hub sees it: a line on which the nodes are that it reaches. `run` ends only with `stop`."""

    def __init__(
        self,
        config: BridgeConfig,
        air: Air,
        cell: Cell,
        clock: Clock,
        handler: Handler,
        log: Any,
        *,
        opener: Opener = open_port,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(config.name, "bridge", clock, log.bind(bridge=config.name), chance)
        self.cell = cell
        self.station: Station | None = None
        self._config = config
        self._air = air
        self._handler = handler
        self._opener = opener
        self._port: Port | None = None
        self._heard = 0
        self._totals: dict[str, int] = {}
        self._dropped: dict[str, int] = {}

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that were heard by it since it can be used."""
        return tuple(self.cell.present)

    @property
    def counts(self) -> dict[str, int]:
        """Frames and bytes both ways, and what became of transmissions, since the start."""
        now = self.station.modem.counts if self.station else {}
        return total(self._totals, {k: n for k, n in now.items() if k.startswith(("frames", "bytes", "tx_"))})

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped on the line since the start, by reason."""
        return total(self._dropped, self.station.modem.bad if self.station else {})

    @property
    def heard(self) -> int:
        """Frames that it has heard on the air since the start."""
        return self._heard + (self.station.heard if self.station else 0)

    # What the hub asks

    def order(self, order: Order) -> None:
        """Send a command to a node that this bridge reaches."""
        self._air.order(self.cell, order)
        self.pump()

    def withdraw(self, node: int, id: int) -> None:
        """Stop sending a command."""
        self._air.withdraw(node, id)

    def acknowledge(self, node: int, uid: str, boot: int, base: int, bitmap: int) -> None:
        """Tell the air what is stored."""
        self._air.acknowledge(node, uid, boot, base, bitmap)
        self.pump()

    def ask_health(self, node: int) -> None:
        """Ask a node for HEALTH now."""
        self._air.ask_health(node)
        self.pump()

    async def _open_and_serve(self) -> None:
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._over = over
        if self._config.radio:
            self._port = await open_radio(self._config, self._received, self._end)
        else:
            self._port = await self._opener(self.url, self._config.baud, self._received, self._end)
        try:
            if self._stop.is_set():
                return
            now = self._clock.now()
            self.station = Station(self._air, self.cell, self._config.power, now)
            self._reconnect.opened(now.mono)
            self.opened += 1
            self.reason = ""
            self._said.pop("open", None)
            self._log.info("bridge line opened")
            self._changed()
            self.pump()
            self.reason = await over
            if not self._stop.is_set():
                self._say("lost", "bridge lost", reason=self.reason)
        finally:
            if self._timer:
                self._timer.cancel()
            if self.station:
                self._totals, self._dropped, self._heard = self.counts, self.dropped, self.heard
                self.station.end()
            self.station = None
            port, self._port, self._over = self._port, None, None
            if port:
                await port.close()

    def _received(self, data: bytes) -> None:
        station = self.station
        if station is None:
            return
        try:
            station.receive(data, self._clock.now())
        except Exception:  # see run
            self._fault()
        self._handler.act()

    def pump(self) -> None:
        """Write what is due, and come back when there is more."""
        station = self.station
        if station is None or self._port is None:
            return
        try:
            now = self._clock.now()
            if data := station.output(now):
                self._port.write(data)
            self._watch(station)
            if station.modem.dead(now.mono):
                self._end("the bridge says nothing")
            wake = station.wake(now)
        except Exception:  # see run
            self._fault()
            return
        self._wake_in(wake - now.mono, 0.001, self._handler.act)

    def _watch(self, station: Station) -> None:
        for said in station.logs:
            getattr(self._log, _LEVELS[min(said.level, 3)])("bridge says", text=said.text)
        station.logs.clear()
        if station.modem.ready and self._reconnect.state is State.OPEN:
            self._reconnect.heard()
            about = station.about
            self._log.info(
                "bridge ready", version=about.version if about else "", number=self.cell.number, sf=self.cell.frame.sf,
                round_trip_ms=round(station.modem.clock.round_trip * 1000, 1),
            )  # fmt: skip
            self._said.pop("lost", None)
            self._changed()

    def _tell(self) -> None:
        self._handler.line_changed(self)
