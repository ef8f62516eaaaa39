"""The bridge as it goes to a chip, with each kind of radio: what one is told to send the other hears, and tells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from felinar_build import app as build
from felinar_sim import chips
from felinar_sim.board import Board
from felinar_sim.chips.radio import airtime_us
from felinar_wire import core, serial

from tests.firmware.radio_bench import RadioBench, Station
from tests.support.micropython import ROOT

HZ = 868_100_000


class Bridge(Station):
    """A bridge on a board, and its line to the host."""

    def __init__(self, bench: RadioBench, board_id: str, out: Path) -> None:
        description = json.loads((out / "board.json").read_text())
        home = bench.folder / f"home-{board_id}"
        home.mkdir()
        model = chips.radio(description["radio"], description["pins"])
        board = Board(
            board_id, home, bench.clock, app=out, description=description, parts=[({"bus": "radio"}, model)], keep=False
        )
        super().__init__(board, model)
        bench.stations.append(self)
        bench.cable.add(model)
        board.power_on()

    def send(self, kind: int, *values: Any) -> None:
        content = bytes([kind]) + core.encode(core.BRIDGE[kind], list(values))
        self.board.console.write(b"\0" + serial.encode(content))

    def told(self, kind: int) -> list[list[Any]]:
        """What it has told the host, of one kind."""
        contents = serial.Deframer(limit=600).feed(bytes(self._bytes))
        return [core.decode(core.BRIDGE[kind], c[1:]) for c in contents if c[0] == kind]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bridge's application for a board with each kind of radio."""
    made = {}
    for board_id in ("heltec_v3", "lilygo_t3_v161"):
        out = made[board_id] = tmp_path_factory.mktemp("bridge") / board_id
        build.build(ROOT / "boards" / board_id / "board.toml", out, mpy=True, arch="x64", role="bridge")
        description = json.loads((out / "board.json").read_text())
        # Other numbers: the simulated chip is an ESP32, some of whose pins are inputs only.
        names = [name for name in sorted(description["pins"]) if name.startswith("radio_")]
        description["pins"] = {name: 4 + i for i, name in enumerate(names)}
        (out / "board.json").write_text(json.dumps(description))
    return made


@pytest.fixture
def pair(tmp_path: Path, apps: dict[str, Path]) -> Iterator[tuple[RadioBench, Bridge, Bridge]]:
    bench = RadioBench(tmp_path)
    bridges = [Bridge(bench, board_id, out) for board_id, out in apps.items()]
    bench.run(1)
    for bridge in bridges:
        bridge.send(core.PING, 1)
        bridge.send(core.LISTEN, 7, HZ)
    bench.run(0.5)
    yield bench, bridges[0], bridges[1]
    bench.close()


def test_a_host_that_speaks_too_early_does_not_keep_it_at_the_prompt(tmp_path: Path, apps: dict[str, Path]) -> None:
    """A byte 3 is Ctrl-C until the bridge has taken the line."""
    app = tmp_path / "app"
    shutil.copytree(apps["heltec_v3"], app)
    start = (app / "main.py").read_text()
    begin = "    from bridge import app"
    assert begin in start
    # As long as loading takes on a chip.
    (app / "main.py").write_text(start.replace(begin, "    time.sleep_ms(800)\n" + begin))
    bench = RadioBench(tmp_path)
    bridge = Bridge(bench, "heltec_v3", app)
    bench.run(0.5)
    bridge.board.console.write(b"\3")
    bench.run(20)
    assert b"KeyboardInterrupt" in bridge._bytes and not bridge.told(core.BRIDGE_HELLO)
    bench.run(15)
    assert bridge.told(core.BRIDGE_HELLO) and len(bridge.board.boots) == 2
    bridge.send(core.PING, 7)
    bench.run(1)
    assert bridge.told(core.HEARTBEAT)[-1][0] == 7
    bench.close()


def test_two_bridges_with_different_radios_hear_each_other(pair: tuple[RadioBench, Bridge, Bridge]) -> None:
    bench, *bridges = pair
    for n, (sender, receiver) in enumerate((bridges, bridges[::-1])):
        at = sender.ticks(bench.clock.now_us) + 300_000
        sender.send(core.TX, n, at, 7, HZ, 14, b"hello")
        bench.run(1)
        (emission,) = sender.model.emissions
        assert sender.ticks(emission.start_us) == pytest.approx(at, abs=1000)
        assert sender.told(core.TX_DONE) == [[n, 0, at, airtime_us(5, 7)]]
        (heard,) = receiver.told(core.RX)
        assert heard[0] == pytest.approx(receiver.ticks(emission.end_us), abs=100)
        assert heard[1:] == [-71, 25, 7, HZ, b"hello"]
    assert [b.model.wrong for b in bridges] == [[], []]


def test_the_longest_frame_goes_both_ways(pair: tuple[RadioBench, Bridge, Bridge]) -> None:
    bench, sender, receiver = pair
    sender.send(core.TX, 9, sender.ticks(bench.clock.now_us) + 300_000, 7, HZ, 14, bytes(range(255)))
    bench.run(2)
    assert [done[:2] for done in sender.told(core.TX_DONE)] == [[9, 0]]
    assert receiver.told(core.RX)[-1][-1] == bytes(range(255))


def test_a_bridge_whose_radio_went_away_starts_it_again(pair: tuple[RadioBench, Bridge, Bridge]) -> None:
    bench, *bridges = pair
    for bridge in bridges:
        bridge.model.gone = True
        bridge.send(core.TX, 7, bridge.ticks(bench.clock.now_us) + 300_000, 7, HZ, 14, b"hello")
    bench.run(2)
    for bridge in bridges:
        assert bridge.told(core.TX_DONE)[-1][:2] == [7, 3]
        bridge.model.gone = False
        bridge.send(core.PING, 2)
    bench.run(3)
    for bridge in bridges:
        assert bridge.model.tuning(bench.clock.now_us) is not None
