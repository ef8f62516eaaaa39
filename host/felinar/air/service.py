"""The daemon's air: key store, plan and bridges put together, and what people are shown of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from felinar_wire import schema

from felinar import api
from felinar.air.air import Air
from felinar.air.factors import FIRST, Factors, wanted
from felinar.air.line import BridgeLine
from felinar.air.numbers import numbers
from felinar.air.reports import BASES
from felinar.clock import Clock, iso
from felinar.commands import DEFAULT_FOR_S, LONGEST_FOR_S, MODES, REASONS
from felinar.config import Config
from felinar.errors import CommandError, FelinarError, StoreError
from felinar.facts import Fact
from felinar.keys import SqliteKeyStore
from felinar.keys.zones import LAST, LEDGER, Members, zone_of
from felinar.link import Opener
from felinar.port import open_port
from felinar.store import Row, Store
from felinar.supervisor import SAY_AGAIN_S

VERSIONS_FILE = "slot-maps.json"
FACTORS_FILE = "spreading-factors.json"
_TICK_S = 1.0


class Hub(Protocol):
    """Who acts on what is told, as on that of any line."""

    def facts(self, link: BridgeLine, facts: list[Fact]) -> None: ...

    def link_changed(self, link: BridgeLine) -> None: ...

    def last_number(self, node: int) -> int | None: ...


class AirService:
    """All bridges of a daemon. `run` ends with `stop`; `close` closes the key store, after everything else."""

    def __init__(
        self,
        config: Config,
        keys: SqliteKeyStore,
        store: Store,
        hub: Hub,
        clock: Clock,
        log: Any,
        *,
        opener: Opener = open_port,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Raises ConfigError (numbers of bridges), StoreError (the versions can't be kept), KeyStoreError."""
        self._store = store
        self._keys = keys
        self._hub = hub
        self._clock = clock
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._said: dict[str, float] = {}
        self._acting = False
        self._versions = config.directory / VERSIONS_FILE
        self._factors_file = config.directory / FACTORS_FILE
        factors = {number: sf for number, sf in read_numbers(self._factors_file).items() if 7 <= sf <= 10}
        plan = [
            (number, bridge.sf or factors.get(number, FIRST))
            for number, bridge in zip(numbers(config.bridge), config.bridge, strict=True)
        ]
        self.air = Air(
            keys, plan, clock, load=self._load, save=lambda versions: write_numbers(self._versions, versions),
            versions=read_numbers(self._versions), random=random, say=self._say, tell=log.info,
            changed=lambda cell: hub.link_changed(self._line[cell]), last=hub.last_number,
            members=Members(config.directory / LEDGER, keys),
        )  # fmt: skip
        self._factors = Factors(
            [cell for bridge, cell in zip(config.bridge, self.air.cells, strict=True) if bridge.sf is None]
        )
        for view in store.boards():
            if view.firmware:
                self.air.known[view.node, view.uid] = view.firmware, view.reset or 0
        self.lines = [
            BridgeLine(bridge, self.air, cell, clock, self, log, opener=opener)
            for bridge, cell in zip(config.bridge, self.air.cells, strict=True)
        ]
        self._line = dict(zip(self.air.cells, self.lines, strict=True))
        if keys.discarded:
            log.warning("sessions of nodes have ended, they join anew", reason=keys.discarded)

    # Time and what is heard

    async def run(self) -> None:
        """Serve all bridges until `stop`."""
        ticker = asyncio.create_task(self._tick(), name="air")
        try:
            await asyncio.gather(*(line.run() for line in self.lines))
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker

    def stop(self) -> None:
        """Close the lines for good."""
        for line in self.lines:
            line.stop()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.tick()
                self.act()
            except Exception:  # the clock must go on
                self._log.exception("tick of the air failed")

    def tick(self) -> None:
        """Let time act, about every second."""
        self.air.tick()
        self._retune()

    def _retune(self) -> None:
        """Change spreading factors that do not suit any more; the new one is durable before anybody hears of it."""
        now = self._clock.now()
        ms = round((now.unix - schema.EPOCH_UNIX) * 1000)
        for cell, sf in self._factors.look(self.air.peers, ms, now.mono, int(now.unix // 3600 % 24)):
            try:
                write_numbers(self._factors_file, {cell.number: sf})
                before = cell.frame.sf
                self.air.retune(cell, sf)
            except FelinarError as error:
                self._say("factor", str(error))
                continue
            words = "weaker" if sf > before else "stronger"
            self._log.info(
                f"the nodes of a bridge are heard {words} than its spreading factor is for: it changes, and they join anew",
                bridge=self._line[cell].url, sf=sf, before=before,
            )  # fmt: skip

    def act(self) -> None:
        """Act on what was heard, and send what is due on every line."""
        if self._acting:
            return
        self._acting = True
        try:
            while facts := self.air.settle():
                for cell, group in groupby(facts, key=lambda fact: fact[0]):
                    self._hub.facts(self._line[cell], [fact for _, fact in group])
        finally:
            self._acting = False
        for line in self.lines:
            line.pump()

    def line_changed(self, line: BridgeLine) -> None:
        """A bridge came or went."""
        self._hub.link_changed(line)

    def _load(self, address: int, uid: str) -> None:
        """The newest reports of a board, for differences from what was stored before this daemon began."""
        boards = {view.id for view in self._store.boards() if (view.node, view.uid) == (address, uid)}
        reading = self._store.read(
            schema.REPORT, nodes=[address], since=None, until=None, after=None, limit=BASES, newest=True
        )

        def done(found: Future[list[Row]]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._loaded, address, boards, found)

        reading.add_done_callback(done)

    def _loaded(self, address: int, boards: set[int], found: Future[list[Row]]) -> None:
        rows = [] if found.exception() else [row for row in found.result() if row.board in boards]
        self.air.loaded(address, rows)
        self.act()

    def _say(self, topic: str, sentence: str) -> None:
        mono = self._clock.now().mono
        if mono - self._said.get(topic, float("-inf")) >= SAY_AGAIN_S:
            self._said[topic] = mono
            self._log.error("the air is in trouble", reason=sentence)

    # What people order and see

    def group(self, group: int | str, order: api.LampOrder) -> api.GroupCommand:
        """Command all lamps of a group, which has an address, and in a plan a name. Raises CommandError, KeyStoreError."""
        address = zone_of(str(group), self._keys.zone_names().get)
        if address is None:
            raise CommandError(
                f"'{group}' is no group: neither one of a plan, nor an address from 1 to {LAST}.",
                "felinar keys zones lists those of plans.",
                status=404,
            )
        if order.mode == "dim" and (order.level is None or not 1 <= order.level <= 100):
            raise CommandError("A lamp is dimmed to 1 to 100 %.", "Give a level, for example 60.")
        if order.mode != "dim" and order.level is not None:
            raise CommandError(f"'{order.mode}' has no level.", "Leave it out, or use dim.")
        if not 0 <= order.fade_s <= 255:
            raise CommandError("The lamps of a group fade within 0 to 255 s.", "Give a time within.")
        for_s = order.for_s if order.for_s is not None else DEFAULT_FOR_S
        if not 1 <= for_s <= LONGEST_FOR_S:
            raise CommandError(f"A command to a group holds for 1 s to {LONGEST_FOR_S // 86_400} days.")
        ready = [line for line in self.lines if line.cell.ready]
        if not ready:
            raise CommandError("No bridge is there to say it.", "Look at the bridges: felinar nodes.", status=503)
        level = {"on": 100, "dim": order.level or 0}.get(order.mode, 0)
        lasts = 0 if order.mode == "auto" else for_s
        said = self.air.group(address, MODES[order.mode], level, order.fade_s, lasts, REASONS.get(order.reason, 0))
        self.act()
        return api.GroupCommand(
            id=said.id, group=address, mode=order.mode, level=order.level, fade_s=order.fade_s, for_s=lasts or None,
            bridges=[line.url for line in ready],
        )  # fmt: skip

    def bridges(self) -> list[api.Bridge]:
        """Every bridge as the interface shows it."""
        return [self._bridge(line) for line in self.lines]

    def radio(self, node: int) -> api.Radio | None:
        """How a node is heard, None when it was not heard on the air since the start."""
        peer = self.air.peers.get(node)
        if peer is None:
            return None
        heard = iso(peer.heard / 1000 + schema.EPOCH_UNIX)
        return api.Radio(
            bridge=self._line[peer.way].url,
            slot=peer.slot,
            sf=peer.way.frame.sf,
            rssi=peer.rssi,
            snr=peer.snr,
            heard=heard,
        )

    def dropped(self) -> dict[str, int]:
        """What was refused or left out on the air, by reason."""
        return dict(sorted(self.air.counts.items()))

    def _bridge(self, line: BridgeLine) -> api.Bridge:
        cell = line.cell
        station = line.station
        about = station.about if station else None
        now = round((self._clock.now().unix - schema.EPOCH_UNIX) * 1000)
        return api.Bridge(
            url=line.url, state=line.state.value, since=iso(line.since), number=cell.number, frequency=cell.frame.uplink / 1000,
            sf=cell.frame.sf, sf_wanted=wanted(cell, self.air.peers), nodes=len(cell.slots.of),
            slots=cell.slots.frame.slots * 30, waiting=len(cell.down), duty=round(cell.duty(now), 4),
            heard=line.heard, sent=cell.counts.get("sent", 0),
            counts={k: n for k, n in sorted(cell.counts.items()) if k != "sent"}, line=line.counts, dropped=line.dropped,
            opened=line.opened, reason=line.reason, uid=about.uid if about else None,
            version=about.version if about else None,
            clock_ms=round(station.modem.clock.round_trip * 500, 2) if station and station.modem.clock.known else None,
        )  # fmt: skip


def read_numbers(path: Path) -> dict[int, int]:
    """A number (1-255) for each bridge, the version of its newest slot map or its spreading factor; none when the file is missing or can't be understood."""
    try:
        raw = json.loads(path.read_text())
        return {int(number): int(value) for number, value in raw.items() if 1 <= int(value) <= 255}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_numbers(path: Path, values: Mapping[int, int]) -> None:
    """Keep them, durable on return, along with those of bridges that are not there now. Raises StoreError."""
    kept = {str(number): value for number, value in sorted({**read_numbers(path), **values}.items())}
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("w") as file:
            file.write(json.dumps(kept))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}.", "Is the disk full?") from error
