"""The daemon's parts together, with bridges that are plugged and unplugged: where nodes are reached, and what is ordered meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from felinar import api, show
from felinar.air import factors
from felinar.air.numbers import numbers
from felinar.air.reports import BaseMissing, unpack
from felinar.air.service import AirService, read_numbers, write_numbers
from felinar.config import BridgeConfig, Config, parse
from felinar.errors import CommandError, ConfigError, LinkError, StoreError
from felinar.hub import Hub
from felinar.keys import Opened, SqliteKeyStore
from felinar.store import SqliteStore
from felinar.tables import RELEASED, History
from felinar_wire import WireError, codec, kept, schema

from tests.host.air_bench import PERIOD, SECRET, START, FakeBridge, Lamp, Street
from tests.host.test_link import Log


class Cable:
    """The host's end of a bridge's line."""

    def __init__(
        self, town: Town, bridge: FakeBridge, received: Callable[[bytes], None], lost: Callable[[str], None]
    ) -> None:
        self.received, self.lost = received, lost
        self._town = town
        self._bridge = bridge

    def write(self, data: bytes) -> None:
        if self._bridge.plugged:
            self._town.street.after(2000, self._bridge.feed, data)

    async def close(self) -> None:
        self._town.cables.pop(self._bridge, None)


class Town:
    """Hub, store and air as the daemon has them, over fake bridges, in the street's time."""

    def __init__(self, folder: Path, bridges: int) -> None:
        self.folder = folder
        self._ticked = 0
        self.street = Street()
        self.cables: dict[FakeBridge, Cable] = {}
        self.opened = asyncio.Event()
        self.bridges = [FakeBridge(self.street) for _ in range(bridges)]
        for bridge in self.bridges:
            bridge.host = self  # type: ignore[assignment]
        config = Config(data_dir=str(folder), bridge=tuple(BridgeConfig(f"bridge {i}") for i in range(bridges)))
        self.log = Log()
        self.store = SqliteStore(folder / "felinar.sqlite3", linger_s=0)
        self.store._connection.execute("PRAGMA synchronous=OFF")
        self.keys = SqliteKeyStore(
            folder / "keys.db",
            SECRET,
            create=True,
            role="sessions",
            now=lambda: self.street.now().unix,
            random=self.street.rng.randbytes,
        )
        self.keys._db.execute("PRAGMA synchronous=OFF")
        self.hub = Hub(config, self.store, self.street, self.log)
        self.air = AirService(
            config, self.keys, self.store, self.hub, self.street, self.log, opener=self._open,
            random=self.street.rng.randbytes,
        )  # fmt: skip
        self.hub.air = self.air
        self.hub.links += self.air.lines
        self._task = asyncio.create_task(self.air.run())

    async def _open(self, url: str, baud: int, received: Callable[[bytes], None], lost: Callable[[str], None]) -> Cable:
        bridge = self.bridges[int(url.split()[1])]
        if not bridge.plugged:
            raise LinkError(f"There is no port {url}.")
        cable = self.cables[bridge] = Cable(self, bridge, received, lost)
        self.opened.set()
        return cable

    def receive(self, bridge: FakeBridge, data: bytes) -> None:
        if cable := self.cables.get(bridge):
            cable.received(data)

    def lamp(self, address: int) -> Lamp:
        return Lamp(self.street, address, self.keys.provision(address), list(self.bridges))

    async def run(self, seconds: float) -> None:
        """Let the street's time pass; what waits for the disk is waited for."""
        end = self.street.us + seconds * 1e6
        while self.street.us < end:
            self.street.run(0.02)
            if self.street.us - self._ticked >= 1e6:
                self._ticked = self.street.us
                self.air.tick()
                self.hub.commands.tick()
            self.air.act()
            await asyncio.sleep(0)
            await asyncio.wrap_future(self.store.keep([]))
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object], limit_s: float = 300) -> None:
        begin = self.street.us
        while not condition():
            assert self.street.us - begin < limit_s * 1e6, "it did not come to that"
            await self.run(0.1)

    async def unplug(self, bridge: FakeBridge) -> None:
        bridge.plugged = False
        self.cables[bridge].lost("the cable or adapter is gone")
        await self.until(lambda: bridge not in self.cables, 5)

    async def plug(self, bridge: FakeBridge) -> None:
        bridge.restart()
        bridge.plugged = True
        self.opened.clear()
        await self.opened.wait()  # the back-off is in real time, and short

    async def close(self) -> None:
        self.air.stop()
        await self._task
        self.keys.close()
        self.store.close()


def in_town(bridges: int) -> Callable[[Callable[[Town], Awaitable[None]]], Callable[[Path], None]]:
    """A test that is a coroutine over a town with so many bridges."""

    def wrap(work: Callable[[Town], Awaitable[None]]) -> Callable[[Path], None]:
        def test(tmp_path: Path) -> None:
            async def main() -> None:
                town = Town(tmp_path, bridges)
                try:
                    await work(town)
                finally:
                    await town.close()

            asyncio.run(main())

        return test

    return wrap


@in_town(1)
async def test_a_lamp_that_nobody_knew_is_told_to_who_listens(town: Town) -> None:
    listener = town.hub.bus.join()
    lamp = town.lamp(1)
    await town.until(lambda: lamp.joins)
    await town.run(1)
    told = []
    async for event in listener.events(0.001):
        if event is None:
            break
        told += [json.loads(event[1])["node"]] if event[0] == "node" else []
    assert told == [1]


@in_town(1)
async def test_an_order_waits_for_a_bridge_that_is_gone(town: Town) -> None:
    lamp = town.lamp(1)
    await town.until(lambda: lamp.joins)
    await town.run(60)
    (node,) = town.hub.nodes()
    assert (node.online, node.link, node.firmware) == (True, "bridge 0", "1.4.2")
    command = await town.hub.lamp(1, api.LampOrder("dim", 60))
    await town.until(lambda: town.hub.commands.totals.get("acknowledged"), 5)
    assert lamp.orders[-1][2][:3] == [lamp.orders[-1][2][0], schema.MODE_DIM, 60]

    await town.unplug(town.bridges[0])
    (node,) = town.hub.nodes()
    assert (node.online, node.link) == (False, None)
    (bridge,) = town.air.bridges()
    assert (bridge.state, bridge.reason) == ("waiting", "the cable or adapter is gone")
    with pytest.raises(CommandError, match="No bridge"):
        town.hub.group_lamp(0xE001, api.LampOrder("on"))
    later = await town.hub.lamp(1, api.LampOrder("off"))
    await town.run(30)
    assert town.hub.commands.fresh()[later.id].state == "stored"
    await town.plug(town.bridges[0])
    await town.until(lambda: town.bridges[0].hear, 20)
    lamp.report()
    await town.until(lambda: lamp.orders[-1][2][1] == schema.MODE_OFF, 2 * PERIOD)
    await town.until(lambda: town.hub.commands.fresh()[later.id].state == "acknowledged", 5)
    assert command.id < later.id
    assert town.air.bridges()[0].opened == 2
    await town.until(lambda: not lamp.pending, 60)
    assert town.hub.nodes()[0].stored == 1


@in_town(2)
async def test_a_lamp_moves_to_another_bridge_and_its_order_with_it(town: Town) -> None:
    lamp = town.lamp(1)
    await town.until(lambda: lamp.joins)
    first = town.bridges[lamp.access.frame.bridge]
    other = town.bridges[1 - lamp.access.frame.bridge]
    await town.run(60)
    await town.unplug(first)
    await town.hub.lamp(1, api.LampOrder("dim", 30))
    await town.until(lambda: lamp.joins == 2, 300)
    await town.until(lambda: lamp.orders, 10)
    assert town.hub.nodes()[0].link == f"bridge {town.bridges.index(other)}"
    radio = town.hub.nodes()[0].radio
    assert radio is not None and radio.bridge == f"bridge {town.bridges.index(other)}"
    # Its old slot is another's now, whoever joins there.
    assert town.air.air.cells[town.bridges.index(first)].slots.of == {}
    shown = town.air.bridges()
    assert {bridge.nodes for bridge in shown} == {0, 1}
    assert show.bridge_table(shown).row_count == 2


@in_town(1)
async def test_health_is_asked_over_the_air(town: Town) -> None:
    lamp = town.lamp(1)
    await town.until(lambda: lamp.joins)
    await town.run(5)
    asking = asyncio.create_task(town.hub.ask_health(1, 5))
    await town.run(3)
    health = await asking
    assert health.values["boot"] == 1


@in_town(1)
async def test_orders_to_groups_are_checked(town: Town) -> None:
    await town.until(lambda: town.air.air.cells[0].ready)
    for group, order, words in (
        (0, api.LampOrder("on"), "no group"),
        (0xFF00, api.LampOrder("on"), "no group"),
        (5, api.LampOrder("dim"), "1 to 100"),
        (5, api.LampOrder("on", 40), "has no level"),
        (5, api.LampOrder("on", fade_s=256), "255 s"),
        (5, api.LampOrder("on", for_s=0), "holds for"),
    ):
        with pytest.raises(CommandError, match=words):
            town.hub.group_lamp(group, order)
    said = town.hub.group_lamp(5, api.LampOrder("auto"))
    assert (said.for_s, said.bridges) == (None, ["bridge 0"])
    assert town.hub.group_lamp(5, api.LampOrder("on", for_s=60)).id == said.id % 0xFFFF + 1


@in_town(2)
async def test_a_bridge_whose_nodes_are_heard_too_weakly_changes_its_spreading_factor(town: Town) -> None:
    """And keeps it over a restart; the other one, whose nodes are few, does not."""
    file = town.folder / "spreading-factors.json"
    cells = town.air.air.cells
    lamps = [town.lamp(address) for address in range(1, 7)]
    for lamp in lamps:
        lamp.near = [town.bridges[0]]
    await town.until(lambda: all(lamp.joins for lamp in lamps))
    town.bridges[0].snr = 4 * -5
    with patch.multiple(factors, RAISE_S=120.0, HOURS=range(24)):
        await town.run(100)
        assert not file.exists() and cells[0].frame.sf == 7
        await town.until(lambda: town.bridges[0].hear == (9, 868_100_000), 300)
    assert json.loads(file.read_text()) == {"0": 9}
    assert town.air.bridges()[0].sf == 9 and town.air.bridges()[0].nodes == 0
    assert town.bridges[1].hear == (7, 868_300_000)
    assert any("weaker" in said for said, _ in town.log.said)
    await town.until(lambda: town.bridges[0].sent[-1][1][0] & 63 == schema.BEACON, 20)
    kept = {0: BridgeConfig("bridge 0"), 1: BridgeConfig("bridge 1", sf=8)}
    config = Config(data_dir=str(town.folder), bridge=tuple(kept.values()))
    again = AirService(config, town.keys, town.store, town.hub, town.street, town.log)
    assert [cell.frame.sf for cell in again.air.cells] == [9, 8]


@in_town(1)
async def test_a_spreading_factor_that_cannot_be_kept_is_not_changed(town: Town) -> None:
    """Else the daemon would begin with another one than its nodes have."""
    lamps = [town.lamp(address) for address in range(1, 6)]
    await town.until(lambda: all(lamp.joins for lamp in lamps))
    town.bridges[0].snr = 4 * -5
    (town.folder / "spreading-factors.json.new").mkdir()
    with patch.multiple(factors, RAISE_S=60.0, HOURS=range(24)):
        await town.until(lambda: any("spreading-factors.json" in str(details) for _, details in town.log.said), 300)
    assert town.air.air.cells[0].frame.sf == 7 and town.bridges[0].hear == (7, 868_100_000)


def test_numbers_of_bridges() -> None:
    assert numbers([BridgeConfig("a"), BridgeConfig("b"), BridgeConfig("c")]) == [0, 1, 2]
    assert numbers([BridgeConfig("a"), BridgeConfig("b", number=0), BridgeConfig("c", frequency=868.1)]) == [1, 0, 3]
    for bridges, words in (
        ([BridgeConfig("a", frequency=869.5)], "Channels are 868.1, 868.3, 868.5"),
        ([BridgeConfig("a", number=1, frequency=868.1)], "868.3 MHz"),
        ([BridgeConfig(str(i)) for i in range(13)], "no number left"),
        ([BridgeConfig(str(i), frequency=868.5) for i in range(5)], "no number left"),
    ):
        with pytest.raises(ConfigError, match=words):
            numbers(bridges)


def test_the_configuration_of_bridges() -> None:
    config = parse('[[bridge]]\nurl = "/dev/ttyACM0"\nfrequency = 868.3\nsf = 9\npower = 14\n', "it")
    assert config.bridge == (BridgeConfig("/dev/ttyACM0", frequency=868.3, sf=9, power=14),)
    for text, words in (
        ('[[bridge]]\nurl = "a"\nsf = 12\n', "sf"),
        ('[[bridge]]\nurl = "a"\nspreading = 7\n', "unknown key"),
        ('[[bridge]]\nurl = "a"\n[[link]]\nurl = "a"\n', "named twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse(text, "it")


def test_numbers_of_bridges_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "slot-maps.json"
    assert read_numbers(path) == {}
    write_numbers(path, {0: 255, 4: 7})
    write_numbers(path, {0: 1})
    assert read_numbers(path) == {0: 1, 4: 7}
    path.write_text("[")
    assert read_numbers(path) == {}
    path.write_text(json.dumps({"0": "x"}))
    assert read_numbers(path) == {}
    with pytest.raises(StoreError):
        write_numbers(tmp_path / "gone" / "x.json", {0: 1})


def test_reports_of_a_newer_node_are_kept_alike_whether_whole_or_as_differences() -> None:
    lamp = Lamp(Street(), 5, bytes(16), [])
    history = History({1: schema.TABLE})
    values = [lamp.values(seq) for seq in (4, 5)]
    appended = b"\x55\x80"  # the section of a field that this host does not know
    whole = codec.encode(schema.REPORT, values[1]) + appended
    old, new = (kept.pack(3, 5, 3, body, 5, lag) for body, lag in (
        (whole, 0), (codec.encode(schema.REPORT, values[1], values[0], 1) + appended, 1),
    ))  # fmt: skip
    bodies = [
        unpack(Opened(5, schema.REPORT, 20, body, 9, 3), "uid", START, lambda boot, seq: values[0], history)[0][0]
        for body in (old, new)
    ]
    assert bodies[0] == bodies[1]
    assert history.open(bodies[0].schema, schema.REPORT, bodies[0].body) == (schema.TABLE[schema.REPORT], values[1])
    # One of this host's own version stays as it came.
    known = Opened(5, schema.REPORT, 20, kept.pack(3, 5, 3, codec.encode(schema.REPORT, values[1]), 5), 1, 3)
    assert unpack(known, "uid", START, lambda boot, seq: None, RELEASED)[0][0].body == codec.encode(
        schema.REPORT, values[1]
    )


def test_what_can_not_be_read_is_refused() -> None:
    def of(kind: int, body: bytes) -> Any:
        return unpack(Opened(5, kind, 20, body, 1, 3), "uid", START, lambda boot, seq: None, RELEASED)

    with pytest.raises(BaseMissing) as missing:
        of(schema.REPORT, kept.pack(3, 5, 3, b"\0\0", 5, 2))
    assert missing.value.identity == (3, 3)
    with pytest.raises(WireError, match="form"):
        of(schema.EVENT, kept.pack(3, 5, 3, b"\0", 5, 1))
    with pytest.raises(WireError, match="count"):
        of(schema.BATCH, kept.pack(3, 5, 3, b"\0\0", 5))
    # Genuine, yet beyond reading: it is kept as it is.
    ((message,), values) = of(schema.REPORT, kept.pack(3, 5, 3, b"\xff", 5))
    assert (message.body, message.time, values) == (b"\xff", None, {})
