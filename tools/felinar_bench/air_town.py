"""Real lamps and real bridges in MicroPython, and the host's own planner, key store and database, on one virtual clock."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from felinar.air.air import Air
from felinar.air.station import Station
from felinar.clock import Now
from felinar.facts import Fact, Hello, Kept, OrderAnswered
from felinar.keys import SqliteKeyStore
from felinar.store import Row, SqliteStore
from felinar_build import app as build
from felinar_sim.air_street import AirStreet
from felinar_sim.board import Board
from felinar_sim.clock import VirtualClock
from felinar_sim.ether import Receptions, Transmission
from felinar_wire import codec, schema

NIGHT = datetime(2026, 1, 5, 20)
LIGHT = ({"driver": "bh1750", "bus": "i2c0", "address": 35, "period_ms": 30_000},)
"""What is fitted: the ambient light, so that the clocks of many sensors don't count."""
ZONE = 40_000
"""The group that all lamps listen to."""
SECRET = bytes(range(32))
DBM = 22
OLD_S = 1800
_LINE_US = 1000
_TICK_US = 1_000_000
_PAGE = 5000

Identity = tuple[int, int, int]


def applications(board: Path, folder: Path) -> Path:
    """Build a radio board's application for both of its roles: `lamp` and `bridge` in the folder."""
    build.build(board, folder / "lamp", mpy=True)
    build.build(board, folder / "bridge", mpy=True, role="bridge")
    return folder


@dataclass(frozen=True)
class Order:
    """A command to one lamp, as `felinar.air.orders` has it."""

    node: int
    id: int
    mode: int
    level: int = 0
    for_s: int = 1800
    kind: int = schema.LAMP_SET

    def values(self, unix: float) -> list[int] | None:
        return [self.id, self.mode, self.level, 0, self.for_s, schema.REASON_OPERATOR]


class Host:
    """The daemon's cores over a real key store and a real database; what it does with sockets and threads is done at once here.

    `stop` and `start` are a restart of the daemon; a line whose bridge says nothing is opened anew, as the daemon does.
    """

    def __init__(self, town: Town, folder: Path, plan: Sequence[tuple[int, int]]) -> None:
        self.town = town
        self.folder = folder
        self.plan = list(plan)
        self.versions: dict[int, int] = {}
        self.stations: list[Station | None] = [None for _ in plan]
        self.answers: dict[int, float] = {}
        """Unix time at which a command was answered with success, by its id."""
        self.joined: list[tuple[float, int]] = []
        """(unix time, address) of new sessions."""
        self.heard_at: dict[Identity, float] = {}
        """Unix time at which a kept message was first told."""
        self.kept = 0
        """Reports that frames have told, repeats counted."""
        self.counts: Counter[str] = Counter()
        self.said: list[str] = []
        self.on = False
        self._due: list[float] = [0.0 for _ in plan]
        self._rng = random.Random(f"{town.seed}/host")
        for number, bridge in enumerate(town.street.bridges):
            bridge.console.on_output.append(lambda chunk, number=number: self._receive(number, chunk))  # type: ignore[misc]

    def now(self) -> Now:
        """The host's clock, which is right."""
        unix = self.town.clock.now_us / 1e6
        return Now(unix, unix)

    def start(self) -> None:
        """The daemon begins."""
        self.store = SqliteStore(self.folder / "felinar.sqlite3", linger_s=0)
        self.keys = self.town.keys(create=False)
        self.air = Air(
            self.keys, self.plan, self, load=self._load, save=self.versions.update, versions=dict(self.versions),
            random=self._rng.randbytes, say=lambda topic, sentence: self.said.append(sentence),
        )  # fmt: skip
        self.on = True
        for number in range(len(self.plan)):
            self._open(number)
        air = self.air
        self._after(_TICK_US, lambda: self._tick(air))

    def stop(self) -> None:
        """The daemon ends."""
        if not self.on:
            return
        self.on = False
        self.stations = [None for _ in self.plan]
        self.counts.update(self.air.counts)
        self.counts.update(self.air.keyring.counts)
        self.keys.close()
        self.store.close()

    def order(self, order: Order) -> None:
        """Send a command to a lamp."""
        self.air.order(self.air.peers[order.node].way, order)
        self._act()

    def group(self, mode: int, level: int, for_s: int) -> None:
        """Command all lamps."""
        self.air.group(ZONE, mode, level, 0, for_s, schema.REASON_OPERATOR)
        self._act()

    def rows(self, kind: int = schema.REPORT) -> Iterator[Row]:
        """All that is in the database."""
        after = None
        while page := self.store.read(kind, after=after, limit=_PAGE).result():
            yield from page
            after = page[-1].key

    # The lines

    def _after(self, us: float, action: Callable[[], None]) -> None:
        self.town.clock.at(self.town.clock.now_us + max(1, round(us)), action)

    def _open(self, number: int) -> None:
        self.stations[number] = Station(self.air, self.air.cells[number], DBM, self.now())
        self._pump(number)

    def _receive(self, number: int, chunk: bytes) -> None:
        station = self.stations[number]
        if station is not None:
            station.receive(chunk, self.now())
            self._act()

    def _tick(self, air: Air) -> None:
        if self.on and self.air is air:
            air.tick()
            self._act()
            self._after(_TICK_US, lambda: self._tick(air))

    def _act(self) -> None:
        while facts := [fact for _, fact in self.air.settle()]:
            for fact in facts:
                self._note(fact)
            messages = [fact for fact in facts if isinstance(fact, Kept)]
            if messages:
                commit = self.store.keep(messages).result()
                for (node, uid, boot, base), bitmap in commit.acknowledgements.items():
                    self.air.acknowledge(node, uid, boot, base, bitmap)
        for number in range(len(self.stations)):
            self._pump(number)

    def _note(self, fact: Fact) -> None:
        if isinstance(fact, Hello):
            self.store.note_hello(fact, self.now().unix).result()
            if fact.new:
                self.joined.append((self.now().unix, fact.node))
        elif isinstance(fact, OrderAnswered) and fact.code == schema.RESULT_APPLIED:
            self.answers.setdefault(fact.id, fact.heard)
        elif isinstance(fact, Kept):
            self.heard_at.setdefault((fact.node, fact.boot, fact.seq), fact.heard)
            self.kept += fact.kind == schema.REPORT

    def _pump(self, number: int) -> None:
        station = self.stations[number]
        if station is None or not self.on:
            return
        now = self.now()
        if station.modem.dead(now.mono):
            station.end()
            self._open(number)
            return
        if data := station.output(now):
            console = self.town.street.bridges[number].console
            self._after(_LINE_US, lambda: console.write(data))
        when = max(station.wake(now), now.mono + 0.001)
        if not now.mono < self._due[number] <= when:
            self._due[number] = when
            self._after((when - now.mono) * 1e6, lambda: self._wake(number, when))

    def _wake(self, number: int, when: float) -> None:
        if self._due[number] == when:
            self._due[number] = 0.0
            self._pump(number)

    def _load(self, address: int, uid: str) -> None:
        boards = {view.id for view in self.store.boards() if (view.node, view.uid) == (address, uid)}
        rows = self.store.read(schema.REPORT, nodes=[address], newest=True, limit=16).result()
        self.air.loaded(address, [row for row in rows if row.board in boards])


@dataclass
class Account:
    """What became of the reports that nodes had made before `OLD_S` seconds, by the simulator's own books."""

    made: int = 0
    stored: int = 0
    wrong: list[str] = field(default_factory=list)
    frames: int = 0
    """Frames with reports that nodes have sent, and how many the bridges' antennas got."""
    heard: int = 0
    copies: int = 0
    """Reports in those that were heard, repeats counted."""
    late_s: float = 0.0
    """The longest that one of them is not stored yet."""

    @property
    def delivered(self) -> float:
        return self.stored / self.made if self.made else 0.0

    @property
    def tx_per_report(self) -> float:
        """How often a report goes out: frames sent, times the reports that one carries, over the reports that were made."""
        return self.frames * self.copies / max(self.heard, 1) / max(self.all, 1)

    all: int = 0
    """All reports that were made."""


class Town:
    """A street of `nodes` real lamps, their bridges and the host: `with Town(apps, folder, 50) as town: town.run_for(3600)`.

    `apps` has the applications `lamp` and `bridge`; `plan` the number and spreading factor of each bridge, `bridges` their places
    in metres. Everything else goes to `AirStreet`.
    """

    def __init__(
        self,
        apps: Path,
        folder: Path,
        nodes: int,
        *,
        seed: int = 1,
        start: datetime = NIGHT,
        plan: Sequence[tuple[int, int]] = ((0, 7),),
        loss: float = 0.2,
        beacon_loss: float = 0.05,
        heap: str = "240K",
        **street: Any,
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.clock = VirtualClock(start)
        self.switched: list[tuple[int, int, int]] = []
        """(µs, address, 1 for lit) whenever a relay changes."""
        (folder / "street").mkdir(parents=True)
        self._rng = random.Random(f"{seed}/keys")
        keys = self.keys(create=True)
        roots = {address: keys.provision(address) for address in range(1, nodes + 1)}
        zone = keys.zone_key(ZONE)
        keys.close()
        options: dict[str, Any] = {"fitted": LIGHT, "report_s": 300, "bridges": ((0.0, 0.0),), **street}
        self.street = AirStreet(
            nodes, app=apps / "lamp", bridge_app=apps / "bridge", clock=self.clock, seed=seed, loss=loss, beacon_loss=beacon_loss,
            keys=roots, zones={ZONE: zone}, folder=folder / "street", heap=heap, **options,
        )  # fmt: skip
        self._bridges = {self.street.antennas[i].station for i in range(len(self.street.bridges))}
        self.account = Account()
        self.street.on_frame.append(self._frame)
        for pole in self.street.street:
            pole.pins.listeners.append(_Relay(self, pole.address))
        self.host = Host(self, folder, plan)

    def keys(self, *, create: bool) -> SqliteKeyStore:
        """The key store of the town."""
        store = SqliteKeyStore(
            self.folder / "keys.db", SECRET, create=create, now=lambda: self.clock.now_us / 1e6, random=self._rng.randbytes,
            machine=lambda: "machine",
        )  # fmt: skip
        store._db.execute("PRAGMA synchronous=OFF")
        return store

    def __enter__(self) -> Town:
        self.street.__enter__()
        self.host.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.host.stop()
        self.street.__exit__()

    def run_for(self, seconds: float) -> None:
        """Let it live for so long."""
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], object], limit_s: float, step_s: float = 1.0) -> float:
        """Let it live until a condition holds, looked at every step, or the limit has passed; how long it took in s."""
        begin = self.clock.now_us
        while not condition() and self.clock.now_us - begin < limit_s * 1e6:
            self.clock.run_for(step_s)
        return (self.clock.now_us - begin) / 1e6

    @property
    def settled(self) -> bool:
        """Whether every node that has power has a slot."""
        peers = self.host.air.peers
        return all(
            (peer := peers.get(pole.address)) is not None and peer.home is not None
            for pole in self.street.street
            if pole.powered
        )

    def home(self, address: int) -> int:
        """The number of the bridge that has a node's slot, -1 without one."""
        peer = self.host.air.peers.get(address)
        return peer.home.number if peer is not None and peer.home is not None else -1

    def _frame(self, station: int, sent: Transmission, heard: Receptions) -> None:
        if station in self._bridges or not isinstance(sent.data, bytes):
            return
        if sent.data[0] & 63 in (schema.REPORT, schema.BATCH):
            self.account.frames += 1
            self.account.heard += any(int(one) in self._bridges for one in heard.stations)

    def settle_account(self, older_s: float = OLD_S, kinds: Sequence[int] = (schema.REPORT,)) -> Account:
        """Compare what the nodes' flash was given with what is in the database."""
        account = self.account
        account.made = account.stored = account.all = 0
        account.copies = self.host.kept
        now = self.clock.now_us
        limit = now - older_s * 1e6
        stored: dict[tuple[int, Identity], bytes] = {}
        for kind in kinds:
            for row in self.host.rows(kind):
                key = kind, (row.node, row.boot, row.seq)
                if key in stored:
                    account.wrong.append(f"{key} is stored twice")
                stored[key] = row.body
        for pole in self.street.street:
            for one in pole.appended:
                if one.kind not in kinds:
                    continue
                account.all += 1
                identity = pole.address, one.boot, one.seq
                body = stored.pop((one.kind, identity), None)
                if body is not None and codec.decode(one.kind, body) != codec.decode(one.kind, one.body):
                    account.wrong.append(f"{identity} is stored otherwise than it was made")
                if one.at_us <= limit:
                    account.made += 1
                    account.stored += body is not None
                if body is None:
                    account.late_s = max(account.late_s, (now - one.at_us) / 1e6)
        if stored:
            account.wrong.append(f"{len(stored)} that nobody made are stored")
        return account

    def sound(self) -> list[str]:
        """What must not be: a radio that was ordered what its data sheet forbids, a crash, a duty cycle exceeded."""
        wrong: list[str] = []
        bridges = len(self.street.bridges)
        for index in range(-bridges, len(self.street)):
            wrong += [f"radio {index}: {what}" for what in self.street.radio(index).wrong]
        for pole in self.street.street:
            events = [codec.decode(one.kind, one.body)[2] for one in pole.appended if one.kind == schema.EVENT]
            if schema.EVENT_CRASH in events:
                wrong.append(f"{pole.name} has crashed")
        wrong += [
            f"station {i} used {share:.2f} of its duty cycle"
            for i, share in self.street.ether.peak.items()
            if share > 1
        ]
        return wrong

    def restarts(self) -> Mapping[str, int]:
        """Starts of each board beyond the first."""
        boards: list[Board] = [*self.street.bridges, *self.street.street]
        return {board.name: len(board.boots) - 1 for board in boards if len(board.boots) > 1}


class _Relay:
    def __init__(self, town: Town, address: int) -> None:
        self._town = town
        self._address = address

    def pin(self, name: str, level: int, now_us: int) -> None:
        if name == "relay":
            self._town.switched.append((now_us, self._address, 1 - level))  # normally closed
